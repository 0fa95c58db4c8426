"""Backends that break one promise each, in ways that somebody may well do."""

# pyright: reportPrivateUsage=false
# What breaks a promise reaches for what only the inside has.

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio
from msgspec.structs import replace

from trio_bus import EntryId, MemoryBackend, RemoteError
from trio_bus._memory.schedule import Schedule, Waiting
from trio_bus._names import own_key
from trio_bus.abc import (
    Ack,
    Bury,
    Entry,
    GroupMember,
    Look,
    Membership,
    Once,
    Receipt,
    Record,
    Release,
    Retry,
    Settled,
    Settlement,
    TakeOver,
)
from trio_bus.testing._interposed import InterposedMember

T = TypeVar("T")


@attrs.define
class Broken(InterposedMember):
    """A member that breaks no promise yet."""

    backend: MemoryBackend
    us: Membership

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 - all alike
        return await act()


class BrokenBackend(MemoryBackend):
    """Gives members of one kind, for other rules than those that were asked for."""

    member: type[Broken] = Broken

    def rules(self, membership: Membership) -> Membership:
        return membership

    @asynccontextmanager
    async def join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        async with super().join(self.rules(membership)) as inner:
            yield self.member(inner, self, membership)


class StaleReceipts(Broken):
    """What was said of an earlier delivery counts for the one of now."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        return await self.inner.settle([self._renamed(it) for it in settlements])

    def _renamed(self, word: Settlement) -> Settlement:
        found = self.backend._server.store.find_group(self.us.topic, self.us.group)
        held = found[1].pending.get(word.receipt.id) if found else None
        attempt = word.receipt.attempt if held is None else held.count
        return replace(word, receipt=replace(word.receipt, attempt=attempt))


class SwappedResults(Broken):
    """The results of a batch come in the order of the ids."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        order = sorted(range(len(settlements)), key=lambda at: settlements[at].receipt.id)
        results = await self.inner.settle(settlements)
        return [results[at] for at in order]


class SwappedIds(BrokenBackend):
    """Two ids of a batch change places."""

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        return (await super().append(topic, records, once))[::-1]


class CountedRelease(Broken):
    """A release with a delay counts like a retry."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        return await self.inner.settle(
            [
                Retry(it.receipt, it.delay) if isinstance(it, Release) and it.delay else it
                for it in settlements
            ]
        )


class HastyRetry(Broken):
    """A retry is due at once."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        return await self.inner.settle(
            [Retry(it.receipt) if isinstance(it, Retry) else it for it in settlements]
        )


class SociableSuspects(Broken):
    """A suspect that is released runs beside others."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        return await self.inner.settle(
            [replace(it, receipt=replace(it.receipt, suspect=False)) for it in settlements]
        )


class DestructiveForget(Broken):
    """Who is forgotten takes its entries along."""

    async def forget(self) -> bool:
        found = self.backend._server.store.find_group(self.us.topic, self.us.group)
        if found is not None:
            found[1].remove_consumer(self.us.consumer)
        return await self.inner.forget()


class NoBurials(BrokenBackend):
    """What was delivered too often is delivered again."""

    def rules(self, membership: Membership) -> Membership:
        return attrs.evolve(membership, max_attempt=1000)


class ShortLeases(BrokenBackend):
    """A lease is over after three quarters of its time."""

    def rules(self, membership: Membership) -> Membership:
        return attrs.evolve(membership, lease=membership.lease * 3 / 4)


class SilentDeletes(Broken):
    """Whoever asks is not told that an entry was deleted."""

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        return attrs.evolve(await self.inner.take_over(count, book=book), gone=())

    async def look(self) -> Look:
        return attrs.evolve(await self.inner.look(), gone=())


class DeafMember(Broken):
    """Nobody wakes it."""

    async def woken(self) -> float:
        await trio.sleep_forever()
        raise AssertionError


class LeakyRead(Broken):
    """There is a checkpoint after entries came."""

    async def read(self, count: int, timeout: float) -> list[Entry]:
        entries = await self.inner.read(count, timeout)
        await trio.lowlevel.checkpoint()
        return entries


class LeakyTakeOver(Broken):
    """There is a checkpoint after entries were taken."""

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        taken = await self.inner.take_over(count, book=book)
        await trio.lowlevel.checkpoint()
        return taken


class Resurrection(Broken):
    """Renewing what was handed back makes it ours again."""

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        over = await self.inner.renew(receipts)
        store, now_ms = self.backend._server.store, self.backend._server.clock.now_ms()
        _, group = store.need_group(self.us.topic, self.us.group)
        for receipt in receipts:
            held = group.pending.get(receipt.id)
            if held is not None and held.consumer.name.startswith("~"):
                owner = group.consumer(self.us.consumer, now_ms)
                group.assign(receipt.id, owner, now_ms, receipt.attempt)
                over.pop(receipt.id, None)
        return over


class _LastFirst(Schedule):
    def due(self, now_ms: int, count: int) -> list[Waiting]:
        return super().due(now_ms, count)[::-1]


class _LastFirsts(dict[str, Schedule]):
    def setdefault(self, key: str, default: Schedule | None = None) -> Schedule:  # noqa: ARG002 - of dict  # type: ignore[override]  # it is enough
        return super().setdefault(key, _LastFirst())


class ScheduleOrder(BrokenBackend):
    """What is due last is appended first."""

    def __init__(self) -> None:
        super().__init__()
        self._server.schedules = _LastFirsts()


class ForgottenKeys(BrokenBackend):
    """A record that is only queued is stored whatever its key."""

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,  # noqa: ARG002 - that is what is broken
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        super().append_nowait(topic, record, None, on_result)


class DoubleBooking(Broken):
    """Keeping a booking keeps nothing."""

    async def keep_booking(self, entry_id: EntryId) -> bool:
        kept = await self.inner.keep_booking(entry_id)
        await self.inner.give_up_booking(entry_id)
        return kept


class Greed(Broken):
    """It takes one more than it was asked for."""

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        return await self.inner.take_over(count + 1, book=book)


class Unfenced(Broken):
    """A batch is settled by whoever has it."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        results = await self.inner.settle(settlements)
        return [Settled.DONE if it is Settled.LOST else it for it in results]


