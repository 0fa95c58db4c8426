"""What the handlers of a simulation do, start by start."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus._delivery import Delivery
from trio_bus._errors import DeliveryFinalized
from trio_bus._subscription import PullSubscription, Subscription
from trio_bus.testing._effects import effects_of

from .handling import Handling, Step
from .plan import EFFECTS_TOPIC, ConsumerPlan

if TYPE_CHECKING:
    from .process import Process
    from .world import World

STUBBORN = 0.2
"""Seconds that a stubborn handler goes on after it was cancelled."""
GRACE = 0.01
"""Seconds by which something may be late in virtual time."""
REASON = "as it was planned"
AnySubscription = Subscription | PullSubscription


class HandlerFailed(Exception):
    """What the handlers of a simulation raise."""


@attrs.frozen
class Acting:
    """One handler of one process."""

    _world: World
    _plan: ConsumerPlan
    _process: Process
    _left: trio.Event
    """Set when this handler itself leaves the subscription."""

    async def act(self, subscription: AnySubscription, delivery: Delivery, step: Step) -> None:
        """Do what is planned for this start."""
        match step.handling:
            case Handling.RENEW:
                await self._work(step.seconds / 2)
                await delivery.renew()
                await self._work(step.seconds / 2)
            case Handling.COMMIT | Handling.COMMIT_LATE | Handling.COMMIT_NOT:
                await self._commit(subscription, delivery, step)
                return
            case _:
                if await self.work(step):
                    return
        if self._world.database_is_down:
            raise HandlerFailed("the database is down")
        await self.finish(subscription, delivery, step)

    async def work(self, step: Step) -> bool:
        """Take the time that it takes; say whether to return at once."""
        match step.handling:
            case Handling.LATE:
                with trio.CancelScope(shield=True):
                    await self._work(step.seconds)
            case Handling.STUBBORN | Handling.SWALLOW | Handling.MESSY:
                return await self._resist(step)
            case _:
                await self._toil(step)
        return False

    async def _commit(self, subscription: AnySubscription, delivery: Delivery, step: Step) -> None:
        """Publish in a transaction, before the work and after it."""
        group = self._plan.group.config.group_of(subscription.name)
        number = self._world.next_transaction()
        author = f"{self._process.name} {number}"
        outputs = effects_of(delivery, group, author, EFFECTS_TOPIC, 1 + number % 3)
        async with delivery.transaction() as transaction:
            await transaction.publish(outputs[0])
            with trio.CancelScope(shield=step.handling is Handling.COMMIT_LATE):
                await self._work(step.seconds)
            for output in outputs[1:]:
                await transaction.publish(output)
            _fail_if_planned(step)

    async def _resist(self, step: Step) -> bool:
        """Work; when cancelled, do something else first. Say whether to return at once."""
        try:
            await self._toil(step)
        except trio.Cancelled:
            if step.handling is Handling.SWALLOW:
                return True
            if step.handling is Handling.MESSY:
                raise HandlerFailed("in the middle of its cleanup") from None
            with trio.CancelScope(shield=True):
                await self._work(STUBBORN)
            raise
        return False

    async def finish(self, subscription: AnySubscription, delivery: Delivery, step: Step) -> None:
        """End the delivery, or leave that to its scope."""
        match step.handling:
            case Handling.FAIL:
                raise HandlerFailed(REASON)
            case Handling.FAIL_TWICE:
                raise ExceptionGroup(REASON, [HandlerFailed("one"), ValueError("two")])
            case Handling.RETRY:
                await delivery.retry(REASON)
            case Handling.RETRY_LATER | Handling.RETRY_AT_ONCE:
                later = step.handling is Handling.RETRY_LATER
                await delivery.retry(REASON, delay=0.1 if later else 0)
            case Handling.REJECT:
                await delivery.reject(REASON)
            case Handling.RELEASE:
                await delivery.release()
            case Handling.RELEASE_LATER:
                await delivery.release(delay=0.1)
            case Handling.KILL:
                self._world.kill(self._process, "by the message")
                await self._process.breathe()
            case Handling.FORGET:
                return
            case _:
                await self._succeed(subscription, delivery, step)

    async def _succeed(self, subscription: AnySubscription, delivery: Delivery, step: Step) -> None:
        if step.handling is Handling.DRAIN:
            self._left.set()
            await subscription.drain()
        elif step.handling is Handling.ACLOSE:
            self._left.set()
            await subscription.aclose()
        elif step.handling is Handling.SETTLE_TWICE:
            await delivery.ack()
            with suppress(DeliveryFinalized):  # an invariant says what an answer would mean
                await delivery.retry("it was settled before")
        elif self._plan.group.settles_itself:
            await delivery.ack()

    async def _toil(self, step: Step) -> None:
        """Take as long as was planned; somebody cancels it when ``handler_timeout`` is over."""
        until = trio.current_time() + step.seconds
        if step.seconds:
            await trio.sleep(step.seconds)
        timeout = self._plan.group.config.handler_timeout
        jumped = trio.current_time() > until + GRACE  # or everything stood still
        if timeout is not None and step.seconds > timeout + GRACE and not jumped:
            self._world.judging.breaks(
                0, "handler timeout", f"the handler of {self._process.name} ran {step.seconds:g} s"
            )
        await self._process.breathe()

    async def _work(self, seconds: float) -> None:
        """Take so long; longer, while this process stands still."""
        if seconds:
            await trio.sleep(seconds)
        await self._process.breathe()


def _fail_if_planned(step: Step) -> None:
    """Leave a transaction by an error, if that is what is planned for it."""
    if step.handling is Handling.COMMIT_NOT:
        raise HandlerFailed(REASON)
