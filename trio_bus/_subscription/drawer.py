"""The task that finds out what there is, where each key has an order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError
from trio_bus._observer import Scope

from .consumer import READS_PER_LEASE
from .valve import Reason

if TYPE_CHECKING:
    from trio_bus._ordering import Parked

    from .core import Core
    from .term import Term

PORTION = 100
"""How many pending entries one step of a survey looks at."""


class Drawer:
    """Lines up all that is pending, then what is new, while there is room.

    It reads no more than can start, as far as it knows, or can be parked. Another survey follows
    when a look found something to claim, which may stand in no line: an operator sent it back, or
    somebody else put it there. It comes before what is ready and has not started. One that finds
    nothing says that there will be none for a lease, or for a tick if we are woken meanwhile.
    """

    def __init__(self, core: Core, term: Term) -> None:
        self._core = core
        self._term = term
        self._lines = term.lines
        self._survey_wanted = False
        self._vain = -math.inf  # when a survey found nothing
        self._no_survey_before = -math.inf
        self._waiting = trio.CancelScope()
        self._longest = min(core.config.block_timeout, core.lease / READS_PER_LEASE)

    def survey_soon(self) -> None:
        """Hear that there is something to claim: look what it is, however much is ready."""
        if trio.current_time() >= self._no_survey_before:
            self._survey_wanted = True
            self._waiting.cancel("there is something else to look for")

    def woken(self) -> None:
        """Hear that something was released or sent back: it may stand in no line."""
        self._no_survey_before = self._vain + self._core.config.reclaim_interval

    async def run(self) -> None:
        """Survey, then read, until the term is over; return when somebody else is active."""
        with self._term.ending():
            await self._survey()
            while True:
                await self._wait_room()
                if not self._survey_wanted:
                    if not await self._draw():
                        return
                elif not await self._survey():
                    self._vain = trio.current_time()
                    self._no_survey_before = self._vain + self._core.lease

    async def _draw(self) -> bool:
        """Read once, and wait if there was nothing; say whether we are active."""
        room = self._core.config.max_parked - self._lines.parked
        count = min(self._core.config.max_in_flight, room)
        queue = await self._core.member.draw(self._term.token, count)
        if queue is None:
            return False
        self._line_up(queue.entries)
        if not queue.entries and not self._survey_wanted:
            await self._wait_grown(queue.last or EntryId(0, 0))
        return True

    async def _survey(self) -> int:
        """Line up all that is pending, in id order, as far as there is room; say how many.

        All at once, if there is room: what is held may be behind what could start.
        """
        after, found = None, 0
        seen: list[Parked] = []
        while True:
            await self._wait_unparked()
            queue = await self._core.member.survey(after, PORTION)
            after = queue.last
            seen += queue.entries
            if after is None or self._lines.parked + len(seen) >= self._core.config.max_parked:
                found += self._line_up(seen)
                seen = []
            if after is None:
                self._survey_wanted = False
                return found

    def _line_up(self, entries: Iterable[Parked]) -> int:
        new = [entry for entry in entries if entry.id not in self._lines]
        for entry in new:
            key = self._core.inspection.key_of(entry.record)
            self._lines.add(entry.id, key, held=entry.held)
        self._term.ring()
        return len(new)

    async def _wait_grown(self, last: EntryId) -> None:
        try:
            with trio.CancelScope() as self._waiting:
                await self._core.member.grown(last, self._longest)
        except BusError as error:
            self._core.report(Scope.READ, error)
            await self._core.pause(1)

    async def _wait_room(self) -> None:
        """Wait until what is read next could start, as far as we know, or can be parked.

        Or until a survey is wanted: its entries may come before those that wait to start.
        """
        permits = self._core.permits
        with trio.CancelScope() as self._waiting:
            while not self._survey_wanted:
                await self._wait_unparked()
                permits.give_back(await permits.take(1, despite=Reason.OUTAGE))
                rung = self._term.rung
                if self._lines.ready(trio.current_time()) < self._room and self._has_place:
                    return
                await rung.wait()

    @property
    def _room(self) -> int:
        """How many could start: in an outage, one that is tried."""
        lasts = self._core.valve.is_shut_for(Reason.OUTAGE)
        return 1 if lasts else self._core.permits.free

    async def _wait_unparked(self) -> None:
        while not self._has_place:
            await self._term.rung.wait()

    @property
    def _has_place(self) -> bool:
        return self._lines.parked < self._core.config.max_parked