class LateLook(Broken):
    """Of an entry and a message that wait it tells when the last is due."""

    async def look(self) -> Look:
        look = await self.inner.look()
        server = self.backend._server
        now_ms = server.clock.now_ms()
        due = server.store.sorted_set(own_key(self.us.topic, "due", self.us.group))
        entry, message = due.first_after(now_ms), server.schedule(self.us.topic).next_due(now_ms)
        if entry is None or message is None:
            return look
        return attrs.evolve(look, due_in=(max(entry, message) - now_ms) / 1000)


class MisnamedRenewals(Broken):
    """What became of one entry is told of the first that was renewed."""

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        over = await self.inner.renew(receipts)
        first = next(iter(receipts)).id
        return {first if it is Settled.GONE else key: it for key, it in over.items()}


class MistoldDeaths(Broken):
    """A dead letter does not say why it is one."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        return await self.inner.settle([self._silent(it) for it in settlements])

    @staticmethod
    def _silent(word: Settlement) -> Settlement:
        if not isinstance(word, Bury):
            return word
        return replace(word, death=replace(word.death, error_text=""))


class LostDeaths(Broken):
    """What the dead-letter topic refuses is dropped."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        results = await self.inner.settle(settlements)
        for word, result in zip(settlements, results, strict=True):
            if isinstance(word, Bury) and isinstance(result, RemoteError):
                await self.inner.settle([Ack(word.receipt)])
        return results


class _ByUid(Schedule):
    def due(self, now_ms: int, count: int) -> list[Waiting]:
        due = super().due(now_ms, count)
        score = self._order._scores
        return sorted(due, key=lambda it: (score[it.member], it.uid))


class _ByUids(dict[str, Schedule]):
    def setdefault(self, key: str, default: Schedule | None = None) -> Schedule:  # noqa: ARG002 - of dict  # type: ignore[override]  # it is enough
        return super().setdefault(key, _ByUid())


class ScheduleByUid(BrokenBackend):
    """What is due at one time is appended in the order of the uids."""

    def __init__(self) -> None:
        super().__init__()
        self._server.schedules = _ByUids()


def _of_members(kind: type[Broken]) -> type[BrokenBackend]:
    return type(kind.__name__, (BrokenBackend,), {"member": kind, "__doc__": kind.__doc__})


_FENCED = "a receipt has an effect only while the entry is pending for this consumer"
_GONE = "what was deleted while it was pending is told as gone"
_MOVED = "an acknowledged entry is finished; a retried one is due after its delay"

_TAKEN = ("take_over: first what is due", "take_over: what was delivered as often as the limit")
_COUNTED = (
    "take_over: the attempt counts",
    "take_over: what lost its owner",
    "take_over: what was set",
)
_LOOKED = ("look: says whether", "look: says in how many seconds", "look: entries are laid")
_BOOKED = "take_over: books a suspect that nobody else has booked"
_ONCE = "a record whose key is remembered is stored once"

BROKEN: dict[type[BrokenBackend], tuple[str, ...]] = {
    _of_members(StaleReceipts): (f"settle: {_FENCED}",),
    _of_members(Unfenced): (f"settle: {_FENCED}",),
    _of_members(SwappedResults): ("settle: one result for each settlement, in their order",),
    _of_members(CountedRelease): (*_COUNTED, *_TAKEN, f"settle: {_MOVED}"),
    _of_members(HastyRetry): (*_LOOKED, *_TAKEN, f"settle: {_MOVED}"),
    _of_members(SociableSuspects): (*_COUNTED, *_TAKEN, f"settle: {_MOVED}"),
    _of_members(DestructiveForget): ("forget: removes this consumer, unless it owns entries",),
    _of_members(SilentDeletes): (f"look: {_GONE}", f"take_over: {_GONE}"),
    _of_members(DeafMember): ("woken: whoever waits is woken by everything",),
    _of_members(LeakyRead): ("read: cancelled, it loses nothing",),
    _of_members(LeakyTakeOver): ("take_over: cancelled, it gives back what it took",),
    _of_members(Resurrection): ("renew: what is not ours is lost or absent",),
    _of_members(DoubleBooking): (_BOOKED, *_LOOKED),
    _of_members(Greed): _TAKEN,
    _of_members(LateLook): ("look: says in how many seconds",),
    _of_members(MisnamedRenewals): ("renew: ",),
    _of_members(MistoldDeaths): ("read: each entry has the record that was appended",),
    _of_members(LostDeaths): (f"settle: {_MOVED}",),
    ScheduleByUid: ("read: each entry has the record that was appended", "look: what is scheduled"),
    SwappedIds: ("append: an id for each record, growing, in the order of the list",),
    NoBurials: (*_TAKEN, *_COUNTED),
    ShortLeases: (*_LOOKED, _BOOKED),
    ScheduleOrder: ("read: each entry has the record that was appended", "look: what is scheduled"),
    ForgottenKeys: (
        *("append_nowait: on_result is called exactly once", f"append: {_ONCE}"),
        "info: an operation changes what it says",  # by a commit: an output has the same key
    ),
}
"""Which promises each breaks, by how they begin: the first that is noticed is told."""
