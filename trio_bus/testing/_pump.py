"""Lets synchronous code, such as the rules of a state machine, drive one long trio run."""

from __future__ import annotations

import queue
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from types import TracebackType
from typing import Generic, Self, TypeVar, TypeVarTuple, Unpack

import trio
import trio.testing

from ._tasks import describe_tasks

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CUSHION = 0.005
"""In real time, all wait once nothing has run for so many seconds."""
_IDLE_TICKS = 3
"""Without a deadline, whoever ran in none of so many ticks never runs again."""


class PumpStuck(Exception):
    """What was run does not end; the text shows every task and where it waits."""


class Job(Generic[T]):
    """One asynchronous call that runs in a pump, while the pump is pumped."""

    def __init__(self, name: str) -> None:
        self.name = name
        """What is called, for messages."""
        self.ended = False
        """Whether it has returned, raised, or was cancelled."""
        self.error: BaseException | None = None
        """What it raised, until somebody was told."""
        self._values: list[T] = []
        self._scope = trio.CancelScope()

    def cancel(self) -> None:
        """Cancel it; it ends when the pump is pumped."""
        self._scope.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether it has ended by `cancel`, so that there is no result."""
        return self.ended and self.error is None and not self._values

    def result(self) -> T:
        """Return what it returned, or raise what it raised.

        Raises:
          RuntimeError: it has not ended, or was cancelled.
        """
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if not self._values:
            raise RuntimeError(f"{self.name} {'was cancelled' if self.ended else 'has not ended'}")
        return self._values[0]

    async def carry_out(self, call: Callable[[Unpack[Ts]], Awaitable[T]], args: tuple[*Ts]) -> None:
        """Call it, and keep what comes of it."""
        try:
            with self._scope:
                self._values.append(await call(*args))
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            cancelled, self.error = group.split(trio.Cancelled)
            if cancelled is not None:
                raise cancelled from None
        except BaseException as error:  # noqa: BLE001 - told to whoever asks for the result
            self.error = error
        finally:
            self.ended = True


class Stay(Generic[T]):
    """An asynchronous context manager that was entered, and is kept open in its own task."""

    def __init__(self, pump: Pump, manager: AbstractAsyncContextManager[T]) -> None:
        self._pump = pump
        self._manager = manager
        self._entered: list[T] = []
        self._leave = trio.Event()
        self._job = pump.start(self._live)

    @property
    def value(self) -> T:
        """What ``async with`` gave."""
        return self._entered[0]

    def leave(self) -> None:
        """Leave the block as code does that comes to its end."""
        self._leave.set()
        self._pump.finish(self._job)

    def crash(self) -> None:
        """Cancel the block; return when it has been left."""
        self._job.cancel()
        self._pump.wait_for(self._job)

    async def _live(self) -> None:
        async with self._manager as value:
            self._entered.append(value)
            await self._leave.wait()

    def wait_until_entered(self) -> Self:
        """Pump until the block is open; raise what was raised instead."""
        self._pump.pump_until(lambda: bool(self._entered) or self._job.ended)
        if not self._entered:
            self._job.result()
        return self


class Pump:
    """Runs trio on the host's thread, as far as it is pumped.

    Between two calls nothing runs. With virtual time the clock stands while a task can run, and
    jumps to the next deadline when none can: a call that waits for an hour takes no time. What is
    outside of trio (a socket, a thread) needs real time.

    Args:
      virtual_time: Whether the clock jumps; otherwise it is that of the machine.
      patience: Seconds (of the clock that runs) after which a call that has not ended is stuck.
      most_ticks: With virtual time, the passes through all tasks after which it is stuck.

    Raises:
      RuntimeError: there is a trio run in this thread already.
    """

    def __init__(
        self, *, virtual_time: bool = True, patience: float = 600.0, most_ticks: int = 100_000
    ) -> None:
        self.virtual_time = virtual_time
        """Whether the clock jumps."""
        self._patience = patience
        self._most_ticks = most_ticks
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._steps = _Steps()
        self._jobs: list[Job[None]] = []
        self._nursery: trio.Nursery | None = None
        self._over = False
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._calls.put,
            run_sync_soon_not_threadsafe=self._calls.put,
            done_callback=self._note_the_end,
            host_uses_signal_set_wakeup_fd=True,
            clock=trio.testing.MockClock(autojump_threshold=0) if virtual_time else None,
            instruments=[self._steps],
        )
        self.pump_until(lambda: self._nursery is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, call: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> T:
        """Call it, pump until it has ended; return what it returns or raise what it raises.

        Raises:
          PumpStuck: it does not end; it has been cancelled.
        """
        self._tell_errors()
        return self.finish(self.start(call, *args))

    def start(self, call: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> Job[T]:
        """Let it run whenever the pump is pumped, until `close`; nothing runs yet.

        Whoever never asks for its result gets its exception from a later call of the pump, if it
        was started with `start_soon`.
        """
        if self._nursery is None or self._over:
            raise RuntimeError("the pump is closed")
        name = str(getattr(call, "__qualname__", call))
        job: Job[T] = Job(name)
        self._nursery.start_soon(job.carry_out, call, args, name=name)
        return job

    def start_soon(self, call: Callable[[Unpack[Ts]], Awaitable[None]], *args: *Ts) -> Job[None]:
        """Do as `start`, but raise its exception in the next call of `run`, `settle` and so on."""
        job = self.start(call, *args)
        self._jobs.append(job)
        return job

    def enter(self, manager: AbstractAsyncContextManager[T]) -> Stay[T]:
        """Enter it in a task of its own, and keep it open until `Stay.leave`."""
        self._tell_errors()
        return Stay(self, manager).wait_until_entered()

    def enter_first(self, manager: AbstractAsyncContextManager[T]) -> Stay[T]:
        """Enter what all the rest needs: where that fails, the pump is closed."""
        try:
            return self.enter(manager)
        except BaseException:
            self.close()
            raise

    def wait_for(self, job: Job[T]) -> None:
        """Pump until it has ended, in whatever way.

        Raises:
          PumpStuck: it does not end; it has been cancelled.
        """
        try:
            self.pump_until(lambda: job.ended)
        except PumpStuck:
            job.cancel()
            raise

    def finish(self, job: Job[T]) -> T:
        """Pump until it has ended; return what it returns or raise what it raises."""
        self.wait_for(job)
        return job.result()

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass: whoever has waited no longer than that has run then."""
        self.run(trio.sleep, seconds)
        self.settle()

    def settle(self) -> None:
        """Run until all tasks wait; virtual time stands still meanwhile."""
        self.run(trio.testing.wait_all_tasks_blocked, 0.0 if self.virtual_time else _CUSHION)
        self._tell_errors()

    def now(self) -> float:
        """Seconds, as `trio.current_time` says."""
        return trio.current_time()

    def step(self) -> None:
        """Let every task that can run run once; in real time, wait until one can.

        Raises:
          PumpStuck: nothing happens for the whole patience of the pump.
        """
        self._step(self._patience)

    def pump_until(self, holds: Callable[[], bool]) -> None:
        """Run all tasks until *holds*.

        Raises:
          PumpStuck: it never does.
        """
        until = self._clock() + self._patience
        ticks = idle = 0
        while not holds():
            before = self._steps.count
            self._step(until - self._clock())
            if self._over:
                continue  # there is no clock any more
            ticks += 1
            idle = idle + 1 if self._steps.count == before else 0
            if self._is_stuck(ticks, idle) or self._clock() > until:
                raise PumpStuck(self._describe())

    def close(self) -> None:
        """Cancel what still runs, and end the run; raise what nobody was told.

        Raises:
          PumpStuck: a task does not let itself be cancelled.
        """
        if self._over:
            return
        assert self._nursery is not None, "there is one since this was made"
        self._nursery.cancel_scope.cancel()
        self.pump_until(lambda: self._over)
        self._tell_errors()

    def _step(self, patience: float) -> None:
        if self._over:
            raise RuntimeError("the pump is closed")
        try:
            call = self._calls.get(timeout=max(0.0, patience))
        except queue.Empty:
            raise PumpStuck(self._describe()) from None
        call()

    def _is_stuck(self, ticks: int, idle: int) -> bool:
        if not self.virtual_time:
            return False
        if ticks >= self._most_ticks:
            return True
        if idle < _IDLE_TICKS:
            return False
        statistics = trio.lowlevel.current_statistics()
        return statistics.seconds_to_next_deadline == float("inf")

    def _clock(self) -> float:
        """Seconds of the clock by which patience is counted."""
        return trio.current_time() if self.virtual_time else monotonic()

    def _describe(self) -> str:
        return f"nothing ends what was run; these tasks wait:\n{describe_tasks()}"

    def _tell_errors(self) -> None:
        errors = [job.error for job in self._jobs if job.error is not None]
        self._jobs = [job for job in self._jobs if not job.ended]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("several tasks of the background failed", errors)

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def _note_the_end(self, _outcome: object) -> None:
        self._over = True


class _Steps(trio.abc.Instrument):
    """Counts the steps that tasks made."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - given by trio
        """Count one; see `trio.abc.Instrument`."""
        self.count += 1
