"""Invariant 20: nothing runs hot."""

from __future__ import annotations

import attrs

from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, Subject, each
from .scene import BEGINNINGS, ENDS, Scene

IDLE = 60
"""Commands in a second that need no reason."""
EACH = 8
"""Commands for each entry that comes or goes, and for each end of a pause."""


@attrs.define
class _Second:
    begins: float
    commands: int = 0
    allowed: int = IDLE


class Rate(Rule):
    """A consumer sends a bounded number of commands in each second, whatever fails.

    60, and 8 for each entry that it received or settled in that second, and each time that it was
    resumed.
    """

    number = 20
    name = "rate"
    seen_by = "the commands of each consumer"
    weakened_by = "nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._seconds: dict[str, _Second] = {}

    def hears(self) -> Ears:
        """Listen to commands, and to what they are good for."""
        reasons: tuple[Subject, ...] = (*BEGINNINGS, *ENDS, What.OPENING, Transition.RESUMED)
        return {
            What.COMMAND: self._hear_command,
            **each(reasons, self._hear_reason),
        }

    def _second(self, line: Line) -> _Second:
        second = self._seconds.get(line.consumer)
        if second is None or line.time >= second.begins + 1.0:
            second = self._seconds[line.consumer] = _Second(line.time)
        return second

    def _hear_reason(self, line: Line) -> None:
        self._second(line).allowed += EACH

    def _hear_command(self, line: Line) -> None:
        if not line.consumer:
            return
        second = self._second(line)
        second.commands += 1
        if second.commands > second.allowed:
            words = f"{line.consumer} sent {second.commands} commands within a second"
            self.broken(f"{words}, and {second.allowed} are allowed", line)
