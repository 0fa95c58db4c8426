"""What became of the deliveries of a subscription: counted, and told to the observer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import (
    Ack,
    Bury,
    Commit,
    DeathCause,
    Receipt,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._observer import Transition
from trio_bus._settled import Settled

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId
    from trio_bus._holding import Holding
    from trio_bus._notifier import Notifier
    from trio_bus._settling import Settling

    from .progress import Progress

_ENDS: dict[type[Settlement], Transition] = {
    Ack: Transition.ACKED,
    Retry: Transition.RETRIED,
    Release: Transition.RELEASED,
    Bury: Transition.DEAD_LETTERED,
    Commit: Transition.ACKED,
}
# Each message asks for these, and until Python 3.12 an enum answers as slowly as a call.
_STARTED, _FINISHED, _ACKED = Transition.STARTED, Transition.FINISHED, Transition.ACKED


class History:
    """Counts the beginnings and ends of deliveries, and tells the observer of each step.

    Invariant: a delivery that was told as received ends once, with one count.
    """

    def __init__(self, notifier: Notifier, now: Callable[[], datetime], progress: Progress) -> None:
        self._notifier = notifier
        self._now = now
        self.progress = progress
        self.counts: Counter[Transition] = Counter()
        """How many began and ended which way. EXPIRED: acked because it had expired."""
        self.failures = 0
        """How often a handler raised or took too long."""
        self.trimmed = 0
        """How many entries our retention removed."""

    def began(self, holdings: Sequence[Holding], transition: Transition) -> None:
        """These became ours: RECEIVED or TAKEN_OVER."""
        self.counts[transition] += len(holdings)
        if self.progress.is_kept:
            for holding in holdings:
                self.progress.received(holding.entry.id)
        if self._notifier.wants(transition):
            for holding in holdings:
                self._tell(transition, holding)

    def started(self, now: float, *holdings: Holding) -> None:
        """Their handler starts now, or the user's own loop gets them."""
        for holding in holdings:
            holding.started = now
        if self._notifier.wants(_STARTED):
            wall = self._now().timestamp()
            for holding in holdings:
                waited = max(0.0, wall - holding.entry.id.ms / 1000)
                self._tell(_STARTED, holding, _alone(holding), waited=waited)

    def finished(self, *holdings: Holding) -> None:
        """Its handler, or an ``async with`` block, has ended."""
        if self._notifier.wants(_FINISHED):
            now = trio.current_time()
            for holding in holdings:
                self._tell(_FINISHED, holding, ran=_ran(holding, now))

    def left_open(self, holding: Holding) -> None:
        """Its handler returned and settled nothing."""
        self._tell(Transition.UNSETTLED, holding)

    def expired(self, holding: Holding, expires_at: datetime) -> None:
        """It is not started any more."""
        holding.expired = True
        self._tell(Transition.EXPIRED, holding, str(expires_at))

    def settled(self, settlings: Sequence[Settling]) -> None:
        """The server has answered settlements, or will not be asked any more."""
        if self.progress.is_kept:
            for settling in settlings:
                self.progress.settled(settling)
        told_of_acks, acked = self._notifier.wants(_ACKED), 0
        done = Settled.DONE
        for settling in settlings:
            holding = settling.holding
            is_ack = settling.outcome is done and type(settling.settlement) is Ack
            if is_ack and not (told_of_acks or holding.told or holding.expired):
                holding.told = True
                acked += 1  # nearly always
            else:
                self._settled(settling)
        self.counts[_ACKED] += acked

    def _settled(self, settling: Settling) -> None:
        holding = settling.holding
        if settling.outcome is None:
            self._end(holding, Transition.UNCONFIRMED, str(settling.last_error or ""), settling)
        elif settling.outcome is Settled.LOST:
            self._end(holding, Transition.LEASE_LOST, settling.reason, settling)
        elif settling.outcome is Settled.GONE:
            self._end(holding, Transition.VANISHED, settling.reason, settling)
        else:
            end = _ENDS[type(settling.settlement)]
            self._end(holding, end, settling.reason, settling)

    def lost(self, holding: Holding) -> None:
        """Its lease is lost, or has run out by our clock, before it was settled."""
        self._end(holding, Transition.LEASE_LOST, "", None)

    def vanished(self, holding: Holding) -> None:
        """A renewal found it deleted; what runs with it goes on."""
        self._end(holding, Transition.VANISHED, "", None)

    def claimed(self, result: TakeOver) -> None:
        """Taking over found this beside what it took."""
        for receipt in result.buried:
            self.buried(receipt)
        for receipt in result.suspects:
            self.suspected(receipt)
        for entry_id in result.gone:
            self.gone(entry_id)

    def buried(self, receipt: Receipt) -> None:
        """Taking over found it over the limit."""
        self.counts[Transition.DEAD_LETTERED] += 1
        self.progress.finished(receipt.id)
        self._notifier.transition(
            Transition.DEAD_LETTERED,
            receipt.id,
            receipt.attempt,
            "its attempts were used up",
            cause=DeathCause.EXHAUSTED,
        )

    def suspected(self, receipt: Receipt) -> None:
        """Taking over found it where its process may have died of it, and set it apart."""
        self.counts[Transition.SUSPECTED] += 1
        self._notifier.transition(Transition.SUSPECTED, receipt.id, receipt.attempt)

    def gone(self, entry_id: EntryId) -> None:
        """Taking over found it deleted."""
        self.counts[Transition.VANISHED] += 1
        self.progress.finished(entry_id)
        self._notifier.transition(Transition.VANISHED, entry_id)

    def paused(self) -> None:
        """The program wants nothing to be taken in."""
        self._notifier.transition(Transition.PAUSED)

    def resumed(self) -> None:
        """It does again."""
        self._notifier.transition(Transition.RESUMED)

    def _end(
        self, holding: Holding, end: Transition, reason: str, settling: Settling | None
    ) -> None:
        if holding.told:  # it was lost or deleted before: what came of its settlement is no news
            return
        holding.told = True
        unhandled = end is Transition.ACKED and holding.expired
        self.counts[Transition.EXPIRED if unhandled else end] += 1
        if not self._notifier.wants(end):
            return
        self._tell(
            end,
            holding,
            reason,
            cause=DeathCause.EXPIRED if unhandled else _cause(end, settling),
            delay=_delay(end, settling),
            ran=_ran(holding, trio.current_time() if settling is None else settling.since),
        )

    def _tell(
        self,
        transition: Transition,
        holding: Holding,
        reason: str = "",
        *,
        cause: DeathCause | None = None,
        delay: float | None = None,
        waited: float | None = None,
        ran: float | None = None,
    ) -> None:
        self._notifier.transition(
            transition,
            *holding.place,
            reason,
            delivery=holding.number,
            cause=cause,
            delay=delay,
            waited=waited,
            ran=ran,
        )


def _alone(holding: Holding) -> str:
    """Say why it starts in another way than the rest, if it does."""
    if not holding.entry.suspect:
        return ""
    return f"alone: taken from an expired lease after {holding.entry.attempt - 1} deliveries"


def _cause(end: Transition, settling: Settling | None) -> DeathCause | None:
    if settling is None or end is not Transition.DEAD_LETTERED:
        return None
    return settling.settlement.death.cause if isinstance(settling.settlement, Bury) else None


def _delay(end: Transition, settling: Settling | None) -> float | None:
    if settling is None or end not in {Transition.RETRIED, Transition.RELEASED}:
        return None
    settlement = settling.settlement
    return settlement.delay if isinstance(settlement, Retry | Release) else None


def _ran(holding: Holding, until: float) -> float | None:
    """Return the seconds since it started; None if it had not by then."""
    started = holding.started
    return None if started is None or started > until else until - started
