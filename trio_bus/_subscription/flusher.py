"""Settles what the deliveries of a subscription ask for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import Ack, Commit, GroupMember
from trio_bus._errors import BusError, OutcomeUnknown, RemoteError
from trio_bus._observer import Scope
from trio_bus._settled import Settled

from .backoff import Pause

if TYPE_CHECKING:
    from trio_bus._backend import Receipt
    from trio_bus._settling import Settling

    Report = Callable[[Scope, BusError, Receipt | None], None]


class Flusher:
    """Hands settlements to the server in batches, and tries again until it has them.

    There is no timer: a settlement leaves at once when none is under way, and what arrives
    meanwhile is the next batch. One that failed waits for its next try apart, so that it does not
    hold up the others.

    Invariant: ``outstanding`` counts the settlements that were put and have not ended.
    """

    def __init__(
        self,
        member: GroupMember,
        batch_size: int,
        pause: Pause,
        report: Report,
        on_end: Callable[[list[Settling]], None],
    ) -> None:
        self._member = member
        self._batch_size = batch_size
        self._pause = pause
        self._report = report
        self._on_end = on_end
        # Without a bound of its own: every item is an entry that is held, and those are bounded.
        self._queue: deque[Settling] = deque()
        self._arrived: trio.Event | None = None  # while somebody waits
        self._under_way: list[Settling] = []
        self._refused: list[Settling] = []
        self.outstanding: int = 0
        self._emptied: trio.Event | None = None  # while somebody waits

    def put(self, settling: Settling) -> None:
        """Take over a settlement. Never a checkpoint."""
        self.put_all((settling,))

    def put_all(self, settlings: Sequence[Settling]) -> None:
        """Take over many."""
        self.outstanding += len(settlings)
        self._queue.extend(settlings)
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def abandon(self, error: BusError) -> list[Settling]:
        """Give up on what is not confirmed, wake who waits for it, and return it."""
        put = (*self._under_way, *self._refused, *self._queue)
        abandoned = [settling for settling in put if not settling.over]
        self._refused.clear()
        for settling in abandoned:
            settling.abandon(error)
        self._end(abandoned)
        return abandoned

    async def wait_empty(self) -> None:
        """Wait until all that was put has ended."""
        await trio.lowlevel.checkpoint()
        while self.outstanding:
            if self._emptied is None:
                self._emptied = trio.Event()
            await self._emptied.wait()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Settle until cancelled."""
        while True:
            batch = await self._next_batch()
            if batch:
                await self._settle(batch)

    async def _next_batch(self) -> list[Settling]:
        """Wait for a settlement, or for one that failed and whose next try is due."""
        batch = self._collect(self._batch_size)
        if not batch:
            await self._wait_arrival()
            batch = self._collect(self._batch_size)
        return batch

    async def _wait_arrival(self) -> None:
        self._arrived = trio.Event()
        if not self._refused:  # nearly always; a scope costs as much as a task
            await self._arrived.wait()
            return
        with trio.CancelScope(deadline=min(it.not_before for it in self._refused)):
            await self._arrived.wait()

    def _collect(self, room: int) -> list[Settling]:
        """Take what is there: new ones first, so that those that failed do not hold them up."""
        if len(self._queue) <= room and not self._refused:  # nearly always
            batch = list(self._queue)
            self._queue.clear()
            return batch
        batch = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        return batch + self._take_due(room - len(batch)) if self._refused else batch

    def _take_due(self, room: int) -> list[Settling]:
        now = trio.current_time()
        due = [settling for settling in self._refused if settling.not_before <= now][:room]
        self._refused = [settling for settling in self._refused if settling not in due]
        return due

    async def _settle(self, batch: list[Settling]) -> None:
        self._under_way = batch
        try:
            outcomes = await self._member.settle([settling.settlement for settling in batch])
        except BusError as error:
            self._under_way = []
            self._report(Scope.SETTLE, error, None)
            seconds = self._draw()
            for settling in batch:
                self._try_again(settling, error, seconds)
        else:
            self._under_way = []
            self._answered(batch, outcomes)

    def _answered(
        self, batch: Sequence[Settling], outcomes: Sequence[Settled | RemoteError]
    ) -> None:
        """End what was answered, and keep the rest."""
        ended: list[Settling] = []
        done, seconds = Settled.DONE, None
        for settling, outcome in zip(batch, outcomes, strict=True):
            if outcome is not done and isinstance(outcome, RemoteError):
                self._report(Scope.SETTLE, outcome, settling.holding.receipt)
                seconds = seconds or self._draw()
                self._try_again(settling, outcome, seconds)
            elif settling.outcome is None and settling.abandoned is None:
                ended.append(settling)
                if outcome is done and settling.ended is None:
                    settling.outcome = outcome  # nearly always
                else:
                    settling.end(_judged(settling, outcome))
        self._end(ended)

    def _end(self, settlings: list[Settling]) -> None:
        """Tell of these in one step: what is counted once costs each of them less."""
        self._on_end(settlings)
        self.outstanding -= len(settlings)
        if not self.outstanding and self._emptied is not None:
            self._emptied.set()
            self._emptied = None

    def _draw(self) -> Callable[[int], float]:
        """Draw once for all: what failed together is tried again together, in one batch."""
        return cache(self._pause.seconds)

    def _try_again(
        self, settling: Settling, error: BusError, seconds: Callable[[int], float]
    ) -> None:
        """Keep it for later, unless it was given up meanwhile."""
        if settling.over:
            return
        settling.uncertain = settling.uncertain or isinstance(error, OutcomeUnknown)
        settling.last_error = error
        settling.tries += 1
        if type(settling.settlement) is Ack:  # by now somebody else may have it
            settling.settlement = Ack(settling.settlement.receipt)
        settling.not_before = trio.current_time() + seconds(settling.tries)
        self._refused.append(settling)


def _judged(settling: Settling, outcome: Settled) -> Settled:
    """Say what an answer means to us."""
    if outcome is Settled.DONE or outcome is Settled.GONE:
        return outcome
    if settling.uncertain and _answers_success(settling, outcome):
        return Settled.DONE
    ours = settling.holding.is_unclaimed_at(trio.current_time())
    return Settled.GONE if outcome is Settled.ABSENT and ours else Settled.LOST


def _answers_success(settling: Settling, outcome: Settled) -> bool:
    """Say whether this is how an earlier try answers that did happen.

    What was committed is pending for nobody. While a renewal still finds it pending, as that does
    which finds it deleted, it was not committed.
    """
    if isinstance(settling.settlement, Commit):
        return outcome is not Settled.LOST and not settling.holding.vanished
    return True
