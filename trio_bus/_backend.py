"""The contract between the bus and whatever keeps its streams: records in, entries out.

A backend knows streams, groups, consumers and bytes. It never sees a `Message`, and it decides
nothing: what is retried, released or buried is said by the subscription. The stream of a topic is
the key of that name.

Manual-wide rules hold (async = checkpoint; ``Cancelled`` = it did not happen), with exceptions:
`GroupMember.settle` and, of `StreamBackend`, `append`, `append_persisted`, `schedule`, `redrive`
and `cancel_scheduled`, when cancelled, *may have happened*. So may what can be asked for again
without harm: `create_group`, `create_private`, `look`, `renew`, `forget` and what is done to a
booking.

Faults surface as `ConnectionLost` (try again later), `GroupMissing` (create the group again) or
another `RemoteError`. Backends reconnect by themselves and do not retry by themselves.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

import attrs

from ._entry import Entry
from ._entry_id import EntryId
from ._errors import RemoteError
from ._graves import Grave, Redriven
from ._info import TopicInfo
from ._look import Look
from ._once import Append, Once
from ._ordering import OrderedMember
from ._retention import Retention
from ._settled import Settled
from ._settlement import (
    Ack,
    Buried,
    Bury,
    Commit,
    Death,
    DeathCause,
    Receipt,
    Record,
    Release,
    Retry,
    Settlement,
)

__all__ = [
    "Ack",
    "Buried",
    "Bury",
    "Commit",
    "Death",
    "DeathCause",
    "Entry",
    "GroupMember",
    "Membership",
    "Receipt",
    "Record",
    "Release",
    "Retry",
    "Settlement",
    "StreamBackend",
    "TakeOver",
]


@attrs.frozen
class TakeOver:
    """What one look at the unowned entries of a group brought.

    ``buried`` were over the limit and are dead-lettered now; ``gone`` had been deleted or trimmed
    from the stream while they were pending, and are not pending any more. ``suspects`` have lost
    their owner once too often to start beside others, and were set apart with their counts.
    ``booked`` is a suspect that no other member will book for a lease.
    """

    entries: tuple[Entry, ...] = ()
    buried: tuple[Receipt, ...] = ()
    gone: tuple[EntryId, ...] = ()
    suspects: tuple[Receipt, ...] = ()
    booked: EntryId | None = None


@attrs.frozen(kw_only=True)
class Membership:
    """One consumer of one group, and the rules by which it takes over entries."""

    topic: str
    group: str
    consumer: str
    lease: float
    """Seconds: a pending entry idle for longer has lost its owner."""
    max_attempt: int
    """An entry delivered this often before is buried instead of being taken over."""
    dead_letter_topic: str | None = None
    tend_every: float = 0.0
    """Seconds for which a group is left alone after any of its members tended it."""
    expiry: float | None = None
    """Where the group is private: seconds for which it outlives the last look or renewal."""
    retention: Retention | None = None
    """What `GroupMember.look` removes from the topic."""
    retain_every: float = 0.0
    """Seconds for which a topic is left alone after somebody removed what this retention says."""


class GroupMember(OrderedMember):
    """One consumer at work. Only one task may be in `read` at a time; the rest is concurrent."""

    __slots__ = ()

    @abc.abstractmethod
    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Wait up to *timeout* seconds (``inf``: no bound) for new entries; at most *count*.

        Ends early when a call is cancelled. Entries that arrive together with the cancellation
        are released, uncounted, before ``Cancelled`` is raised.

        Raises:
          ConnectionLost: entries that were under way are recovered by the next call.
          GroupMissing: the group does not exist.
        """

    @abc.abstractmethod
    async def look(self) -> Look:
        """Append what is scheduled on this topic and due; tell what there is to take, and when.

        Cheap, and one atomic step. A scheduled message is appended and leaves the schedule in that
        one step: first the one that is due first, and what is due together in the order in which
        it was scheduled. A bounded number of them is appended by one call.

        The first look after ``tend_every`` seconds also tends the group. Entries whose owner lost
        its lease are laid where every member can take them, whoever looks, and all are woken for
        them: not our own. Other consumers that own nothing are removed when they were idle for two
        leases, and for four times ``tend_every``; who looks is not idle.

        Each look keeps a private group for another expiry, and removes a bounded number of other
        private groups of this topic whose expiry is over, with all that belongs to them.

        A look also removes what is beyond the bounds of our ``retention``, and finished by every
        group unless that says otherwise; not within ``retain_every`` seconds of the last time
        that anybody did so on this topic with the same retention. A bounded number by one call.
        """

    @abc.abstractmethod
    async def woken(self) -> float:
        """Wait until `look` will see something new; return in how many seconds that is.

        Woken by everything that hands back an entry of this group or schedules a message of this
        topic, in whatever process. What happens between two calls is not missed; of several times
        the earliest is told. It is a hint: it may come for nothing, and it may be missing where the
        connection was down, or where the server does not let us listen.

        Only one task may wait. Cancelled, it takes nothing from the next call.
        """

    @abc.abstractmethod
    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take at most *count* entries that are due, were released, or were found abandoned.

        One atomic step on the server: each is counted as delivered, over-limit ones are buried,
        deleted ones dropped. Where a burial is refused, that entry stays; the refusal is raised
        only if nothing else was found. Suspects (abandoned, with two counts or as many as there are
        retries) are set apart, uncounted; with *book* one that nobody has booked is booked for us.

        Cancellation: what was taken is handed back. An answer that comes with it and tells of what
        was buried, dropped or set apart may be returned all the same.
        """

    @abc.abstractmethod
    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take this suspect, as `take_over` would; nothing if it is not set apart any more."""

    @abc.abstractmethod
    async def keep_booking(self, entry_id: EntryId) -> bool:
        """Book this suspect for another lease; say whether it is still set apart."""

    @abc.abstractmethod
    async def give_up_booking(self, entry_id: EntryId) -> None:
        """Let any member book this suspect at once, and wake the others."""

    @abc.abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle many; one result for each, in order: what became of it, or the refusal.

        Of several words about one delivery any one comes first, and the others find it settled.

        Raises:
          OutcomeUnknown: some, all or none have happened. Settle them again: what happened
            answers `Settled.LOST` or `Settled.ABSENT` then; a `Commit` that happened answers
            `Settled.FINISHED` or `Settled.ABSENT`.
          ConnectionLost: none has happened.

        Cancellation: may have happened.
        """

    @abc.abstractmethod
    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Start the lease of each anew; return those where that is over, and why.

        `Settled.LOST` or `Settled.ABSENT`; `Settled.GONE` ends the wait for an entry that was
        deleted or trimmed while it was ours. Never `Settled.DONE`. Keeps a private group, as
        `look` does.
        """

    def take_unseen(self) -> Collection[EntryId]:
        """Return what was given to this member of a private group, and back, without its knowing.

        An answer was lost, or came with a cancellation. Not what has come again since, and each is
        told once. Whoever makes the group anew has to begin before it: nobody else knows of it.
        """
        return ()

    @abc.abstractmethod
    async def forget(self) -> bool:
        """Remove this consumer unless it owns entries; say whether it is gone.

        A private group goes with it, whatever is pending there, and so do our keys beside it.
        """


