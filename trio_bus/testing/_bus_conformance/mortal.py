"""A backend as one process has it: while that lives, it is told what the server did; then none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

import trio

from trio_bus._backend import (
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Record,
    Settlement,
    StreamBackend,
    TakeOver,
)
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost, RemoteError
from trio_bus._info import TopicInfo
from trio_bus._look import Look
from trio_bus._once import Append, Once
from trio_bus._settled import Settled
from trio_bus.testing._ears import Witness
from trio_bus.testing._journal import Journal

T = TypeVar("T")


class Mortal:
    """Whether a process lives. Whoever is dead reaches no server, whatever it still tries."""

    def __init__(self, journal: Journal, actor: str) -> None:
        self.journal = journal
        self.actor = actor
        self.dead = False

    async def call(self, operation: str, consumer: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do it, unless we are dead."""
        if self.dead:
            await trio.lowlevel.checkpoint()
            raise ConnectionLost("the dead do not speak")
        self.journal.command(self.actor, consumer, operation)
        return await act()


class MortalMember(GroupMember):
    """A member of a process that may die. The journal hears what the server did for it."""

    __slots__ = ("_inner", "_mortal", "_name", "_witness")

    def __init__(self, inner: GroupMember, mortal: Mortal, membership: Membership) -> None:
        self._inner = inner
        self._mortal = mortal
        self._name = membership.consumer
        self._witness = Witness(mortal.journal, mortal.actor, membership)

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Read; see `GroupMember.read`."""
        entries = await self._call("read", lambda: self._inner.read(count, timeout))
        self._witness.delivered(entries)
        return entries

    async def look(self) -> Look:
        """Look; see `GroupMember.look`."""
        return await self._call("look", self._inner.look)

    async def woken(self) -> float:
        """Wait to be woken; see `GroupMember.woken`. Nothing is asked of the server."""
        if self._mortal.dead:
            await trio.sleep_forever()
        return await self._inner.woken()

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take over; see `GroupMember.take_over`."""
        taken = await self._call("take_over", lambda: self._inner.take_over(count, book=book))
        self._witness.took_over(taken)
        return taken

    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take a suspect; see `GroupMember.take_booked`."""
        taken = await self._call("take_booked", lambda: self._inner.take_booked(entry_id))
        self._witness.took_over(taken)
        return taken

    async def keep_booking(self, entry_id: EntryId) -> bool:
        """Keep a booking; see `GroupMember.keep_booking`."""
        return await self._call("keep_booking", lambda: self._inner.keep_booking(entry_id))

    async def give_up_booking(self, entry_id: EntryId) -> None:
        """Give a booking up; see `GroupMember.give_up_booking`."""
        await self._call("give_up_booking", lambda: self._inner.give_up_booking(entry_id))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle; see `GroupMember.settle`."""
        results = await self._call("settle", lambda: self._inner.settle(settlements))
        self._witness.settled(settlements, results)
        return results

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Renew; see `GroupMember.renew`."""
        over = await self._call("renew", lambda: self._inner.renew(receipts))
        self._witness.renewed(receipts, over)
        return over

    async def forget(self) -> bool:
        """Forget; see `GroupMember.forget`."""
        return await self._call("forget", self._inner.forget)

    async def _call(self, operation: str, act: Callable[[], Awaitable[T]]) -> T:
        return await self._mortal.call(operation, self._name, act)


class MortalBackend(StreamBackend):
    """The backend of a process that may die."""

    __slots__ = ("_inner", "_mortal")

    def __init__(self, inner: StreamBackend, mortal: Mortal) -> None:
        self._inner = inner
        self._mortal = mortal

    @property
    def url(self) -> str | None:
        """Where it is."""
        return self._inner.url

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append; see `StreamBackend.append`."""
        return await self._call("append", lambda: self._inner.append(topic, records, once))

    async def append_persisted(
        self, appends: Sequence[Append], replicas: int
    ) -> list[EntryId | Exception]:
        """Append and wait for disks; see `StreamBackend.append_persisted`."""
        return await self._call(
            "append_persisted", lambda: self._inner.append_persisted(appends, replicas)
        )

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Queue a record; see `StreamBackend.append_nowait`."""
        if self._mortal.dead:
            raise ConnectionLost("the dead do not speak")
        self._inner.append_nowait(topic, record, once, on_result)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Schedule; see `StreamBackend.schedule`."""
        return await self._call(
            "schedule", lambda: self._inner.schedule(topic, record, uid, when, once)
        )

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Take it out of the schedule; see `StreamBackend.cancel_scheduled`."""
        return await self._call(
            "cancel_scheduled", lambda: self._inner.cancel_scheduled(topic, uid)
        )

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Create a group; see `StreamBackend.create_group`."""
        return await self._call(
            "create_group", lambda: self._inner.create_group(topic, group, start)
        )

    @asynccontextmanager
    async def join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        """Be that consumer; see `StreamBackend.join`."""
        async with self._inner.join(membership) as member:
            yield MortalMember(member, self._mortal, membership)

    async def info(self, topic: str) -> TopicInfo:
        """Ask; see `StreamBackend.info`."""
        return await self._call("info", lambda: self._inner.info(topic))

    async def _call(self, operation: str, act: Callable[[], Awaitable[T]]) -> T:
        return await self._mortal.call(operation, "", act)
