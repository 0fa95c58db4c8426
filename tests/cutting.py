"""Cancels a call at its n-th checkpoint, in each of four ways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from enum import Enum
from itertools import count

import attrs
import trio

MOST = 1000
"""Steps: a call that has more does not end by itself."""

Act = Callable[[], Awaitable[object]]


class Way(Enum):
    """Who cancels the call."""

    SCOPE = "its own scope"
    NURSERY = "the nursery around it"
    DEADLINE = "a deadline"
    ANYBODY = "its own scope, while any task makes a step"
    """Between its own checkpoints too: when its command was written, or just answered."""


@attrs.define(eq=False, slots=False)
class StrikeAt(trio.abc.Instrument):
    """Calls *strike* when the watched task (None: all tasks together) has made *left* steps."""

    left: int
    strike: Callable[[], None]
    task: trio.lowlevel.Task | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        if self.task is None or task is self.task:
            self.left -= 1
            if self.left == 0:
                self.strike()


@contextmanager
def instrument(it: StrikeAt) -> Generator[None, None, None]:
    """Count steps inside the block."""
    trio.lowlevel.add_instrument(it)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(it)


@attrs.define(eq=False)
class Cut:
    """Makes one call and cancels it at its checkpoint *step*; 0 is before the call.

    On real sockets the number of checkpoints differs from run to run: what matters is only that
    the sweep goes on until a call ends before it is struck.
    """

    step: int
    way: Way
    returned: bool = False
    """The call returned: the cancellation came too late, or not at all."""
    struck: bool = False
    _called: bool = False

    @property
    def early(self) -> bool:
        """The call was cancelled before it began: nothing may have happened.

        (A deadline that is over is no cancellation before the next checkpoint.)
        """
        return self.step == 0 and self.way is not Way.DEADLINE

    async def __call__(self, act: Act) -> bool:
        """Call *act*; say whether it returned."""
        assert not self._called, "one call for each cut"
        self._called = True
        match self.way:
            case Way.SCOPE | Way.ANYBODY:
                with trio.CancelScope() as scope:
                    await self._run(act, scope.cancel)
            case Way.DEADLINE:
                with trio.CancelScope() as scope:
                    await self._run(act, lambda: _expire(scope))
            case Way.NURSERY:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._run, act, nursery.cancel_scope.cancel)
        return self.returned

    async def _run(self, act: Act, cancel: Callable[[], None]) -> None:
        def strike() -> None:
            self.struck = True
            cancel()

        if self.step == 0:
            strike()
        watched = None if self.way is Way.ANYBODY else trio.lowlevel.current_task()
        with instrument(StrikeAt(self.step, strike, watched)):
            await act()
            self.returned = True


def _expire(scope: trio.CancelScope) -> None:
    scope.deadline = trio.current_time()


async def sweep(once: Callable[[Cut], Awaitable[None]], ways: Iterable[Way] = Way) -> int:
    """Run *once* with a cut at each checkpoint, in each way; return how often it ran."""
    runs = 0
    for way in ways:
        for step in count():
            assert step < MOST, f"cancelled by {way.value}, it never ends by itself"
            cut = Cut(step, way)
            runs += 1
            try:
                await once(cut)
            except BaseException as error:
                error.add_note(f"cancelled by {way.value}: {step}")
                raise
            if not cut.struck:
                assert cut.returned
                break
    return runs


def running_tasks() -> list[str]:
    """Name every task there is."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found: list[str] = []
    todo = [root]
    while todo:
        task = todo.pop()
        found.append(task.name)
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return sorted(found)
