"""Strikes between two steps of any tasks."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio


@attrs.define(eq=False, slots=False)
class _Strike(trio.abc.Instrument):
    """Counts down with each step of a task."""

    left: int
    act: Callable[[], None]

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - of the interface
        """Count."""
        self.left -= 1
        if self.left <= 0:
            trio.lowlevel.remove_instrument(self)
            self.act()


def after_steps(number: int, act: Callable[[], None]) -> None:
    """Do it when so many steps were made by all tasks together; at once, if that is 0."""
    if number <= 0:
        act()
    else:
        trio.lowlevel.add_instrument(_Strike(number, act))