class StreamBackend(abc.ABC):
    """Keeps streams. `MemoryBackend` and `RedisBackend` are the two that come with trio_bus."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def url(self) -> str | None:
        """Where another process finds the same streams; None if it cannot. Never a password."""

    @abc.abstractmethod
    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append in order, in one round trip; an id or its own error for each record.

        Order in the stream is order in the list, also between records with and without a key.

        Args:
          topic: Where they go.
          records: What to append.
          once: Nothing, or for each record how it is stored `Once`, or None. A record with a key,
            and the mark that remembers it, are stored in one atomic step.

        Each error is a `BusError`: an `OutcomeUnknown` where the connection was lost after
        sending, a `ConnectionLost` where nothing was sent, a `RemoteError` for a refusal, a
        `ValidationError` for a record with a key and more than 3,500 fields. After all
        but the first nothing of that record was stored. After an `OutcomeUnknown` a record with a
        key may be appended again within its window: it is stored once.

        Cancellation: some or all of them may have been appended.
        """

    @abc.abstractmethod
    async def append_persisted(
        self, appends: Sequence[Append], replicas: int
    ) -> list[EntryId | Exception]:
        """Append in order, and wait until the disk of the server has it, and those of replicas.

        It waits once for all of them, and for as long as a command may take. Order in each stream
        is order in the list.

        Args:
          appends: What to append, to one topic or to many.
          replicas: How many replicas must have it on disk besides the server.

        Each error is a `BusError` as in `append`, or a `NotPersisted`: that record is stored, and
        too few copies were confirmed in time. A server that cannot do this answers an `Unsupported`
        for each, and nothing is stored. For a record that is remembered (see `Once`) the wait takes
        place as well.

        Cancellation: some or all of them may have been appended.
        """

    @abc.abstractmethod
    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Queue a record behind what was queued before, without waiting for anything.

        *on_result* is called exactly once, before or after this returns, with the id or the error
        that `append` would have given. It must not raise, and not wait. What is queued is still
        sent, and its answer awaited for a bounded time, when the backend is closed.

        Raises:
          trio.WouldBlock: too much is under way; nothing was queued.
          ConnectionLost: there is no connection now; nothing was queued.
          BusClosed: the backend was closed.
        """

    @abc.abstractmethod
    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Keep a record on the server until it is due; a member that looks appends it then.

        Args:
          topic: Where to append it. Its stream need not exist.
          record: What to append: 1 to 3,500 fields.
          uid: Its name in this topic. One that is in the schedule is not scheduled again.
          when: In so many seconds, counted by the server, at least 0; or at an instant, with a time
            zone, by the clock of the server.
          once: For so many seconds the uid is returned again, and nothing else is done, when
            another one with the same end behind its last ``-`` is scheduled on this topic.

        Returns:
          The uid, or the one that was scheduled first.

        Raises:
          ValidationError: the record has too many fields.

        Cancellation: may have happened.
        """

    @abc.abstractmethod
    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Take a record out of the schedule; say whether it was there.

        Cancellation: may have happened.
        """

    @abc.abstractmethod
    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Make sure that the group exists; say whether it is new.

        A new one begins after *start*; None means after the newest entry. What an earlier group
        of that name left behind is cleared. An existing one is not changed.
        """

    @abc.abstractmethod
    async def create_private(
        self, topic: str, group: str, start: EntryId | None, expiry: float
    ) -> EntryId | None:
        """Create the group of one consumer alone; return after which entry it begins.

        *start* is as in `create_group`; but a group that would begin after all that the stream ever
        had begins with the oldest entry: it is another stream then. None is returned if the group
        exists, and nothing is changed. In *expiry* seconds from now others may remove it; see
        `GroupMember.look`.
        """

    @abc.abstractmethod
    def join(self, membership: Membership) -> AbstractAsyncContextManager[GroupMember]:
        """Be that consumer inside the ``async with`` block. Leaving is not forgetting."""

    @abc.abstractmethod
    async def info(self, topic: str) -> TopicInfo:
        """Say what the server knows of a topic; a topic that does not exist is empty."""

    @abc.abstractmethod
    async def buried(
        self, topic: str, group: str | None, after: EntryId | None
    ) -> tuple[list[Buried], EntryId | None]:
        """Read some dead entries in id order, and where to go on (None: that is the end).

        Of a *group*: what it keeps. None: what in the topic itself has a context.
        """

    @abc.abstractmethod
    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send dead entries back, each into the group that gave it up; a result for each.

        Of each it is one atomic step: any member of that group alone can take it over, no attempt
        is counted, and it is dead no more. Its context is kept and stands before the next one.
        Where a dead letter outlived its entry, a copy is appended that names the group at its end.

        Cancellation: may have happened. Done again, what happened answers `Redriven.LOST`.
        """
