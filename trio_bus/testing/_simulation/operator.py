"""A program of an operator, who sends back what is dead while everybody works."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trio_bus._bus import Bus
from trio_bus._dead_letters import DeadMessage
from trio_bus._errors import BusError
from trio_bus.testing._line import What

from .plan import DEAD_TOPIC, TOPIC, Choosing, RedrivePlan

if TYPE_CHECKING:
    from .process import Process
    from .world import World


class Operator:
    """One process that handles what is dead; what it has begun is not begun again."""

    def __init__(self, world: World, process: Process, bus: Bus, todo: list[RedrivePlan]) -> None:
        self._world = world
        self._process = process
        self._bus = bus
        self._todo = todo

    async def run(self) -> None:
        """Do all of it, each when it is time."""
        while self._todo:
            await trio.sleep_until(self._todo[0].when)
            await self._process.breathe()
            plan = self._todo.pop(0)
            with suppress(BusError):
                for topic in (DEAD_TOPIC, TOPIC):
                    await self._redrive(topic, plan)

    async def _redrive(self, topic: str, plan: RedrivePlan) -> None:
        self._world.journal.say(
            self._process.name, What.NOTE, f"sends back {plan.choosing.value}", topic=topic
        )
        letters = [it async for it in self._bus.dead_letters(topic, group=plan.group)]
        match plan.choosing:
            case Choosing.IDS:
                ids = [it.id for it in letters[::2]]
                await self._bus.redrive(topic, ids=ids, group=plan.group)
            case Choosing.ERROR:
                await self._by_error(topic, plan, letters)
            case choosing:
                dry_run = choosing is Choosing.NONE
                await self._bus.redrive(topic, everything=True, group=plan.group, dry_run=dry_run)

    async def _by_error(self, topic: str, plan: RedrivePlan, letters: list[DeadMessage]) -> None:
        for error_type in dict.fromkeys(it.dead_letter.error_type for it in letters[:1]):
            await self._bus.redrive(topic, error_type=error_type, group=plan.group)
