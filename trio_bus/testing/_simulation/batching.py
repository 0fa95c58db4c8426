"""What the handlers of a simulation do with a batch: what is planned for each of its messages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs

from trio_bus._batch import Batch
from trio_bus.testing._batched import batched
from trio_bus.testing._together import Together

from .handling import Handling, Step
from .heard import heard

if TYPE_CHECKING:
    from .acting import Acting, AnySubscription
    from .plan import ConsumerPlan
    from .world import World

_RESISTING = {Handling.LATE, Handling.STUBBORN, Handling.SWALLOW, Handling.MESSY}


@attrs.frozen
class BatchActing:
    """The handler of batches of one consumer.

    It works for as long as the longest of its steps, and then does for each what is planned: what
    fails takes with it all that is still open.
    """

    _world: World
    _plan: ConsumerPlan
    _acting: Acting
    _together: Together

    async def handle(self, subscription: AnySubscription, batch: Batch) -> None:
        """Do it; all of it is told to the journal."""
        own = self._world.plan.scenario.handler
        steps = [self._world.next_step(self._plan.group, delivery) for delivery in batch]
        details = [] if own else [str(step) for step in steps]
        yields = own is None and all(step.yields for step in steps)
        told = self._together.handling(batch.deliveries, details, yields=yields)
        with self._world.handling(), told:
            if own is None:
                await self._act(subscription, batch, steps)
            else:
                for delivery in batch:
                    await own(delivery)

    async def _act(
        self, subscription: AnySubscription, batch: Batch, steps: Sequence[Step]
    ) -> None:
        if await self._acting.work(_whole(steps)):
            return
        about = (self._together.actor, self._together.config, self._together.consumer)
        for delivery, step in zip(batch, steps, strict=True):
            telling = partial(self._together.journal.verb, *about, delivery)
            mine = heard(batched(batch, delivery), telling)
            if step.handling is Handling.RENEW:
                await mine.renew()
            await self._acting.finish(subscription, mine, step)


def _whole(steps: Sequence[Step]) -> Step:
    """Say how the whole batch is worked on: it takes the longest, and resists if one does."""
    resisting = (step.handling for step in steps if step.handling in _RESISTING)
    seconds = max((step.seconds for step in steps), default=0.0)
    return Step(next(resisting, Handling.SUCCEED), seconds)
