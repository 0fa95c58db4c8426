"""Entries that the server delivered to us and that we never received."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import trio

from trio_bus._backend import Entry, Receipt, Release, Retry, Settlement
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost, GroupMissing, RemoteError
from trio_bus._settled import Settled

from .group import Group
from .link import Link
from .portion import Portion
from .reader import Identity
from .resp import ErrorReply

_MOST_FENCED = 16


class Holdings:
    """What one member holds, and the recovery of what it holds without knowing.

    Strays are our pending entries on the server minus those that we know. They can be told apart
    only while no reply is under way that brings entries: while there is no read, and under `lock`,
    which every take-over holds.
    """

    def __init__(self, group: Group, link: Link, portion: Portion) -> None:
        self._group = group
        self._link = link
        self._portion = portion
        # The latest delivery of each entry.
        self._known: dict[EntryId, Entry] = {}
        self.numbers: Iterator[int] = itertools.count(1)
        """They tell deliveries apart."""
        # Of a private group: what was given back, and we never knew of. Nobody else gets it.
        self._unseen: set[EntryId] = set()
        # Readers that may still be served. Beyond the newest, only the end of their reads helps.
        self._lost: deque[Identity] = deque(maxlen=_MOST_FENCED)
        self._suspected = False
        # Another connection may lead to a server that was restarted, or failed over, and has
        # forgotten what it had confirmed: entries that we settled are pending again.
        self._swept_on = link.current
        # A read that the server still serves after we lost it may deliver until then.
        self._again_at: float | None = None
        self.lock = trio.Lock()
        self.is_reading = False

    @property
    def known(self) -> Mapping[EntryId, int]:
        """The entries that we know we hold, with their attempts."""
        return {entry_id: entry.attempt for entry_id, entry in self._known.items()}

    @property
    def is_suspected(self) -> bool:
        """Whether something may have strayed."""
        return self._suspected

    def add(self, entries: Iterable[Entry]) -> list[Entry]:
        """Note what arrived, and give each delivery its number."""
        numbered = [
            Entry(entry.id, entry.record, entry.attempt, next(self.numbers), entry.suspect)
            for entry in entries
        ]
        self.note(numbered)
        return numbered

    def note(self, entries: Sequence[Entry]) -> None:
        """Note what arrived with numbers."""
        known = self._known
        for entry in entries:
            known[entry.id] = entry
        if self._unseen:
            self._unseen.difference_update([entry.id for entry in entries])

    def remove(self, receipt: Receipt) -> None:
        """Note that a delivery is over; a later one of the same entry stays.

        The later one may be counted alike, and known before the end of this one is: the answers
        to two commands are met by two tasks, in any order.
        """
        known = self._known.get(receipt.id)
        if known is not None and known.delivery == receipt.delivery:
            del self._known[receipt.id]

    def gave_back(self, receipts: Iterable[Receipt], results: Iterable[object]) -> None:
        """Note what the server has taken back of what nobody here was told of."""
        if self._group.is_private:
            pairs = zip(receipts, results, strict=True)
            self._unseen.update(it.id for it, result in pairs if result is Settled.DONE)

    def settled(self, entry_ids: Iterable[EntryId]) -> None:
        """Note what is over without having come to us."""
        self._unseen.difference_update(entry_ids)

    def take_unseen(self) -> frozenset[EntryId]:
        """Return what was given back unseen, and has not come again; each once."""
        unseen = frozenset(self._unseen)
        self._unseen.clear()
        return unseen

    def remove_settled(
        self, settlements: Sequence[Settlement], results: Sequence[Settled | RemoteError]
    ) -> None:
        """Note that those are over that were answered."""
        known, done = self._known, Settled.DONE
        for settlement, result in zip(settlements, results, strict=True):
            receipt = settlement.receipt
            if result is done or isinstance(result, Settled):
                was = known.pop(receipt.id, None)
                if was is not None and was.delivery != receipt.delivery:
                    known[receipt.id] = was

    def suspect(self) -> None:
        """Note that a reply with entries may have been lost."""
        self._suspected = True

    def suspect_reader(self, identity: Identity, still: float) -> None:
        """Note that a reader was lost; the server may go on serving it for *still* seconds."""
        self._suspected = True
        self._lost.append(identity)
        until = trio.current_time() + still
        self._again_at = until if self._again_at is None else max(until, self._again_at)

    async def recover(self) -> None:
        """Release, uncounted, what strayed; while there is a read, do nothing.

        Raises:
          ConnectionLost, RemoteError: it is tried again by the next call.
        """
        if not self._is_due():
            return
        async with self.lock:
            if self._is_due():
                await self._sweep()

    def _is_due(self) -> bool:
        """Whether to sweep now. Once true it stays true until a sweep is done, or a read begins.

        A read begins only after a `recover` of its own: it never overlaps with a sweep.
        """
        if self.is_reading:
            return False
        late = self._again_at is not None and trio.current_time() >= self._again_at
        control = self._link.current
        return self._suspected or late or (control is not None and control is not self._swept_on)

    async def _sweep(self) -> None:
        started, control = trio.current_time(), self._link.current
        for identity in tuple(self._lost):
            if await self._fence(identity):
                self._lost.remove(identity)
        try:
            pending = await self._group.pending()
        except GroupMissing:
            pending = []  # nothing is pending in a group that is gone
        known = self.known
        strays = [it for it in pending if known.get(it.id) != it.attempt]
        # One that is lost when nothing came with it may be too large for the server to send: that
        # counts, so that it does not cut connections for ever.
        alone = len(strays) == 1 and self._portion.is_single
        back = [Retry(it) if alone else Release(it) for it in strays]
        results = await self._group.settle(back) if back else []
        self.gave_back(strays, results)
        for result in results:
            if isinstance(result, RemoteError):
                raise result
        self._suspected = False
        self._swept_on = control
        if self._again_at is not None and started >= self._again_at:
            self._again_at = None
            self._lost.clear()

    async def _fence(self, identity: Identity) -> bool:
        """Let the server deliver no more to a reader we lost, if it can be named.

        Returns:
          Whether that is sure: the server answered that it killed this connection, or has none.
        """
        control = self._link.current
        if control is None or not identity.is_known_to(control):
            return False
        try:
            killed = await control.call("CLIENT", "KILL", "ID", identity.client_id)
            if isinstance(killed, ErrorReply):
                await control.call("CLIENT", "UNBLOCK", identity.client_id, "ERROR")
                return False
        except ConnectionLost:
            return False  # what comes next meets the same loss and raises it
        return True
