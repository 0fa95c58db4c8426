"""A backend as one process has it: while that lives, it is told what the server did; then none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import attrs
import trio

from trio_bus._backend import (
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Settlement,
    StreamBackend,
    TakeOver,
)
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost, RemoteError
from trio_bus._look import Look
from trio_bus._ordering import Queue, Start
from trio_bus._settled import Settled
from trio_bus.testing._ears import Witness
from trio_bus.testing._interposed import InterposedBackend, InterposedMember
from trio_bus.testing._journal import Journal
from trio_bus.testing._trims import looked

T = TypeVar("T")


class Mortal:
    """Whether a process lives. Whoever is dead reaches no server, whatever it still tries."""

    def __init__(self, journal: Journal, actor: str) -> None:
        self.journal = journal
        self.actor = actor
        self.dead = False

    async def call(
        self,
        operation: str,
        consumer: str,
        act: Callable[[], Awaitable[T]],
        *,
        count: int | None = None,
        seconds: float | None = None,
    ) -> T:
        """Do it, unless we are dead; the journal hears about how many it is, and for how long."""
        if self.dead:
            await trio.lowlevel.checkpoint()
            raise ConnectionLost("the dead do not speak")
        self.journal.command(self.actor, consumer, operation, count=count, seconds=seconds)
        return await act()


@attrs.define
class MortalMember(InterposedMember):
    """A member of a process that may die. The journal hears what the server did for it."""

    mortal: Mortal
    membership: Membership
    witness: Witness
    backend: StreamBackend

    @property
    def consumer(self) -> str:
        """Its name."""
        return self.membership.consumer

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do it, unless we are dead."""
        return await self.mortal.call(name, self.consumer, act)

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Read; see `GroupMember.read`."""
        entries = await self._ask("read", lambda: self.inner.read(count, timeout), count, timeout)
        self.witness.delivered(entries)
        return entries

    async def look(self) -> Look:
        """Look; see `GroupMember.look`."""
        look = await looked(super().look, self.backend, self.membership, self.witness)
        self.witness.looked(look)
        return look

    async def woken(self) -> float:
        """Wait to be woken; see `GroupMember.woken`. Nothing is asked of the server."""
        if self.mortal.dead:
            await trio.sleep_forever()
        return await super().woken()

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take over; see `GroupMember.take_over`."""
        taken = await self._ask("take_over", lambda: self.inner.take_over(count, book=book), count)
        self.witness.took_over(taken)
        return taken

    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take a suspect; see `GroupMember.take_booked`."""
        taken = await super().take_booked(entry_id)
        self.witness.took_over(taken)
        return taken

    async def keep_booking(self, entry_id: EntryId) -> bool:
        """Keep a booking; see `GroupMember.keep_booking`."""
        kept = await super().keep_booking(entry_id)
        self.witness.booked(entry_id if kept else None)
        return kept

    async def give_up_booking(self, entry_id: EntryId) -> None:
        """Give a booking up; see `GroupMember.give_up_booking`."""
        await super().give_up_booking(entry_id)
        self.witness.unbooked(entry_id)

    async def draw(self, token: int, count: int) -> Queue | None:
        """Draw; see `GroupMember.draw`."""
        return await self._ask("draw", lambda: self.inner.draw(token, count), count)

    async def start(
        self, token: int, entry_ids: Sequence[EntryId], *, alone: bool = False
    ) -> Start | None:
        """Start; see `GroupMember.start`."""
        act = partial(self.inner.start, token, entry_ids, alone=alone)
        start = await self._ask("start", act, len(entry_ids))
        self.witness.took_over(TakeOver() if start is None else start.taken)
        return start

    async def grown(self, after: EntryId, timeout: float) -> None:
        """Wait for an entry; see `GroupMember.grown`."""
        await self._ask("grown", lambda: self.inner.grown(after, timeout), 1, timeout)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle; see `GroupMember.settle`."""
        results = await self._ask(
            "settle", lambda: self.inner.settle(settlements), len(settlements)
        )
        self.witness.settled(settlements, results)
        return results

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Renew; see `GroupMember.renew`."""
        over = await super().renew(receipts)
        self.witness.renewed(receipts, over)
        self.witness.kept("renewal")
        return over

    async def _ask(
        self,
        name: str,
        act: Callable[[], Awaitable[T]],
        count: int,
        seconds: float | None = None,
    ) -> T:
        return await self.mortal.call(name, self.consumer, act, count=count, seconds=seconds)


class MortalBackend(InterposedBackend[StreamBackend]):
    """The backend of a process that may die."""

    def __init__(self, inner: StreamBackend, mortal: Mortal) -> None:
        super().__init__(inner)
        self._mortal = mortal

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do it, unless we are dead."""
        return await self._mortal.call(name, "", act)

    async def create_private(
        self, topic: str, group: str, start: EntryId | None, expiry: float
    ) -> EntryId | None:
        """Create a private group; see `StreamBackend.create_private`."""
        begin = await super().create_private(topic, group, start, expiry)
        self._mortal.journal.begun(topic, group, begin, expiry)
        return begin

    def interpose(self, member: GroupMember, membership: Membership) -> GroupMember:
        """Let the member die with us, and the journal hear what the server did for it."""
        witness = Witness(self._mortal.journal, self._mortal.actor, membership)
        return MortalMember(member, self._mortal, membership, witness, self.inner)
