"""One entry being handled by one consumer."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, final

import attrs
import trio

from ._backend import Ack, Release, Settlement
from ._dead_letter import DeadLetter, dead_letter_of
from ._decision import Reason, checked_delay
from ._policy import shown
from ._transaction import Transaction, transact

if TYPE_CHECKING:
    from ._entry_id import EntryId
    from ._holding import Holding
    from ._message import Message


@attrs.frozen(kw_only=True)
class DeliveryState:
    """How often, and when, an entry was delivered.

    ``attempt`` counts the deliveries to this group, this one included, as the server does: a
    crash counts, handing back does not. At ``max_attempt`` a failure is the last one.
    ``first_received`` is when the entry was added, ``last_received`` when we got it; both UTC.
    """

    attempt: int
    max_attempt: int
    first_received: datetime
    last_received: datetime

    @property
    def redelivered(self) -> bool:
        """Whether it was delivered, and not handed back, before."""
        return self.attempt > 1


@final
@attrs.define(eq=False, repr=False)
class Delivery:
    """One entry that is ours to handle and to settle, once.

    ``async with delivery`` is the usual way: leaving the block acks; an `Exception` is told to
    the observer, settled as ``on_failure``, ``retry_on`` and ``reject_on`` say, and suppressed;
    anything else (a cancellation, Ctrl-C) releases the entry and goes on, also while entering. The
    block is cancelled, and its cancellation suppressed, when the lease is lost or
    ``handler_timeout`` is over. What the body settled itself is not settled again. Entering and
    leaving are checkpoints; the settlement is confirmed in the background.

    The five verbs settle or renew by hand. Each returns when the server confirmed it.

    Cancellation: a verb that is cancelled, or called in a cancelled scope, has handed its
    settlement over before: it **will happen** all the same.
    """

    _holding: Holding

    @property
    def message(self) -> Message:
        """What the entry says."""
        message = self._holding.message
        assert message is not None, "what cannot be decoded is not delivered"
        return message

    @property
    def entry_id(self) -> EntryId:
        """The id of the entry in the stream of its topic."""
        return self._holding.entry.id

    @property
    def state(self) -> DeliveryState:
        """How often it was delivered, and when."""
        return DeliveryState(
            attempt=self._holding.entry.attempt,
            max_attempt=self._holding.context.policy.max_attempt,
            first_received=self.entry_id.time,
            last_received=self._holding.received,
        )

    @property
    def dead_letter(self) -> DeadLetter | None:
        """Why and where it was buried, when this is a dead letter, or a copy that was redriven."""
        return dead_letter_of(self._holding.entry.record)

    async def ack(self) -> None:
        """Finish it: this group never sees it again.

        Raises:
          DeliveryFinalized: it was settled before.
          LeaseLost: it is no longer ours; nothing was settled.
        """
        await self._settle(Ack(self._holding.receipt))

    async def retry(self, reason: Reason, delay: float | None = None) -> None:
        """Start it again later, in this group only; at the limit it is dead-lettered.

        Args:
          reason: Kept in the dead letter, if this was the last attempt.
          delay: Seconds, 0 to 1e9, without jitter; None: as ``retry_backoff`` says.

        Raises:
          DeliveryFinalized: it was settled before.
          LeaseLost: it is no longer ours; nothing was settled.
          ValidationError: *delay* is not such a number.
        """
        delay = checked_delay(delay)
        policy = self._holding.context.policy
        await self._settle(policy.retry(self._holding.receipt, reason, delay), reason)

    async def reject(self, reason: Reason) -> None:
        """Send it to the dead-letter topic, with its bytes and *reason*; never start it again.

        Raises:
          DeliveryFinalized: it was settled before.
          LeaseLost: it is no longer ours; nothing was settled.
        """
        policy = self._holding.context.policy
        await self._settle(policy.reject(self._holding.receipt, reason), reason)

    async def release(self, delay: float | None = None) -> None:
        """Give it back as if it had not been delivered; any consumer of the group may take it.

        Args:
          delay: Seconds, 0 to 1e9, before it may be taken. Where there is none, a
            ``reclaim_interval`` when this consumer has released the same entry before.

        Raises:
          DeliveryFinalized: it was settled before.
          LeaseLost: it is no longer ours; nothing was settled.
          ValidationError: *delay* is not such a number.
        """
        self._holding.check_open()
        keeper = self._holding.context.keeper
        seconds = checked_delay(delay) or keeper.release_delay(self._holding)
        await self._settle(Release(self._holding.receipt, seconds))

    async def renew(self) -> None:
        """Start the lease anew. This happens by itself; call it to know that it is still ours.

        Where the entry was deleted from its stream nobody else can have it either: that is told to
        the observer, and is no error.

        Raises:
          DeliveryFinalized: it was settled before.
          LeaseLost: it is no longer ours.
        """
        await self._holding.context.lessor.renew(self._holding)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Publish, and finish this delivery, in one step: all of it happens, or nothing does.

        ``async with delivery.transaction() as tx:`` gives a `Transaction`. What ``tx.publish`` is
        given goes to ``output_topics`` of the subscription. Leaving the block commits: in one
        atomic step the server checks that the delivery is still ours, appends all of it, and acks
        the delivery. Leaving it by an exception discards all of it, and settles nothing.

        Where the connection was lost meanwhile, the server is asked again: an entry that is pending
        for nobody was committed, or its lease ran out and whoever took it over has finished it.

        Entering and leaving are checkpoints.

        Raises:
          DeliveryFinalized: it was settled before, or in the block; nothing was published.
          LeaseLost: it is no longer ours, or was deleted; nothing was published.
          trio.BusyResourceError: another transaction of this delivery is open.

        Cancellation: before the block is left, nothing is published. A block that is left normally
        has handed its commit over: it **will happen** all the same.
        """
        return transact(self._holding)

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Delivery:
        try:
            await trio.lowlevel.checkpoint()
            await self._holding.context.lessor.check(self._holding)
        except BaseException:
            self._holding.forgo()
            raise
        self._holding.begin()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        onward = self._holding.conclude(error, ack=True)
        if onward is None:
            await trio.lowlevel.checkpoint()
            return True
        if onward is error:
            return False
        raise onward

    async def _settle(self, settlement: Settlement, reason: Reason = "") -> None:
        keeper = self._holding.context.keeper
        await keeper.submit(self._holding, settlement, shown(reason)).confirmed()

    def __repr__(self) -> str:
        return f"<Delivery {self.entry_id} of {self.message.topic!r}: {self._phase()}>"

    def _phase(self) -> str:
        if self._holding.lost:
            return "lost"
        return "settled" if self._holding.settling else "open"
