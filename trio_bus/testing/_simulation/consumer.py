"""A program that consumes: it opens its subscription, stays, leaves, and comes again."""

from __future__ import annotations

from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING

import trio

from trio_bus._batch import Batch
from trio_bus._bus import Bus
from trio_bus._delivery import Delivery
from trio_bus._errors import BusError
from trio_bus._subscription import PullSubscription, Subscription, open_subscription
from trio_bus.testing._together import Asking, Together
from trio_bus.testing._wording import kind_of

from .acting import Acting, AnySubscription
from .batching import BatchActing
from .heard import heard
from .plan import ConsumerPlan, Leaving

if TYPE_CHECKING:
    from .process import Process
    from .world import World

PAUSE = 0.05
"""Seconds before a subscription that has ended is opened again."""


class Consumer:
    """One process of one group."""

    def __init__(self, world: World, plan: ConsumerPlan, process: Process, bus: Bus) -> None:
        self._world = world
        self._plan = plan
        self._process = process
        self._bus = bus
        self._journal = world.journal
        self._actor = process.name
        self._config = plan.group.config
        self._noted = world.settings[plan.group.name]
        self._left = trio.Event()
        self._name = ""
        """Of the subscription that is open."""

    async def run(self, stays: count[int]) -> None:
        """Subscribe again and again, until the world ends."""
        while not self._world.over.is_set():
            self._left = trio.Event()
            choices = self._plan.stays
            seconds, leaving = choices[min(next(stays), len(choices) - 1)]
            if self._world.host.healed.is_set():  # whoever never stays may never finish
                seconds = inf
            try:
                await self._stay(seconds, leaving)
            except BusError as error:
                self._left_by(kind_of(error))
            else:
                self._left_by("")
            with trio.move_on_after(PAUSE):
                await self._world.over.wait()
            await self._process.breathe()

    def _left_by(self, error: str) -> None:
        if self._name:
            self._journal.left(self._actor, self._name, self._config, error)
        self._name = ""

    def _joined(self, subscription: AnySubscription) -> None:
        self._name = subscription.name
        self._world.settings[self._config.group_of(self._name)] = self._noted
        self._journal.joined(self._actor, self._name, self._config, self._world.plan.largest)

    async def _stay(self, seconds: float, leaving: Leaving) -> None:
        self._journal.opening(self._actor, self._config, self._plan.group.asked)
        with trio.CancelScope() as scope:
            if self._plan.group.pulling:
                async with open_subscription(self._bus, self._noted.config) as deliveries:
                    await self._pull(deliveries, seconds, leaving, scope)
            else:
                await self._push(seconds, leaving, scope)

    async def _push(self, seconds: float, leaving: Leaving, scope: trio.CancelScope) -> None:
        name: list[Subscription] = []

        async def handle(delivery: Delivery) -> None:
            await self._handle(name[0], delivery)

        async def handle_all(batch: Batch) -> None:
            await self._handle_all(name[0], batch)

        opened = (
            open_subscription(self._bus, self._noted.config, batch_handler=handle_all)
            if self._plan.group.batching
            else open_subscription(self._bus, self._noted.config, handle)
        )
        async with opened as subscription:
            name.append(subscription)
            self._joined(subscription)
            await self._wait(subscription, seconds)
            await self._leave(subscription, leaving, scope)

    async def _pull(
        self,
        deliveries: PullSubscription,
        seconds: float,
        leaving: Leaving,
        scope: trio.CancelScope,
    ) -> None:
        self._joined(deliveries)
        async with trio.open_nursery() as nursery:
            for _ in range(self._plan.tasks):
                together = self._plan.group.batching
                iterate = self._iterate_over_batches if together else self._iterate
                nursery.start_soon(iterate, deliveries)
            await self._wait(deliveries, seconds)
            await self._leave(deliveries, leaving, scope)
            if leaving is Leaving.LEAVE:
                nursery.cancel_scope.cancel("it is left")

    async def _iterate(self, deliveries: PullSubscription) -> None:
        async for delivery in deliveries:
            async with delivery:
                await self._handle(deliveries, delivery)
        self._left.set()

    async def _iterate_over_batches(self, deliveries: PullSubscription) -> None:
        size, wait = self._plan.max_size, self._plan.max_wait
        batches = deliveries.batches(size, wait)
        together, number = self._together(deliveries), self._world.next_number
        async for batch in Asking(together, batches, size, wait, number):
            async with batch:
                await self._act_on(deliveries, batch)
        self._left.set()

    async def _wait(self, subscription: AnySubscription, seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                if self._plan.pauses:  # another task would change the order of the others
                    nursery.start_soon(self._halt, subscription)
                for event in (self._left, self._world.over):
                    nursery.start_soon(_wait_and_cancel, event, nursery.cancel_scope)

    async def _halt(self, subscription: AnySubscription) -> None:
        """Pause it now and then."""
        about = (self._actor, subscription.name, self._config)
        for work, rest in zip(self._plan.pauses[::2], self._plan.pauses[1::2], strict=True):
            await trio.sleep(work)
            subscription.pause()
            self._journal.halted(*about)
            with trio.move_on_after(rest):
                await self._world.host.healed.wait()
            self._journal.continued(*about)
            subscription.resume()

    async def _leave(
        self, subscription: AnySubscription, leaving: Leaving, scope: trio.CancelScope
    ) -> None:
        self._journal.leaving(self._actor, subscription.name, self._config, leaving.value)
        if leaving is Leaving.DRAIN:
            await subscription.drain()
        elif leaving is Leaving.ACLOSE:
            await subscription.aclose()
        elif leaving is Leaving.CANCEL:
            scope.cancel("the program is cancelled")
            await trio.lowlevel.checkpoint()

    async def _handle(self, subscription: AnySubscription, delivery: Delivery) -> None:
        step = self._world.next_step(self._plan.group, delivery)
        own = self._world.plan.scenario.handler
        about = (self._actor, self._config, subscription.name, delivery)
        delivery = heard(delivery, partial(self._journal.verb, *about))
        detail, yields = ("", False) if own else (str(step), step.yields)
        with self._world.handling(), self._journal.handling(*about, detail, yields=yields):
            if own is not None:
                await own(delivery)
            else:
                await Acting(self._world, self._plan, self._process, self._left).act(
                    subscription, delivery, step
                )

    def _together(self, subscription: AnySubscription) -> Together:
        return Together(self._journal, self._actor, self._config, subscription.name)

    async def _handle_all(self, subscription: AnySubscription, batch: Batch) -> None:
        self._together(subscription).got(batch.deliveries, self._world.next_number())
        await self._act_on(subscription, batch)

    async def _act_on(self, subscription: AnySubscription, batch: Batch) -> None:
        acting = Acting(self._world, self._plan, self._process, self._left)
        together = self._together(subscription)
        await BatchActing(self._world, self._plan, acting, together).handle(subscription, batch)


async def _wait_and_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
