"""A program that publishes what is planned for it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus._bus import Bus
from trio_bus._errors import BusError, OutcomeUnknown
from trio_bus._message import Message
from trio_bus._options import PublishOptions
from trio_bus._wall import wall
from trio_bus.testing._forged import FORGED
from trio_bus.testing._journal import Told

from .plan import TOPIC, MessagePlan
from .scenario import Form

if TYPE_CHECKING:
    from .process import Process
    from .world import World

OPTIONS = PublishOptions({"shop": "corner"})
"""Of whatever is published."""


class Publisher:
    """One process that publishes."""

    def __init__(self, world: World, process: Process, bus: Bus, todo: list[MessagePlan]) -> None:
        self._world = world
        self._process = process
        self._bus = bus
        self._todo = todo
        self._journal = world.journal

    async def run(self) -> None:
        """Publish all of it, each when it is time; what has begun is not begun again."""
        async with trio.open_nursery() as nursery:
            while self._todo:
                await trio.sleep_until(self._todo[0].when)
                await self._process.breathe()
                nursery.start_soon(self._publish, self._todo.pop(0))

    async def _publish(self, plan: MessagePlan) -> None:
        message = self._message(plan)
        match plan.form:
            case Form.BATCH:
                await self._batch(plan, message)
            case Form.NOWAIT:
                await trio.lowlevel.checkpoint()
                self._nowait(message)
            case Form.SCHEDULED | Form.CANCELLED:
                await self._schedule(plan, message)
            case Form.FOREIGN:
                await self._world.append_foreign(plan)
            case Form.KEYED:
                await self._once(message)
                await self._once(attrs.evolve(message, uid=f"{message.uid}-again"))
            case _:
                await self._once(message)

    def _message(self, plan: MessagePlan, part: int = 0) -> Message:
        payload = b"%d.%d" % (plan.number, part)
        if plan.form in {Form.LARGEST, Form.OVERSIZED}:
            payload = payload.ljust(self._world.plan.largest + (plan.form is Form.OVERSIZED))
        message = Message(TOPIC, payload, key=plan.key, headers=FORGED)
        if plan.form is Form.KEYED:
            return attrs.evolve(message, idempotency_key=f"key-{plan.number}")
        if plan.form is Form.EXPIRING:
            return attrs.evolve(message, expires_at=wall.now() + timedelta(seconds=plan.seconds))
        return message

    async def _once(self, message: Message) -> None:
        with self._telling([message]) as told:
            told([await self._bus.publish(message, OPTIONS)])

    async def _batch(self, plan: MessagePlan, first: Message) -> None:
        messages = [first, *(self._message(plan, part) for part in (1, 2))]
        with self._telling(messages) as told:
            told((await self._bus.publish_batch(messages, OPTIONS)).results)

    def _nowait(self, message: Message) -> None:
        with self._telling([message]) as told:
            self._bus.publish_nowait(message, OPTIONS)
            told.failed(OutcomeUnknown("nobody waits for the answer"))

    @contextmanager
    def _telling(self, messages: list[Message]) -> Generator[Told, None, None]:
        """Write what becomes of messages that are published together."""
        told = self._journal.publishing(self._process.name, messages, OPTIONS.metadata)
        try:
            yield told
        except (BusError, trio.WouldBlock) as error:
            told.failed(error)
        except trio.Cancelled as error:
            told.failed(error)
            raise

    async def _schedule(self, plan: MessagePlan, message: Message) -> None:
        metadata = OPTIONS.metadata
        self._journal.scheduling(self._process.name, message, plan.seconds, metadata)
        with suppress(BusError):
            schedule_id = await self._bus.schedule(message, delay=plan.seconds, options=OPTIONS)
            self._journal.scheduled(self._process.name, message)
            if plan.form is Form.CANCELLED:
                await trio.sleep(plan.seconds / 2)
                await self._process.breathe()
                if await self._bus.cancel_scheduled(schedule_id):
                    self._journal.cancelled(self._process.name, message)
