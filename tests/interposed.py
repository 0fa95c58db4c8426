"""A member between a subscription and another member."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

import attrs

from trio_bus import EntryId, RemoteError
from trio_bus.abc import (
    Entry,
    GroupMember,
    Look,
    Receipt,
    Settled,
    Settlement,
    TakeOver,
)

T = TypeVar("T")


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

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle."""
        return await self.run("settle", lambda: self.inner.settle(settlements))

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Renew."""
        return await self.run("renew", lambda: self.inner.renew(receipts))

    async def forget(self) -> bool:
        """Forget."""
        return await self.run("forget", self.inner.forget)
