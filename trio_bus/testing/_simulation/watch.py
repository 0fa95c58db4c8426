"""Ends a run that would never end by itself."""

# pyright: reportPrivateUsage=false
# Which scopes a task is in is told by no public call of trio.

from __future__ import annotations

from collections.abc import Iterator

import attrs
import trio

from trio_bus.testing._tasks import all_tasks, describe_tasks

MOST_TURNS = 300_000
"""Turns of trio's loop; the largest scenario takes a few thousand."""


class Endless(Exception):
    """Nothing can go on any more, or everything goes round in circles."""


@attrs.define(eq=False, slots=False)
class Watch(trio.abc.Instrument):
    """Counts the turns of trio's loop, and breaks off a run that makes too many.

    When every task waits for something that never comes, the loop goes round and finds nothing: a
    mock clock has no time to jump to. What waits in a shield is not reached by a cancellation, so
    shields are taken away first.
    """

    scope: trio.CancelScope
    """The whole run."""
    most: int = MOST_TURNS
    turns: int = 0
    waiting: str = ""
    """Where every task was when the run was broken off; empty if it was not."""

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - of the interface
        """Count."""
        self.turns += 1
        if self.turns == self.most:
            self.waiting = describe_tasks()
            for task in all_tasks():
                for scope in _scopes(task):
                    scope.shield = False
            self.scope.cancel(f"it did not end in {self.most:,} turns of the loop")


def _scopes(task: trio.lowlevel.Task) -> Iterator[trio.CancelScope]:
    status: trio._core._run.CancelStatus | None = task._cancel_status  # noqa: SLF001 - see above
    while status is not None:
        yield status._scope  # noqa: SLF001 - see above
        status = status._parent  # noqa: SLF001 - see above
