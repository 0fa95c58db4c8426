"""Invariant 11: a cancellation is no failure."""

from __future__ import annotations

from trio_bus._backend import DeathCause
from trio_bus._observer import Scope, Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Key, Rule, each, key_of
from .scene import Scene

_FAILURES = {DeathCause.EXHAUSTED, DeathCause.REJECTED}


class Cancellations(Rule):
    """Cancellation never counts as a failure.

    What a handler did not finish because it was cancelled is not retried, not dead-lettered, and
    not told as an error, unless it had settled it itself, or took longer than ``handler_timeout``.
    """

    number = 11
    name = "cancellations"
    seen_by = "how handlers end, and how their deliveries are settled"
    weakened_by = "nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._cancelled: dict[tuple[str, Key], Line] = {}
        self._settling: set[tuple[str, Key]] = set()

    def hears(self) -> Ears:
        """Listen to ends of handlers, and to what is called a failure."""
        failures = (What.RETRIED, What.BURIED, Transition.RETRIED, Transition.DEAD_LETTERED)
        return {
            What.STARTED: self._hear_started,
            What.CANCELLED: self._hear_cancelled,
            What.VERB: self._hear_verb,
            What.ERROR: self._hear_error,
            **each(failures, self._hear_failure),
        }

    def _hear_started(self, line: Line) -> None:
        self._cancelled.pop((line.consumer, key_of(line)), None)
        self._settling.discard((line.consumer, key_of(line)))

    def _hear_verb(self, line: Line) -> None:
        if line.detail != "renew":
            self._settling.add((line.consumer, key_of(line)))

    def _hear_cancelled(self, line: Line) -> None:
        mine = (line.consumer, key_of(line))
        config = self.scene.consumer(line.consumer).config
        timed = config is None or config.handler_timeout is not None
        if not timed and mine not in self._settling:
            self._cancelled[mine] = line

    def _hear_error(self, line: Line) -> None:
        if line.scope is Scope.HANDLER and line.entry_id is not None:
            self._refuse(line, "is told as an error of its handler")

    def _hear_failure(self, line: Line) -> None:
        if line.entry_id is None or (line.cause is not None and line.cause not in _FAILURES):
            return
        self._refuse(line, "counts as a failure")

    def _refuse(self, line: Line, words: str) -> None:
        cancelled = self._cancelled.get((line.consumer, key_of(line)))
        if cancelled is not None and cancelled.attempt == line.attempt:
            self.broken(
                f"{line.entry_id} was cancelled at {cancelled.time:.3f} s: it {words}", line
            )
