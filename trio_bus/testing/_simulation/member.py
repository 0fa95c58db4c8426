"""One consumer that reaches its group over a wire."""

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
    Release,
    Settlement,
    TakeOver,
)
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError, ConnectionLost, OutcomeUnknown, RemoteError
from trio_bus._look import Look
from trio_bus._ordering import Queue, Start
from trio_bus._settled import Settled
from trio_bus.testing._ears import Witness
from trio_bus.testing._trims import looked

from .wire import Wire, leave_alone

T = TypeVar("T")
_Entries = TypeVar("_Entries", bound=Sequence[Entry])


class WiredMember(GroupMember):
    """A member of a group on the server, over a wire.

    Entries whose answer was lost are strays: pending for us, and unknown to us. The next call that
    may bring entries gives them back first, and so does the last one, like `RedisBackend`. What a
    cancelled call booked is given up before the cancellation goes on.
    """

    def __init__(
        self, inner: GroupMember, wire: Wire, membership: Membership, witness: Witness
    ) -> None:
        self._inner = inner
        self._wire = wire
        self._membership = membership
        self._consumer = membership.consumer
        self._witness = witness
        self._strays: list[Receipt] = []
        self._unseen: set[EntryId] = set()

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Read; entries whose answer is lost are given back by the next call."""
        await self._recover()

        async def act() -> list[Entry]:
            entries = await self._inner.read(count, timeout)
            self._witness.delivered(entries)
            return entries

        try:
            entries = await self._call("read", act, stray=self._stray, count=count, seconds=timeout)
            return self._saw(entries)
        except trio.Cancelled:
            await self._recover_at_once()
            raise

    async def look(self) -> Look:
        """Look."""
        streams = self._wire.host.streams

        async def act() -> Look:
            look = await looked(self._inner.look, streams, self._membership, self._witness)
            self._witness.looked(look)
            return look

        return await self._call("look", act)

    async def woken(self) -> float:
        """Wait to be woken, as far as we hear of it."""
        while True:
            delay = await self._inner.woken()
            await self._wire.process.breathe()
            if not self._wire.is_deaf:
                return delay

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take over."""
        await self._recover()

        async def act() -> TakeOver:
            result = await self._inner.take_over(count, book=book)
            self._witness.took_over(result)
            return result

        return await self._take("take_over", act, count)

    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take a suspect."""
        await self._recover()

        async def act() -> TakeOver:
            result = await self._inner.take_booked(entry_id)
            self._witness.took_over(result)
            return result

        return await self._take("take_booked", act)

    async def keep_booking(self, entry_id: EntryId) -> bool:
        """Keep a booking."""

        async def act() -> bool:
            kept = await self._inner.keep_booking(entry_id)
            self._witness.booked(entry_id if kept else None)
            return kept

        return await self._call("booking", act)

    async def give_up_booking(self, entry_id: EntryId) -> None:
        """Give a booking up."""

        async def act() -> None:
            await self._inner.give_up_booking(entry_id)
            self._witness.unbooked(entry_id)

        await self._call("booking", act)

    async def lead(self, token: int | None) -> int | None:
        """Become active, or stay it."""
        return await self._call("lead", lambda: self._inner.lead(token))

    async def give_up_lead(self) -> None:
        """Be active no more."""
        await self._call("lead", self._inner.give_up_lead)

    async def survey(self, after: EntryId | None, count: int) -> Queue:
        """Survey."""
        return await self._call("survey", lambda: self._inner.survey(after, count))

    async def draw(self, token: int, count: int) -> Queue | None:
        """Draw; nobody has what comes."""
        return await self._call("draw", lambda: self._inner.draw(token, count), count=count)

    async def start(
        self, token: int, entry_ids: Sequence[EntryId], *, alone: bool = False
    ) -> Start | None:
        """Start."""
        await self._recover()

        async def act() -> Start | None:
            start = await self._inner.start(token, entry_ids, alone=alone)
            self._witness.took_over(TakeOver() if start is None else start.taken)
            return start

        def stray(start: Start | None) -> None:
            self._stray(() if start is None else start.taken.entries)

        try:
            return await self._call("start", act, stray=stray, count=len(entry_ids))
        except trio.Cancelled:
            await self._recover_at_once()
            raise

    async def grown(self, after: EntryId, timeout: float) -> None:
        """Wait for an entry."""
        await self._call("grown", lambda: self._inner.grown(after, timeout), seconds=timeout)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle all, or a part of them, or none."""
        half = self._wire.is_halved("settle")
        some = partial(self._settle, settlements[::2] if half else settlements)
        results = await self._call("settle", some, unknown=OutcomeUnknown, count=len(settlements))
        if half:
            raise OutcomeUnknown("settle: the connection was lost in the middle")
        return results

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Renew."""

        async def act() -> dict[EntryId, Settled]:
            over = await self._inner.renew(receipts)
            self._witness.renewed(receipts, over)
            self._witness.kept("renewal")
            return over

        return await self._call("renew", act)

    def take_unseen(self) -> frozenset[EntryId]:
        """Return what was given back unseen, and has not come again; each once."""
        unseen = frozenset(self._unseen)
        self._unseen.clear()
        return unseen

    async def forget(self) -> bool:
        """Forget."""
        await self._recover()
        return await self._call("forget", self._inner.forget)

    async def _call(
        self,
        operation: str,
        act: Callable[[], Awaitable[T]],
        *,
        unknown: type[BusError] = ConnectionLost,
        stray: Callable[[T], None] = leave_alone,
        count: int | None = None,
        seconds: float | None = None,
    ) -> T:
        return await self._wire.call(
            operation,
            act,
            consumer=self._consumer,
            unknown=unknown,
            stray=stray,
            count=count,
            seconds=seconds,
        )

    async def _take(
        self, name: str, act: Callable[[], Awaitable[TakeOver]], count: int | None = None
    ) -> TakeOver:
        booked: list[EntryId] = []
        found = TakeOver()

        def stray(result: TakeOver) -> None:
            nonlocal found
            self._stray(result.entries)
            booked.extend(() if result.booked is None else (result.booked,))
            found = attrs.evolve(result, entries=(), booked=None)

        try:
            result = await self._call(name, act, stray=stray, count=count)
        except trio.Cancelled:
            await self._recover_at_once(booked)
            if found == TakeOver():
                raise
            return found  # nobody else would ever tell of that
        self._saw(result.entries)
        self._unseen.difference_update(result.gone, (it.id for it in result.buried))
        return result

    async def _settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        results = await self._inner.settle(settlements)
        self._witness.settled(settlements, results)
        return results

    def _stray(self, entries: Sequence[Entry]) -> None:
        self._strays += [entry.receipt for entry in entries]

    def _saw(self, entries: _Entries) -> _Entries:
        self._unseen.difference_update(entry.id for entry in entries)
        return entries

    async def _recover(self) -> None:
        """Give back what strayed.

        Raises:
          ConnectionLost, RemoteError: the next call tries it again.
        """
        while self._strays:
            strays = list(self._strays)
            back = partial(self._settle, [Release(receipt) for receipt in strays])
            results = zip(strays, await self._call("recover", back), strict=True)
            if self._membership.expiry is not None:
                self._unseen.update(it.id for it, result in results if result is Settled.DONE)
            self._strays = [receipt for receipt in self._strays if receipt not in strays]

    async def _recover_at_once(self, booked: Sequence[EntryId] = ()) -> None:
        """Give back, before a cancellation goes on, what arrived together with it."""
        with trio.CancelScope(shield=True):
            try:
                await self._recover()
                for entry_id in booked:
                    await self.give_up_booking(entry_id)
            except BusError:
                return  # the next call, or the lease, takes care of it
