"""What writes into a journal: an observer, and a witness of what the server does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trio_bus._backend import (
    Ack,
    Bury,
    Commit,
    DeathCause,
    Entry,
    Membership,
    Receipt,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._codec import record_bytes
from trio_bus._entry_id import EntryId
from trio_bus._errors import RemoteError
from trio_bus._graves import Grave, Redriven
from trio_bus._look import Look
from trio_bus._observer import ErrorEvent, TransitionEvent
from trio_bus._settled import Settled

from ._journal import Journal
from ._line import SERVER, Line, What
from ._wording import kind_of

_SETTLED = {
    Ack: What.ACKED,
    Retry: What.RETRIED,
    Release: What.RELEASED,
    Bury: What.BURIED,
    Commit: What.ACKED,
}

_SENT_BACK = {Redriven.DONE, Redriven.COPIED}


class JournalObserver:
    """An observer of one process that writes everything that it hears into a journal."""

    def __init__(self, journal: Journal, actor: str) -> None:
        self._journal = journal
        self._actor = actor

    def on_error(self, event: ErrorEvent, /) -> None:
        """Write that something failed."""
        line = Line(
            time=self._journal.now(),
            actor=self._actor,
            what=What.ERROR,
            topic=event.topic,
            group=event.group,
            consumer=event.consumer,
            entry_id=event.entry_id,
            attempt=event.attempt,
            delivery=event.delivery,
            scope=event.scope,
            detail=kind_of(event.error),
        )
        self._journal.write(line)

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Write what happened."""
        line = Line(
            time=self._journal.now(),
            actor=self._actor,
            what=What.TOLD,
            topic=event.topic,
            group=event.group,
            consumer=event.consumer,
            entry_id=event.entry_id,
            attempt=event.attempt,
            delivery=event.delivery,
            transition=event.transition,
            cause=event.cause,
            seconds=event.delay,
            detail=event.reason,
        )
        self._journal.write(line)


def tell_redriven(
    journal: Journal, dead: Sequence[Grave], results: Sequence[Redriven | RemoteError]
) -> None:
    """Write what was sent back, into which group."""
    for grave, result in zip(dead, results, strict=True):
        if result in _SENT_BACK:
            line = Line(
                time=journal.now(),
                actor=SERVER,
                what=What.REDRIVEN if result is Redriven.DONE else What.COPIED,
                topic=grave.topic,
                group=grave.group,
                entry_id=grave.entry_id,
            )
            journal.write(line)


class Witness:
    """Writes what the server does for one member of a group, when it does it.

    To be told at the server, before anybody knows whether the answer arrives.
    """

    def __init__(self, journal: Journal, actor: str, membership: Membership) -> None:
        self._journal = journal
        self._membership = membership
        line = Line(
            time=journal.now(),
            actor=actor,
            what=What.MEMBER,
            topic=membership.topic,
            group=membership.group,
            consumer=membership.consumer,
            attempt=membership.max_attempt,
            seconds=membership.lease,
        )
        journal.write(line)

    def delivered(self, entries: Iterable[Entry]) -> None:
        """Entries are pending for this member now."""
        for entry in entries:
            self._write(What.GIVEN, entry.receipt, size=record_bytes(entry.record))

    def took_over(self, found: TakeOver) -> None:
        """Entries were taken over, buried, set apart, booked, or found to be gone."""
        for receipt in found.buried:
            self._write(What.BURIED, receipt, cause=DeathCause.EXHAUSTED)
        for entry_id in found.gone:
            self._write(What.DROPPED, Receipt(entry_id, 0))
        for receipt in found.suspects:
            self._write(What.SET_APART, receipt)
        self.booked(found.booked)
        self.delivered(found.entries)

    def booked(self, entry_id: EntryId | None) -> None:
        """A suspect, if there is one, is booked by this member, for a lease from now."""
        if entry_id is not None:
            self._write(What.BOOKED, Receipt(entry_id, 0))

    def unbooked(self, entry_id: EntryId) -> None:
        """This member has given a booking up."""
        self._write(What.UNBOOKED, Receipt(entry_id, 0))

    def trimmed(self, number: int) -> None:
        """So many entries were removed, and nobody sees which."""
        if number:
            self._say_retained(None, number, None)

    def removed(self, entry_id: EntryId, newer: int, age: float) -> None:
        """This entry was removed: so many were behind it, and it was so many seconds old."""
        self._say_retained(entry_id, newer, age)

    def _say_retained(self, entry_id: EntryId | None, count: int, seconds: float | None) -> None:
        us = self._membership
        self._journal.say(
            SERVER,
            What.RETAINED,
            topic=us.topic,
            group=us.group,
            consumer=us.consumer,
            entry_id=entry_id,
            count=count,
            seconds=seconds,
        )

    def settled(
        self, settlements: Sequence[Settlement], results: Sequence[Settled | RemoteError]
    ) -> None:
        """Settlements were executed, each with its result."""
        for settlement, result in zip(settlements, results, strict=True):
            self._settled(settlement, result)

    def renewed(self, receipts: Iterable[Receipt], lost: Iterable[object]) -> None:
        """Leases begin anew, but for those entries of *lost*."""
        over = set(lost)
        for receipt in receipts:
            if receipt.id not in over:
                self._write(What.RENEWED, receipt)

    def kept(self, why: str) -> None:
        """Keep the group of this member, if it is private: it has just looked, or renewed."""
        us = self._membership
        if us.expiry is not None:
            self._journal.say(
                SERVER,
                What.KEPT,
                why,
                topic=us.topic,
                group=us.group,
                consumer=us.consumer,
                seconds=us.expiry,
            )

    def looked(self, look: Look) -> None:
        """Tell for how long there is nothing that has to be looked for; and the group is kept."""
        us = self._membership
        if look.quiet_for:
            self._journal.say(
                SERVER,
                What.CALM,
                topic=us.topic,
                group=us.group,
                consumer=us.consumer,
                seconds=look.quiet_for,
            )
        self.kept("look")

    def _settled(self, settlement: Settlement, result: Settled | RemoteError) -> None:
        if result is Settled.DONE:
            delay = settlement.delay if isinstance(settlement, Retry | Release) else None
            cause = settlement.death.cause if isinstance(settlement, Bury) else None
            what = _SETTLED[type(settlement)]
            count = len(settlement.outputs) if isinstance(settlement, Commit) else None
            self._write(what, settlement.receipt, seconds=delay, cause=cause, count=count)
            return
        words = result.value if isinstance(result, Settled) else kind_of(result)
        detail = f"{type(settlement).__name__.lower()}: {words}"
        gone = result is Settled.GONE
        self._write(What.DROPPED if gone else What.NO_EFFECT, settlement.receipt, detail=detail)

    def _write(
        self,
        what: What,
        receipt: Receipt,
        *,
        detail: str = "",
        seconds: float | None = None,
        cause: DeathCause | None = None,
        count: int | None = None,
        size: int | None = None,
    ) -> None:
        membership = self._membership
        line = Line(
            time=self._journal.now(),
            actor=SERVER,
            what=what,
            topic=membership.topic,
            group=membership.group,
            consumer=membership.consumer,
            entry_id=receipt.id,
            attempt=receipt.attempt or None,
            detail=detail,
            seconds=seconds,
            cause=cause,
            count=count,
            size=size,
        )
        self._journal.write(line)
