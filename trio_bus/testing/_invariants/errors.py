"""Invariant 19: errors reach the user."""

from __future__ import annotations

from trio_bus._observer import Scope
from trio_bus.testing._line import Line, What

from .rule import Ears, Key, Rule, key_of
from .scene import Scene


class Errors(Rule):
    """Errors reach the user with their own type: what a handler raises, an observer is told.

    Before its subscription is left, with the same types, also in groups.
    """

    number = 19
    name = "errors"
    seen_by = "how handlers fail, and the errors that observers are told"
    weakened_by = "the dead tell nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._untold: dict[str, dict[Key, Line]] = {}

    def hears(self) -> Ears:
        """Listen to failures and errors."""
        return {
            What.FAILED: self._hear_failed,
            What.ERROR: self._hear_error,
            What.LEFT: self._hear_left,
        }

    def _hear_failed(self, line: Line) -> None:
        self._untold.setdefault(line.consumer, {})[key_of(line)] = line

    def _hear_error(self, line: Line) -> None:
        if line.scope is not Scope.HANDLER or line.entry_id is None:
            return
        failed = self._untold.get(line.consumer, {}).pop(key_of(line), None)
        if failed is not None and failed.detail not in line.detail:
            words = f"a handler raised {failed.detail}, and the observer is told {line.detail}"
            self.broken(words, line)

    def _hear_left(self, line: Line) -> None:
        for failed in self._untold.pop(line.consumer, {}).values():
            words = f"a handler raised {failed.detail} at {failed.time:.3f} s"
            self.broken(f"{words}, and nobody was told", line)
