"""Invariant 3: attempts count what happened."""

from __future__ import annotations

from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget_group, key_of
from .scene import BEGINNINGS, Scene

_UNTOLD = {What.DIED, What.REPLY_LOST, What.SERVER_STOPPED, What.FAULT, What.PAUSED}


class Attempts(Rule):
    """The attempt of a delivery is 1 and the number of earlier deliveries that count.

    All count but those that were released, and what was before it was sent back from the dead. A
    handler is told what the server counts. Where no lines tell what the server does, the attempts
    that a consumer is told are held between the retries that were told, and the deliveries.
    """

    number = 3
    name = "attempts"
    seen_by = "deliveries and releases of the server, and what consumers are told of them"
    weakened_by = "groups and topics that were deleted count anew; what nobody told may count"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._counted: dict[Key, int] = {}
        self._given: dict[tuple[Key, str], int] = {}
        self._begun: dict[Key, int] = {}
        self._retried: dict[Key, int] = {}

    def hears(self) -> Ears:
        """Listen to all that counts."""
        return {
            What.GIVEN: self._hear_given,
            What.RELEASED: self._hear_released,
            What.STARTED: self._hear_started,
            **each(BEGINNINGS, self._hear_beginning),
            Transition.RETRIED: self._hear_retried,
            What.REDRIVEN: self._hear_redriven,
            **each(BEGINS_ANEW, self._hear_destroyed),
        }

    def _hear_destroyed(self, line: Line) -> None:
        for counts in (self._counted, self._begun, self._retried):
            forget_group(line, counts)
        self._given.clear()

    def _hear_redriven(self, line: Line) -> None:
        for counts in (self._counted, self._begun, self._retried):
            counts.pop(key_of(line), None)

    def _hear_given(self, line: Line) -> None:
        key = key_of(line)
        expected = self._counted.get(key, 0) + 1
        if line.attempt != expected:
            self.broken(f"attempt {line.attempt} of {line.entry_id} should be {expected}", line)
        self._counted[key] = self._given[key, line.consumer] = expected

    def _hear_released(self, line: Line) -> None:
        key = key_of(line)
        if key in self._counted and line.attempt is not None:
            self._counted[key] = line.attempt - 1

    def _hear_started(self, line: Line) -> None:
        given = self._given.get((key_of(line), line.consumer))
        if given is not None and line.attempt != given:
            self.broken(f"a handler is told attempt {line.attempt}, the server says {given}", line)

    def _hear_beginning(self, line: Line) -> None:
        if line.entry_id is None or line.attempt is None:
            return
        key, where = key_of(line), (line.topic, line.group)
        if where in self.scene.witnessed | self.scene.destroyed:
            return
        least, most = self._retried.get(key, 0) + 1, self._begun.get(key, 0) + 1
        self._begun[key] = most
        too_many = line.attempt > most and not self.scene.faults & _UNTOLD
        if line.attempt < least or too_many:
            words = f"attempt {line.attempt} of {line.entry_id} is not in {least} to {most}"
            self.broken(words, line)

    def _hear_retried(self, line: Line) -> None:
        if line.entry_id is not None:
            key = key_of(line)
            self._retried[key] = self._retried.get(key, 0) + 1
