"""Many deliveries that are handled together."""

# pyright: reportPrivateUsage=false
# A batch does to each of its deliveries what the block of one does to it.

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, final

import trio

from ._decision import Reason
from ._delivery import Delivery
from ._errors import HandlerTimeout
from ._holding import leave, sort

if TYPE_CHECKING:
    from ._holding import Holding


@final
class Batch:
    """Many deliveries at a time, each with an outcome of its own, settled together.

    ``async with batch`` is the usual way, and what surrounds a ``batch_handler``. Leaving the block
    acks whatever the body has not settled. An `Exception` is told to the observer and suppressed,
    and each delivery that is open has failed: the settings are asked for each, as for one alone.
    But an `EventInvalid` says nothing of the others: it rejects a batch of one only. Anything else
    (a cancellation, Ctrl-C) releases what is open and goes on, also while entering. The block is
    cancelled, and its cancellation suppressed, when ``handler_timeout`` is over, which is a failure
    of all that is open, or when the lease of one of them is lost: then the others are released.

    Iterate over it, or take its ``len``. The verbs are those of its deliveries. Entering and
    leaving are checkpoints; the settlements are confirmed in the background.
    """

    def __init__(self, holdings: Sequence[Holding]) -> None:
        self._holdings = list(holdings)
        self._deliveries: tuple[Delivery, ...] | None = None  # until somebody asks for them
        self._entered: list[Holding] = []
        self._lost: list[Holding] = []
        self._scope: trio.CancelScope | None = None

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """What it consists of; inside the block, without what was lost before."""
        if self._deliveries is None:
            self._deliveries = tuple([Delivery(holding) for holding in self._holdings])
        return self._deliveries

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self.deliveries)

    def __len__(self) -> int:
        return len(self._holdings)

    async def ack(self, delivery: Delivery) -> None:
        """Finish one of them; see `Delivery.ack`."""
        await delivery.ack()

    async def retry(self, delivery: Delivery, reason: Reason, delay: float | None = None) -> None:
        """Start one of them again later; see `Delivery.retry`."""
        await delivery.retry(reason, delay)

    async def reject(self, delivery: Delivery, reason: Reason) -> None:
        """Send one of them to the dead-letter topic; see `Delivery.reject`."""
        await delivery.reject(reason)

    async def release(self, delivery: Delivery, delay: float | None = None) -> None:
        """Give one of them back; see `Delivery.release`."""
        await delivery.release(delay)

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Batch:
        holdings = self._holdings
        try:
            await trio.lowlevel.checkpoint()
            for holding in holdings:
                await holding.context.lessor.check(holding)
        except BaseException:
            for holding in holdings:
                holding.forgo()
            raise
        self._lost += [holding for holding in holdings if not holding.open]
        self._holdings = [holding for holding in holdings if holding.open]
        if self._deliveries is not None:
            self._deliveries = tuple(it for it in self._deliveries if it._holding.open)  # noqa: SLF001 - see above
        self.begin()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        onward = self.conclude(error, ack=True)
        if onward is None:
            await trio.lowlevel.checkpoint()
            return True
        if onward is error:
            return False
        raise onward

    def begin(self) -> None:
        """Enter the scope that all of them share; see ``Holding.begin``."""
        holdings = self._holdings
        for holding in holdings:
            if holding.busy:  # seldom
                holding.check_idle()
        timeout = holdings[0].context.handler_timeout if holdings else math.inf
        now = trio.current_time()
        self._scope = trio.CancelScope(deadline=now + timeout)
        self._entered = holdings
        if holdings:
            holdings[0].join(self._scope, now, trio.lowlevel.current_task(), *holdings[1:])
        self._scope.__enter__()

    def conclude(self, error: BaseException | None, *, ack: bool) -> BaseException | None:
        """Leave the scope, settle each as *error* demands; return what has to be raised."""
        scope, self._scope = self._scope, None
        assert scope is not None, "left before it was entered"
        holdings, self._entered = self._entered, []
        rest = leave(scope, error)
        cancelled = rest is None and scope.cancelled_caught
        lost = cancelled and any(holding.lost for holding in holdings)
        if cancelled and not lost:
            rest = HandlerTimeout("the batch was not done in time")
        failure, onward = sort(rest)
        if ack and failure is None and onward is None and not cancelled:
            _succeed(holdings)
            return None
        concerned = {it for it in holdings if it.open} or set(holdings[:1])
        if failure is not None and not holdings:
            for holding in self._lost[:1]:  # somebody has to hear of it
                holding.context.keeper.failed(holding, failure)
        for holding in holdings:
            holding.end(
                failure if holding in concerned else None,
                release=onward is not None or lost,
                ack=ack,
            )
        return onward


def _succeed(holdings: Sequence[Holding]) -> None:
    """Ack those that are open; of the others say only that they have ended."""
    still = [it for it in holdings if it.settling is None and not it.lost]
    if still:
        still[0].context.keeper.succeeded(*still)
    if len(still) < len(holdings):
        for holding in holdings:
            if holding.busy:
                holding.end(None, release=False, ack=False)
