"""A backend, and its members, between trio_bus and another backend."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Generic, TypeVar

import attrs

from trio_bus._backend import (
    Buried,
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
from trio_bus._errors import RemoteError
from trio_bus._graves import Grave, Redriven
from trio_bus._info import TopicInfo
from trio_bus._look import Look
from trio_bus._once import Append, Once
from trio_bus._ordering import Queue, Start
from trio_bus._settled import Settled

T = TypeVar("T")
B = TypeVar("B", bound=StreamBackend)


@attrs.define
class InterposedMember(GroupMember):
    """Hands on whatever it is asked, as `run` allows; to be woken is nobody's business."""

    inner: GroupMember

    @abc.abstractmethod
    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do what this call is for, or something else."""

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Read."""
        return await self.run("read", lambda: self.inner.read(count, timeout))

    async def look(self) -> Look:
        """Look."""
        return await self.run("look", self.inner.look)

    async def woken(self) -> float:
        """Wait to be woken."""
        return await self.inner.woken()

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take over."""
        return await self.run("take_over", lambda: self.inner.take_over(count, book=book))

    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take a suspect."""
        return await self.run("take_booked", lambda: self.inner.take_booked(entry_id))

    async def keep_booking(self, entry_id: EntryId) -> bool:
        """Keep a booking."""
        return await self.run("keep_booking", lambda: self.inner.keep_booking(entry_id))

    async def give_up_booking(self, entry_id: EntryId) -> None:
        """Give a booking up."""
        await self.run("give_up_booking", lambda: self.inner.give_up_booking(entry_id))

    async def lead(self, token: int | None) -> int | None:
        """Become active, or stay it."""
        return await self.run("lead", lambda: self.inner.lead(token))

    async def give_up_lead(self) -> None:
        """Be active no more."""
        await self.run("give_up_lead", self.inner.give_up_lead)

    async def survey(self, after: EntryId | None, count: int) -> Queue:
        """Survey."""
        return await self.run("survey", lambda: self.inner.survey(after, count))

    async def draw(self, token: int, count: int) -> Queue | None:
        """Draw."""
        return await self.run("draw", lambda: self.inner.draw(token, count))

    async def start(
        self, token: int, entry_ids: Sequence[EntryId], *, alone: bool = False
    ) -> Start | None:
        """Start."""
        return await self.run("start", lambda: self.inner.start(token, entry_ids, alone=alone))

    async def grown(self, after: EntryId, timeout: float) -> None:
        """Wait for an entry."""
        await self.run("grown", lambda: self.inner.grown(after, timeout))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle."""
        return await self.run("settle", lambda: self.inner.settle(settlements))

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Renew."""
        return await self.run("renew", lambda: self.inner.renew(receipts))

    def take_unseen(self) -> Collection[EntryId]:
        """Ask for what was given back unseen, which fails never."""
        return self.inner.take_unseen()

    async def forget(self) -> bool:
        """Forget."""
        return await self.run("forget", self.inner.forget)


class InterposedBackend(StreamBackend, Generic[B]):
    """Hands on whatever it is asked, as `run` allows."""

    def __init__(self, inner: B) -> None:
        self.inner: B = inner
        """The backend that does the work."""

    @abc.abstractmethod
    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do what this call is for, or something else."""

    @abc.abstractmethod
    def interpose(self, member: GroupMember, membership: Membership) -> GroupMember:
        """Return what stands before a member of the other backend."""

    @property
    def url(self) -> str | None:
        """Where the other backend is."""
        return self.inner.url

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append."""
        return await self.run("append", lambda: self.inner.append(topic, records, once))

    async def append_persisted(
        self, appends: Sequence[Append], replicas: int
    ) -> list[EntryId | Exception]:
        """Append, and wait for disks."""
        return await self.run(
            "append_persisted", lambda: self.inner.append_persisted(appends, replicas)
        )

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Queue a record."""
        self.inner.append_nowait(topic, record, once, on_result)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Schedule."""
        return await self.run(
            "schedule", lambda: self.inner.schedule(topic, record, uid, when, once)
        )

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Take it out of the schedule."""
        return await self.run("cancel_scheduled", lambda: self.inner.cancel_scheduled(topic, uid))

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Create a group."""
        return await self.run("create_group", lambda: self.inner.create_group(topic, group, start))

    async def create_private(
        self, topic: str, group: str, start: EntryId | None, expiry: float
    ) -> EntryId | None:
        """Create a private group."""
        return await self.run(
            "create_private", lambda: self.inner.create_private(topic, group, start, expiry)
        )

    def join(self, membership: Membership) -> AbstractAsyncContextManager[GroupMember]:
        """Be that consumer."""
        return self._join(membership)

    @asynccontextmanager
    async def _join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        async with self.inner.join(membership) as member:
            yield self.interpose(member, membership)

    async def info(self, topic: str) -> TopicInfo:
        """Ask."""
        return await self.run("info", lambda: self.inner.info(topic))

    async def buried(
        self, topic: str, group: str | None, after: EntryId | None
    ) -> tuple[list[Buried], EntryId | None]:
        """Read dead ones."""
        return await self.run("buried", lambda: self.inner.buried(topic, group, after))

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send them back."""
        return await self.run("redrive", lambda: self.inner.redrive(dead))
