"""One consumer at work on the streams in this process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import trio

from trio_bus._backend import (
    Ack,
    Commit,
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
from trio_bus._errors import RemoteError
from trio_bus._look import Look
from trio_bus._ordering import Queue, Start
from trio_bus._settled import Settled
from trio_bus._wake import Alarm

from . import looking, ordering, takeover
from .committing import commit
from .custody import Custody
from .delivery_commands import xreadgroup
from .errors import StreamError
from .ids import MAX_ID, following
from .server import Server, refusals, translate


class MemoryMember(GroupMember):
    """A consumer. Every method waits first, if at all, and then does all it does in one step."""

    __slots__ = ("_alarm", "_custody", "_membership", "_reading", "_server")

    def __init__(self, server: Server, membership: Membership, alarm: Alarm) -> None:
        self._server = server
        self._alarm = alarm
        self._membership = membership
        self._custody = Custody(server.store, membership)
        self._reading = False

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Wait up to *timeout* seconds (``inf``: no bound) for new entries; at most *count*.

        Readers of one group are served in the order in which they came. A cancelled read got
        nothing.

        Raises:
          GroupMissing: the group does not exist, or was removed meanwhile.
          trio.BusyResourceError: another task is reading.
        """
        if self._reading:
            raise trio.BusyResourceError("another task is reading for this consumer")
        self._reading = True
        try:
            await trio.lowlevel.checkpoint()
            return await self._read(count, timeout)
        finally:
            self._reading = False

    async def look(self) -> Look:
        """Append what is scheduled and due; tell what there is to take, and when."""
        await trio.lowlevel.checkpoint()
        us = self._membership
        with self._server.step() as now_ms:
            schedule = self._server.schedule(us.topic)
            wake = partial(self._server.alarms.ring, us.topic, 0, us.group)
            return looking.look(self._server.store, self._custody, schedule, now_ms, wake)

    async def woken(self) -> float:
        """Wait until something is handed back or scheduled; return in how many seconds."""
        return await self._alarm.wait()

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take at most *count* entries that are due, were released, or were found abandoned."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return takeover.take_over(self._custody, count, now_ms, book=book)

    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take this suspect; nothing if it is not set apart any more."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return takeover.take_booked(self._custody, entry_id, now_ms)

    async def keep_booking(self, entry_id: EntryId) -> bool:
        """Book this suspect for another lease; say whether it is still set apart."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return takeover.book(self._custody, entry_id, now_ms, keep=True)

    async def give_up_booking(self, entry_id: EntryId) -> None:
        """Let any member book this suspect at once, and wake the others."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            if takeover.book(self._custody, entry_id, now_ms, keep=False):
                us = self._membership
                self._server.alarms.ring(us.topic, 0.0, us.group)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle many; one result for each, in order: what became of it, or the refusal.

        Cancelled, it did not happen.
        """
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return [self._settle(settlement, now_ms) for settlement in settlements]

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Start the lease of each anew; return those where that is over, and why."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return self._custody.renew(receipts, now_ms)

    async def forget(self) -> bool:
        """Remove this consumer unless it owns entries; say whether it is gone."""
        await trio.lowlevel.checkpoint()
        with self._server.step():
            return self._custody.forget()

    async def lead(self, token: int | None) -> int | None:
        """Become active for a lease, or stay it."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return ordering.lead(self._custody, token, now_ms)

    async def give_up_lead(self) -> None:
        """Be active no more, and wake the others."""
        await trio.lowlevel.checkpoint()
        with self._server.step():
            if ordering.resign(self._custody):
                us = self._membership
                self._server.alarms.ring(us.topic, 0.0, us.group)

    async def survey(self, after: EntryId | None, count: int) -> Queue:
        """Tell what is pending in the group."""
        await trio.lowlevel.checkpoint()
        with self._server.step():
            return ordering.survey(self._custody, after, count)

    async def draw(self, token: int, count: int) -> Queue | None:
        """Move new entries to where they wait for their key."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return ordering.draw(self._server.store, self._custody, token, count, now_ms)

    async def start(
        self, token: int, entry_ids: Sequence[EntryId], *, alone: bool = False
    ) -> Start | None:
        """Take these where nobody else has them."""
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return ordering.start(self._custody, token, entry_ids, now_ms, alone=alone)

    async def grown(self, after: EntryId, timeout: float) -> None:
        """Wait until the topic has an entry behind that one."""
        await trio.lowlevel.checkpoint()
        with refusals(), trio.move_on_after(timeout):
            if not self._behind(after):
                await self._server.waiting.wait(self._membership.topic, lambda: self._behind(after))

    def _behind(self, entry_id: EntryId) -> list[Entry]:
        """Return the first entry behind that one, if there is any."""
        stream, start = self._server.store.find_stream(self._membership.topic), following(entry_id)
        if stream is None or start is None:
            return []
        found = stream.range(start, MAX_ID, 1)
        return [Entry(entry_id, stream.entries[entry_id]) for entry_id in found]

    async def _read(self, count: int, timeout: float) -> list[Entry]:
        with refusals():
            entries = self._look(count)
            if entries or timeout <= 0:
                return entries
            with trio.move_on_after(timeout):
                return await self._server.waiting.wait(
                    self._membership.topic, lambda: self._look(count)
                )
            return []

    def _look(self, count: int) -> list[Entry]:
        us = self._membership
        now_ms = self._server.clock.now_ms()
        answer = xreadgroup(
            self._server.store, us.group, us.consumer, [(us.topic, ">")], now_ms, count=count
        )
        rows = answer[0][1] if answer else []
        return [Entry(entry_id, record) for entry_id, record in rows if record is not None]

    def _settle(self, settlement: Settlement, now_ms: int) -> Settled | RemoteError:
        try:
            if isinstance(settlement, Commit):
                return commit(self._server, self._custody, settlement, now_ms)
            if isinstance(settlement, Ack) and settlement.held_until > trio.current_time():
                return self._custody.ack(settlement.receipt)
            settled = self._custody.settle(settlement, now_ms, self._server.clock.due_ms)
        except StreamError as refusal:
            return translate(refusal)
        if settled is Settled.DONE and isinstance(settlement, Retry | Release):
            us = self._membership
            self._server.alarms.ring(us.topic, settlement.delay, us.group)
        return settled
