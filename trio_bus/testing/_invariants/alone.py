"""Invariant 10: a suspect has no company."""

from __future__ import annotations

import attrs

from trio_bus._subscription.turn import CHECKS_PER_LEASE
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, each, key_of
from .scene import BEGINNINGS, Consumer, Scene
from .turns import ENDED

_AT_REST = 1 - 1 / CHECKS_PER_LEASE
"""Part of a lease after which a look that comes once in a while may find nothing at work."""


@attrs.define
class _Turn:
    """A suspect that a consumer has."""

    line: Line
    still_since: float
    """From when on its handler has not run."""
    runs: bool = False


class Alone(Rule):
    """A suspect runs alone: nothing else is held when it comes, and nothing comes beside it.

    Until it is settled and its handler has ended. Where it is left open, or does not start, that
    is for one lease.
    """

    number = 10
    name = "alone"
    seen_by = "what the server sets apart and gives, what consumers are told, and their handlers"
    weakened_by = "nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._turns: dict[str, _Turn] = {}

    def hears(self) -> Ears:
        """Listen to all that begins, and to handlers."""
        return {
            **each(BEGINNINGS, self._hear_beginning),
            What.STARTED: self._hear_started,
            **each(ENDED, self._hear_ended),
        }

    def _hear_beginning(self, line: Line) -> None:
        if line.entry_id is None:
            return
        consumer = self.scene.consumer(line.consumer)
        self._check_company(consumer, line)
        if self.scene.suspects.get(key_of(line)) == line.consumer:
            self._check_start(consumer, line)
            self._turns[line.consumer] = _Turn(line, line.time)

    def _check_start(self, consumer: Consumer, line: Line) -> None:
        others = [key for number, key in consumer.held.items() if number != line.delivery]
        if others or consumer.running:
            company = ", ".join(str(key) for key in sorted({*others, *consumer.running}))
            self.broken(
                f"the suspect {line.entry_id} comes to {consumer.name} beside {company}", line
            )

    def _check_company(self, consumer: Consumer, line: Line) -> None:
        """Let nothing else come while a suspect is there; if that may be, its turn is over."""
        turn = self._turns.get(consumer.name)
        if turn is None:
            return
        there = turn.runs or turn.line.delivery in consumer.held
        if there and (turn.runs or not self._is_at_rest(turn, consumer, line.time)):
            words = f"{line.entry_id} comes to {consumer.name} beside a suspect"
            self.broken(f"{words}, {turn.line.entry_id}", line)
        del self._turns[consumer.name]

    def _is_at_rest(self, turn: _Turn, consumer: Consumer, now: float) -> bool:
        config = consumer.config or self.scene.configs.get((turn.line.topic, turn.line.group))
        return config is None or now >= turn.still_since + _AT_REST * config.claim_idle_timeout

    def _hear_started(self, line: Line) -> None:
        turn = self._turns.get(line.consumer)
        if turn is None or turn.line.entry_id != line.entry_id:
            return
        if self._is_at_rest(turn, self.scene.consumer(line.consumer), line.time):
            del self._turns[line.consumer]  # the others may go on by now
        else:
            turn.runs = True

    def _hear_ended(self, line: Line) -> None:
        turn = self._turns.get(line.consumer)
        if turn is not None and turn.line.entry_id == line.entry_id:
            turn.runs, turn.still_since = False, line.time
