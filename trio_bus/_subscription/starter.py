"""The task that starts what comes next of each key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import Ack, Bury, Commit, Entry, Release, Retry, TakeOver
from trio_bus._errors import BusError
from trio_bus._observer import Transition

from .prober import GLANCE
from .turn import Turn
from .valve import Reason

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId
    from trio_bus._holding import Holding
    from trio_bus._ordering import Start

    from .core import Core
    from .respite import Respite
    from .term import Term


class Starter:
    """Starts the heads of lines as permits allow, and hears how that ends.

    Its calls are not cut off at the end of the term: what they bury or find gone is told.
    """

    def __init__(self, core: Core, term: Term, respite: Respite) -> None:
        self._core = core
        self._term = term
        self._lines = term.lines
        self._respite = respite
        self._turn = Turn(core, self, self._take_alone)

    async def pause(self) -> None:
        """Do nothing: whoever starts a suspect is who starts everything else."""
        await trio.lowlevel.checkpoint()

    def go_on(self) -> None:
        """Do nothing."""

    async def run(self) -> None:
        """Start until the term is over, or somebody else is active."""
        while taken := await self._take_permits():
            ids = self._lines.take(trio.current_time(), taken)
            start = await self._ask(ids, taken)
            if start is None:
                return
            self._sort(ids, start)
            for suspect in _suspects(start):
                await self._give_turn(suspect)

    async def probe(self, permit: int) -> EntryId | None:
        """In an outage, start what has waited longest; return it, or None and give *permit* back.

        Nothing starts beside it: so a suspect may, once nothing runs any more.
        """
        ids: list[EntryId] = []
        tried = self._core.outage.tried
        try:
            with self._term.ending(), trio.move_on_after(GLANCE):
                await self._wait_ready()
                ids = self._lines.take_oldest(trio.current_time(), tried)
        finally:
            if not ids:
                self._core.permits.give_back(permit)
        if not ids:
            return None
        tried[ids[0]] = trio.current_time()
        try:
            start = await self._ask(ids, permit, probing=True, alone=not self._core.holdings)
        except BusError as error:
            self._term.end(error)
            return None
        if start is None:
            self._term.end()
            return None
        self._sort(ids, start)
        for suspect in _suspects(start):
            del tried[suspect]  # it was not alone, and is when this comes again
            self._lines.retire(suspect, trio.current_time() + self._core.config.reclaim_interval)
        return start.taken.entries[0].id if start.taken.entries else None

    def dropped(self, holding: Holding) -> None:
        """Hear how a delivery ended: its key is free, or it comes again before all others of it."""
        entry_id, settling, now = holding.entry.id, holding.settling, trio.current_time()
        settlement = None if settling is None or not holding.done else settling.settlement
        if holding.vanished or isinstance(settlement, Ack | Bury | Commit):
            self._lines.over(entry_id)
        elif settling is not None and isinstance(settlement, Retry | Release):
            # Its handler may have gone on since.
            self._lines.again(entry_id, settling.since + settlement.delay)
        else:
            self._lines.again(entry_id, now)
        self._term.ring()

    async def _take_permits(self) -> int:
        """Wait until something can start; 0 when the term is over."""
        with self._term.ending():
            await self._wait_ready()
            return await self._core.permits.take(self._core.config.max_in_flight)
        return 0

    async def _wait_ready(self) -> None:
        while True:
            left = self._respite.left()
            if left > 0:
                await trio.sleep(left)
            rung = self._term.rung
            if self._lines.ready(trio.current_time()):
                return
            with trio.CancelScope(deadline=self._lines.next_time()):
                await rung.wait()

    async def _ask(
        self,
        ids: Sequence[EntryId],
        permits: int,
        *,
        alone: bool = False,
        probing: bool = False,
    ) -> Start | None:
        """Ask the server to start these; use or give back the permits."""
        entries: tuple[Entry, ...] = ()
        sent = trio.current_time()
        try:
            start = await self._core.member.start(self._term.token, ids, alone=alone)
            entries = () if start is None else start.taken.entries
        finally:
            self._core.permits.give_back(permits - len(entries))
            self._receive(entries, sent)
            if not probing and self._core.valve.is_shut_for(Reason.OUTAGE):
                self._core.hand_back_unstarted(self._core.outage.delay)
        return start

    def _receive(self, entries: Sequence[Entry], sent: float) -> None:
        new = [entry for entry in entries if entry.attempt == 1]
        known = [entry for entry in entries if entry.attempt > 1]
        self._core.receive(new, sent)
        self._core.receive(known, sent, Transition.TAKEN_OVER)

    def _sort(self, ids: Sequence[EntryId], start: Start) -> None:
        """Put back what could not be started, and forget what is over."""
        self._core.history.claimed(start.taken)
        self._forget(start)
        now, tick = trio.current_time(), self._core.config.reclaim_interval
        started = {*_suspects(start), *(it.id for it in start.taken.entries)}
        for entry_id in ids:
            if entry_id in start.due:
                self._lines.again(entry_id, now + start.due[entry_id])
            elif entry_id in start.held:
                wait = min(start.held[entry_id], tick)  # nobody is told when it is finished
                self._lines.again(entry_id, now + wait, held=True)
            elif entry_id not in started:
                self._lines.again(entry_id, now + tick)
        self._term.ring()

    def _forget(self, start: Start) -> None:
        taken = start.taken
        for entry_id in (*start.over, *taken.gone, *(it.id for it in taken.buried)):
            self._lines.over(entry_id)

    async def _give_turn(self, suspect: EntryId) -> None:
        """Run a suspect alone; where it cannot, let it wait for a lease."""
        with self._term.ending(self._is_at_work), self._core.valve.ending(self._is_at_work) as shut:
            if self._turn.is_wanted:
                await self._turn.give(suspect)
        wait = 0.0 if shut.cancelled_caught else self._core.lease
        if suspect not in self._core.succession:
            self._lines.retire(suspect, trio.current_time() + wait)

    def _is_at_work(self) -> bool:
        return self._turn.runs

    async def _take_alone(self, suspect: EntryId) -> TakeOver:
        start = await self._core.member.start(self._term.token, [suspect], alone=True)
        if start is None:
            self._term.end()
            return TakeOver()
        self._forget(start)
        return start.taken


def _suspects(start: Start) -> tuple[EntryId, ...]:
    return (*start.apart, *(it.id for it in start.taken.suspects))
