"""Ends a run that would never end by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import attrs
import outcome
import trio

MOST_TURNS = 300_000
"""Turns of trio's loop; the largest scenario takes a few thousand."""


class Endless(BaseException):
    """Nothing can go on any more, or everything goes round in circles."""


@attrs.define(eq=False, slots=False)
class Watch(trio.abc.Instrument):
    """Counts the turns of trio's loop, and breaks off a run that makes too many.

    When every task waits for something that never comes, the loop goes round and finds nothing: a
    mock clock has no time to jump to. A cancellation does not reach who waits in a shield. So those
    who wait get an error instead of what they wait for.
    """

    most: int = MOST_TURNS
    turns: int = 0
    main: trio.lowlevel.Task | None = None

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - of the interface
        """Count."""
        self.turns += 1
        if self.turns > self.most and self.main is not None:
            for task in list(_leaves(self.main)):
                error = Endless(f"{task.name} still waits after {self.most:,} turns of the loop")
                with suppress(AssertionError):  # it does not wait: it runs in circles
                    trio.lowlevel.reschedule(task, outcome.Error(error))


def _leaves(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    if not children:
        yield task
    for child in children:
        yield from _leaves(child)
