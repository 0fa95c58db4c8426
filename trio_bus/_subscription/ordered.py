"""The task that takes entries in where each key has an order."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import Ack, Bury, Release, Retry, TakeOver
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError, GroupMissing
from trio_bus._observer import Scope, Transition

from .consumer import READS_PER_LEASE
from .leases import RENEWALS_PER_LEASE
from .lines import Lines
from .respite import Respite
from .turn import LONGEST_GOODBYE, Turn

if TYPE_CHECKING:
    from trio_bus._holding import Holding
    from trio_bus._look import Look
    from trio_bus._ordering import Queue, Start

    from .core import Core
    from .group import Group

PORTION = 100
"""How many pending entries one step of a survey looks at."""


class Ordered:
    """Waits until it is active, and then starts of each key one entry after another.

    Whoever becomes active looks first at all that is pending in the group, whoever has it, in id
    order; only then does it read. So its lines hold all that is pending up to the last entry that
    was read, and the head of a line is the first of its key that is not finished. The server judges
    each start: what somebody else still has, or what waits for its time, is asked for again then.

    Everything that changes the group is fenced by the token. An error whose outcome nobody knows
    ends the term: the next one has a new token, so that what is still on its way has no effect, and
    a survey, which finds what it did.

    Invariant: ``_token`` is None, and the lines are empty, unless a term is under way.
    """

    def __init__(self, core: Core, group: Group) -> None:
        self._core = core
        self._group = group
        self._lines = Lines()
        self._token: int | None = None
        self._may_lead = False
        self._failure: BusError | None = None
        self._rung = trio.Event()
        self._term = trio.CancelScope()
        self._survey_wanted = False
        self._no_survey_before = -math.inf
        self._respite = Respite(core.pulse, core.config.reclaim_interval)
        self._turn = Turn(core, self, self._tell, self._take_alone)
        self._longest = min(core.config.block_timeout, core.lease / READS_PER_LEASE)
        core.on_dropped = self._dropped

    @property
    def is_active(self) -> bool:
        """Whether this consumer takes entries in."""
        return self._token is not None

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Take in until cancelled, whenever we are active."""
        errors = 0
        try:
            while True:
                try:
                    await self._wait_active()
                    await self._serve()
                    errors = 0
                except BusError as error:
                    errors += 1
                    self._core.report(Scope.CLAIM, error)
                    await self._core.pause(errors)
                    if isinstance(error, GroupMissing):
                        await self._group.recreate()
        finally:
            await self._give_up()

    def looked(self, look: Look) -> None:
        """Hear of a look: who stands by tries to become active, who is active asks again."""
        now = trio.current_time()
        self._lines.hurry(now)
        idle = not self._lines.ready(now) and self._core.permits.free > 0
        if look.claimable and idle and now >= self._no_survey_before:
            self._survey_wanted = True  # what is not in a line was put there by somebody else
        self._ring()

    async def pause(self) -> None:
        """Do nothing: whoever starts a suspect is who starts everything else."""
        await trio.lowlevel.checkpoint()

    def go_on(self) -> None:
        """Do nothing."""

    async def _wait_active(self) -> None:
        while self._token is None:
            rung, left = self._rung, self._respite.left()
            if left > 0:
                await trio.sleep(left)
                continue
            self._may_lead = True
            self._token = await self._core.member.lead(None)
            if self._token is None:
                self._may_lead = False
                await rung.wait()

    async def _serve(self) -> None:
        """Be active until somebody else is, or something failed.

        Raises:
          BusError: what failed.
        """
        assert self._token is not None, "active"
        self._core.notifier.transition(Transition.ACTIVE)
        self._begin()
        try:
            with trio.CancelScope() as self._term:
                async with trio.open_nursery() as nursery:
                    for task in (self._keep, self._read, self._start):
                        nursery.start_soon(self._guarded, task, self._token)
        finally:
            self._token, self._lines = None, Lines()
            self._core.notifier.transition(Transition.STANDBY)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _begin(self) -> None:
        """Begin with what runs here since earlier terms."""
        self._lines = Lines()
        for holding in self._core.holdings:
            key = None if holding.message is None else holding.message.key or None
            self._lines.add(holding.entry.id, key)
            self._lines.run(holding.entry.id)

    async def _guarded(self, task: Callable[[int], Awaitable[None]], token: int) -> None:
        """Run a task of the term, which is over with it."""
        try:
            await task(token)
        except BusError as error:
            self._failure = self._failure or error
        self._term.cancel("somebody else is active, or something failed")

    async def _keep(self, token: int) -> None:
        """Stay active; return when somebody else is."""
        kept: int | None = token
        while kept is not None:
            await trio.sleep(self._core.lease / RENEWALS_PER_LEASE)
            try:
                kept = await self._core.member.lead(token)
            except GroupMissing:
                raise
            except BusError as error:
                self._core.report(Scope.RENEW, error)

    async def _read(self, token: int) -> None:
        """Survey, then read; return when somebody else is active."""
        await self._survey()
        while True:
            await self._wait_room()
            if self._survey_wanted:
                await self._survey()
            room = self._core.config.max_parked - self._lines.parked
            count = min(self._core.config.max_in_flight, room)
            queue = await self._core.member.draw(token, count)
            if queue is None:
                return
            self._line_up(queue)
            if not queue.entries:
                await self._wait_grown(queue.last or EntryId(0, 0))

    async def _survey(self) -> None:
        """Line up all that is pending, in id order, as far as there is room."""
        after: EntryId | None = None
        while True:
            await self._wait_unparked()
            queue = await self._core.member.survey(after, PORTION)
            self._line_up(queue)
            after = queue.last
            if after is None:
                break
        self._survey_wanted = False
        self._no_survey_before = trio.current_time() + self._core.lease

    def _line_up(self, queue: Queue) -> None:
        for entry in queue.entries:
            if entry.id not in self._lines:
                self._lines.add(entry.id, self._core.inspection.key_of(entry.record))
        self._ring()

    async def _wait_grown(self, last: EntryId) -> None:
        try:
            await self._core.member.grown(last, self._longest)
        except BusError as error:
            self._core.report(Scope.READ, error)
            await self._core.pause(1)

    async def _wait_room(self) -> None:
        """Wait until what is read next could start, as far as we know, or can be parked."""
        permits = self._core.permits
        while True:
            await self._wait_unparked()
            permits.give_back(await permits.take(1))
            rung = self._rung
            if self._lines.ready(trio.current_time()) < permits.free and self._has_place:
                return
            await rung.wait()

    async def _wait_unparked(self) -> None:
        while not self._has_place:
            await self._rung.wait()

    @property
    def _has_place(self) -> bool:
        return self._lines.parked < self._core.config.max_parked

    async def _start(self, token: int) -> None:
        """Start the heads of lines as permits allow; return when somebody else is active."""
        while True:
            await self._wait_ready()
            taken = await self._core.permits.take(self._core.config.max_in_flight)
            start = await self._start_once(token, taken)
            if start is None:
                return
            for suspect in (*start.apart, *(it.id for it in start.taken.suspects)):
                await self._give_turn(suspect)

    async def _wait_ready(self) -> None:
        while True:
            left = self._respite.left()
            if left > 0:
                await trio.sleep(left)
            rung, now = self._rung, trio.current_time()
            if self._lines.ready(now):
                return
            with trio.CancelScope(deadline=self._lines.next_time()):
                await rung.wait()

    async def _start_once(self, token: int, permits: int) -> Start | None:
        """Ask for as many as there are permits; use or give back the permits."""
        start: Start | None = None
        ids, sent = self._lines.take(trio.current_time(), permits), trio.current_time()
        try:
            start = await self._core.member.start(token, ids)
        finally:
            entries = () if start is None else start.taken.entries
            self._core.permits.give_back(permits - len(entries))
            for entry in entries:
                new = entry.attempt == 1
                arrival = Transition.RECEIVED if new else Transition.TAKEN_OVER
                self._core.receive((entry,), sent, arrival)
        if start is not None:
            self._sort(ids, start)
        return start

    def _sort(self, ids: Sequence[EntryId], start: Start) -> None:
        """Put back what could not be started, and forget what is over."""
        self._tell(start.taken)
        now, tick = trio.current_time(), self._core.config.reclaim_interval
        over = {*start.over, *start.taken.gone, *(it.id for it in start.taken.buried)}
        apart = {*start.apart, *(it.id for it in start.taken.suspects)}
        ours = {it.id for it in start.taken.entries}
        for entry_id in ids:
            if entry_id in over:
                self._lines.over(entry_id)
            elif entry_id in start.due:
                self._lines.again(entry_id, now + start.due[entry_id])
            elif entry_id in start.held:
                self._lines.again(entry_id, now + start.held[entry_id], held=True)
            elif entry_id not in ours | apart:
                self._lines.again(entry_id, now + tick)
        self._ring()

    def _tell(self, taken: TakeOver) -> None:
        history = self._core.history
        for receipt in taken.buried:
            history.buried(receipt)
        for receipt in taken.suspects:
            history.suspected(receipt)
        for entry_id in taken.gone:
            history.gone(entry_id)

    async def _give_turn(self, suspect: EntryId) -> None:
        """Run a suspect alone; where it cannot, let it wait for a lease."""
        if self._turn.is_wanted:
            await self._turn.give(suspect)
        if not any(it.entry.id == suspect for it in self._core.holdings):
            self._lines.retire(suspect, trio.current_time() + self._core.lease)

    async def _take_alone(self, suspect: EntryId) -> TakeOver:
        assert self._token is not None, "active"
        start = await self._core.member.start(self._token, [suspect], alone=True)
        if start is None:
            self._term.cancel("somebody else is active")
            return TakeOver()
        over = {*start.over, *start.taken.gone, *(it.id for it in start.taken.buried)}
        for entry_id in over:
            self._lines.over(entry_id)
        return start.taken

    def _dropped(self, holding: Holding) -> None:
        """Hear how a delivery ended: its key is free, or it comes again before all others of it."""
        entry_id, settling, now = holding.entry.id, holding.settling, trio.current_time()
        settlement = None if settling is None or not holding.done else settling.settlement
        if holding.vanished or isinstance(settlement, Ack | Bury):
            self._lines.over(entry_id)
        elif isinstance(settlement, Retry | Release):
            self._lines.again(entry_id, now + settlement.delay)
        else:
            self._lines.again(entry_id, now)
        self._ring()

    def _ring(self) -> None:
        self._rung.set()
        self._rung = trio.Event()

    async def _give_up(self) -> None:
        """Let somebody else be active; where the server cannot be told, the lease ends."""
        if not self._may_lead:
            return
        with trio.move_on_after(LONGEST_GOODBYE, shield=True):
            try:
                await self._core.member.give_up_lead()
            except BusError as error:
                self._core.report(Scope.RELEASE, error)
