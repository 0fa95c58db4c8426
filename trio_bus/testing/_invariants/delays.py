"""Promises about time: what a handler says of when its entry comes again."""

from __future__ import annotations

import attrs

from trio_bus._entry_id import EntryId
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, each, key_of
from .scene import Scene

_Mine = tuple[str, EntryId | None]
"""A consumer and an entry."""


@attrs.frozen
class _Wish:
    """What a verb was called with, and how long the entry has to wait then."""

    verb: str
    attempt: int | None
    seconds: float | None
    plain: bool
    """Whether it was called without a delay."""


class Delays(Rule):
    """An entry waits as long as the handler says that sends it away.

    A delay is kept as it was given, without jitter, and zero means at once. What is released
    without a delay may be taken at once; released again by the same consumer it waits for one
    ``reclaim_interval``, or a handler that releases whatever comes would run hot.
    """

    number = 0
    name = "delays"
    seen_by = "the verbs that handlers call, and how long entries are kept away"
    weakened_by = "after a fault, what is released may wait or not"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._wishes: dict[_Mine, _Wish] = {}
        self._released: set[_Mine] = set()

    def hears(self) -> Ears:
        """Listen to verbs, and to what follows."""
        others = (Transition.ACKED, Transition.RETRIED, Transition.DEAD_LETTERED)
        return {
            What.STARTED: self._hear_started,
            What.VERB: self._hear_verb,
            What.VERB_FAILED: self._hear_refusal,
            What.RETRIED: self._hear_retried,
            What.RELEASED: self._hear_released,
            **each(others, self._hear_end),
        }

    def _hear_started(self, line: Line) -> None:
        self._wishes.pop((line.consumer, line.entry_id), None)

    def _hear_verb(self, line: Line) -> None:
        verb, mine = line.detail.partition(" ")[0], (line.consumer, line.entry_id)
        seconds, plain = line.seconds, not line.seconds
        if verb == "release" and plain:
            seconds = self._interval(line) if mine in self._released else 0.0
        if verb in {"retry", "release"}:
            self._wishes.setdefault(mine, _Wish(verb, line.attempt, seconds, plain))

    def _hear_refusal(self, line: Line) -> None:
        """Forget what was refused; a verb that was cancelled is carried out all the same."""
        if not line.detail.endswith(": Cancelled"):
            self._wishes.pop((line.consumer, line.entry_id), None)

    def _interval(self, line: Line) -> float | None:
        config = self.scene.consumer(line.consumer).config
        return None if config is None else config.reclaim_interval

    def _hear_retried(self, line: Line) -> None:
        self._check("retry", line)

    def _hear_released(self, line: Line) -> None:
        if not self.scene.faults:  # after one an answer may be that of an earlier delivery
            self._check("release", line)

    def _check(self, verb: str, line: Line) -> None:
        wish = self._wishes.pop((line.consumer, line.entry_id), None)
        if wish is None or (wish.verb, wish.attempt) != (verb, line.attempt):
            return
        if verb == "release" and wish.plain:
            self._released.add((line.consumer, line.entry_id))
        kept = line.seconds or 0.0
        if wish.seconds is not None and kept != wish.seconds:
            words = f"{key_of(line)[2]} has to wait for {wish.seconds:g} s by its {verb}"
            self.broken(f"{words}, and is kept for {kept:g} s", line)

    def _hear_end(self, line: Line) -> None:
        self._released.discard((line.consumer, line.entry_id))
