"""One consumer at work on a server."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

import attrs
import trio

from trio_bus._backend import (
    Ack,
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError, RemoteError
from trio_bus._look import Look
from trio_bus._ordering import Queue, Start
from trio_bus._parting import parting
from trio_bus._settled import Settled
from trio_bus._wake import Alarm

from .group import Group
from .last_words import see_through
from .link import Link
from .order import Order
from .pipeline import Pipeline
from .portion import Portion
from .reader import Identity, Reader
from .strays import Holdings


class RedisMember(GroupMember):
    """A member that reads on a connection of its own, and does the rest on the shared one."""

    __slots__ = (
        *(
            "_alarm",
            "_group",
            "_hears",
            "_hint",
            "_holdings",
            "_link",
            "_order",
            "_parting",
            "_portion",
        ),
        *("_reader", "_reading", "_scout"),
    )

    def __init__(
        self,
        link: Link,
        membership: Membership,
        open_pipeline: Callable[[], Awaitable[Pipeline]],
        command_timeout: float,
        alarm: Alarm | None = None,
        *,
        hint: Callable[[float], None] | None = None,
        hears: Callable[[], bool] = lambda: False,
    ) -> None:
        self._link = link
        self._alarm = Alarm() if alarm is None else alarm
        self._hint = self._alarm.ring if hint is None else hint
        self._hears = hears
        self._group = Group(link, membership)
        self._parting = parting(command_timeout)
        self._portion = Portion()
        self._holdings = Holdings(self._group, link, self._portion)
        self._reader = Reader(
            open_pipeline,
            link,
            release=self._give_back,
            on_loss=self._holdings.suspect_reader,
            numbers=self._holdings.numbers,
            grace=command_timeout,
        )
        # A look for entries brings none: what it meets stays where it is.
        self._scout = Reader(
            open_pipeline,
            link,
            release=_let_be,
            on_loss=_forgive,
            numbers=self._holdings.numbers,
            grace=command_timeout,
        )
        self._order = Order(link, membership, self._group)
        self._reading = False

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Wait up to *timeout* seconds for new entries; see `GroupMember.read`.

        It runs on its own connection, which is opened by the first read and by the first one
        after a loss. A cancelled read takes one round trip to end, and one to release what it
        brings all the same: together at most the command timeout, or 10 seconds.

        Raises:
          trio.BusyResourceError: another task is reading.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._reading:
            raise trio.BusyResourceError("another task is reading for this member")
        self._reading = True
        try:
            await self._holdings.recover()
            self._holdings.is_reading = True  # no checkpoint since it recovered
            with self._portion.asking(count) as asked:
                entries = await self._reader.read(partial(self._group.pack_read, asked), timeout)
        finally:
            self._reading = self._holdings.is_reading = False
        # No checkpoint since they arrived: they cannot get lost to a cancel.
        self._portion.came(asked, len(entries))
        self._holdings.note(entries)
        return entries

    async def look(self) -> Look:
        """Append what is scheduled and due; tell what there is to take; see `GroupMember.look`."""
        return await self._group.look(hears=self._hears())

    async def woken(self) -> float:
        """Wait for the wake channel; see `GroupMember.woken`."""
        return await self._alarm.wait()

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take what is released, due or abandoned; see `GroupMember.take_over`.

        Cancelled after it was sent, it waits for the answer and releases what came, for at most the
        command timeout or 10 seconds. Where the answer tells of burials, suspects or what is gone,
        it is returned all the same: nobody else would ever tell of that.
        """
        return await self._take(count, None, book=book)

    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take this suspect; see `GroupMember.take_booked`. Cancelled, it is like `take_over`."""
        return await self._take(1, entry_id, book=False)

    async def keep_booking(self, entry_id: EntryId) -> bool:
        """Book this suspect for another lease; say whether it is still set apart."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._group.book(entry_id, keep=True)

    async def give_up_booking(self, entry_id: EntryId) -> None:
        """Let any member book this suspect at once, and wake the others."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._group.book(entry_id, keep=False)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle many in one write; see `GroupMember.settle`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        results = await self._group.settle(settlements)
        self._holdings.remove_settled(settlements, results)
        if {*map(type, settlements)} == {Ack}:  # nearly always
            return results
        for settlement, result in zip(settlements, results, strict=True):
            if result is Settled.DONE and isinstance(settlement, Retry | Release):
                self._hint(settlement.delay)
        return results

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Start the lease of each anew; return those where that is over, and why."""
        await trio.lowlevel.checkpoint_if_cancelled()
        over = await self._group.renew(receipts)
        for receipt in receipts:
            if receipt.id in over:
                self._holdings.remove(receipt)
        return over

    def take_unseen(self) -> frozenset[EntryId]:
        """Return what was given back unseen; see `GroupMember.take_unseen`."""
        return self._holdings.take_unseen()

    async def forget(self) -> bool:
        """Remove this consumer unless it owns entries; say whether it is gone."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._holdings.recover()
        return await self._group.forget()

    async def lead(self, token: int | None) -> int | None:
        """Become active for a lease, or stay it; see `GroupMember.lead`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._order.lead(token)

    async def give_up_lead(self) -> None:
        """Be active no more, and wake the others."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._order.resign()

    async def survey(self, after: EntryId | None, count: int) -> Queue:
        """Tell what is pending in the group; see `GroupMember.survey`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._order.survey(after, count)

    async def draw(self, token: int, count: int) -> Queue | None:
        """Move new entries to where they wait for their key; see `GroupMember.draw`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with self._portion.asking(count) as asked:
            queue = await self._order.draw(token, asked)
        self._portion.came(asked, 0 if queue is None else len(queue.entries))
        return queue

    async def start(
        self, token: int, entry_ids: Sequence[EntryId], *, alone: bool = False
    ) -> Start | None:
        """Take these where nobody else has them; see `GroupMember.start`.

        Cancelled, it is like `take_over`.
        """
        started: list[Start] = []

        async def act(count: int) -> TakeOver:
            start = await self._order.start(token, entry_ids[:count], alone=alone)
            if start is None:
                return TakeOver()
            started.append(start)
            return start.taken

        taken = await self._see_through(partial(self._note, act, len(entry_ids)))
        return attrs.evolve(started[-1], taken=taken) if started else None

    async def grown(self, after: EntryId, timeout: float) -> None:
        """Wait until the topic has an entry behind that one; see `GroupMember.grown`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._scout.read(partial(self._order.pack_grown, after), timeout)

    async def aclose(self) -> None:
        """Close the connections for reads."""
        await self._reader.aclose()
        await self._scout.aclose()

    async def _take(self, count: int, suspect: EntryId | None, *, book: bool) -> TakeOver:
        take = partial(self._group.take_over, suspect=suspect, book=book)
        return await self._see_through(partial(self._note, take, count))

    async def _see_through(self, take: Callable[[], Awaitable[TakeOver]]) -> TakeOver:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._holdings.recover()
        await self._link.wait_connected()
        async with self._holdings.lock:
            taken, end = await see_through(take, self._parting)
        if trio.current_effective_deadline() == -float("inf") and not _must_be_told(taken):
            end = min(end, trio.current_time() + self._parting)
            with trio.CancelScope(deadline=end, shield=True):
                await self._give_back(taken.entries)
                await self._give_up(taken.booked)
            await trio.lowlevel.checkpoint_if_cancelled()
        return taken

    async def _give_up(self, booked: EntryId | None) -> None:
        """Give a booking up. One that cannot be given up now ends with its lease."""
        if booked is not None:
            with contextlib.suppress(BusError):
                await self._group.book(booked, keep=False)

    async def _note(self, take: Callable[[int], Awaitable[TakeOver]], count: int) -> TakeOver:
        try:
            with self._portion.asking(count) as asked:
                taken = await take(asked)
                self._portion.came(asked, len(taken.entries))
        except (BusError, trio.Cancelled):
            self._holdings.suspect()  # it may have been done, and its answer lost
            raise
        # No checkpoint since the answer came.
        self._holdings.settled([*(it.id for it in taken.buried), *taken.gone])
        return attrs.evolve(taken, entries=tuple(self._holdings.add(taken.entries)))

    async def _give_back(self, entries: Sequence[Entry]) -> None:
        """Release, uncounted. What cannot be released now is recovered as a stray."""
        for entry in entries:
            self._holdings.remove(entry.receipt)
        try:
            results = await self._group.settle([Release(entry.receipt) for entry in entries])
        except BusError:
            self._holdings.suspect()
        except trio.Cancelled:
            self._holdings.suspect()
            raise
        else:
            self._holdings.gave_back([entry.receipt for entry in entries], results)
            if any(isinstance(result, RemoteError) for result in results):
                self._holdings.suspect()


def _must_be_told(taken: TakeOver) -> bool:
    """Say whether it found what no later call finds again; what is booked is given up, though."""
    return bool(taken.buried or taken.gone or taken.suspects) and taken.booked is None


async def _let_be(entries: Sequence[Entry]) -> None:  # noqa: ARG001 - nothing has to be done with them
    await trio.lowlevel.checkpoint()


def _forgive(identity: Identity, still: float) -> None:
    """Do nothing about a connection that was lost: nothing was delivered on it."""
