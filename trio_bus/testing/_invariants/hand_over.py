"""Invariant 12: what one gives back, another one starts."""

from __future__ import annotations

from trio_bus._observer import Scope
from trio_bus._subscription.backoff import SERVICE_BACKOFF
from trio_bus.testing._line import Line, What

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget, key_of
from .scene import Consumer, Scene

GRACE = 0.25
"""Seconds that a wake-up, a read and their answers may take."""


class HandOver(Rule):
    """What was given back starts at the next wake-up or tick that has a free permit.

    So does what was sent back from the dead. Not after a lease: within ``reclaim_interval``
    somebody has it who was free all the time.
    """

    number = 12
    name = "hand-over"
    seen_by = "releases and deliveries of the server, and what consumers hold"
    weakened_by = (
        "until it is over, any fault; for 5 s, an error of whoever looked; suspects run alone"
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._waiting: dict[Key, Line] = {}
        self._look_at = 0.0
        self._pauses: dict[str, float] = {}
        """Until when a consumer may wait that was told of an error when it looked."""

    def hears(self) -> Ears:
        """Listen to releases, and to what may end the wait."""
        over = (What.GIVEN, What.ACKED, What.BURIED, What.DROPPED, What.SET_APART)
        lost = (What.DELETED, What.TRIMMED, *BEGINS_ANEW)
        return {
            **each((What.RELEASED, What.REDRIVEN), self._hear_released),
            What.ERROR: self._hear_error,
            **each(over, self._hear_over),
            **each(lost, self._hear_lost),
            **each((What.COMMAND, What.OVER, What.QUIET), self._hear_time),
        }

    def _hear_released(self, line: Line) -> None:
        if not line.seconds:
            self._waiting[key_of(line)] = line

    def _hear_error(self, line: Line) -> None:
        if line.scope is Scope.CLAIM:
            self._pauses[line.consumer] = line.time + SERVICE_BACKOFF.cap

    def _hear_over(self, line: Line) -> None:
        self._hear_time(line)
        self._waiting.pop(key_of(line), None)

    def _hear_lost(self, line: Line) -> None:
        forget(line, self._waiting)

    def _hear_time(self, line: Line) -> None:
        """Look, a few times in a second, whether somebody waits too long."""
        if not self._waiting or line.time < self._look_at:
            return
        self._look_at = line.time + GRACE
        if self.scene.calm:
            for key, released in self._waiting.items():
                self._look(key, released, line)

    def _look(self, key: Key, released: Line, line: Line) -> None:
        if key[:2] in self.scene.suspicious:
            return
        for consumer in self.scene.groups.get(key[:2], {}).values():
            began = max(released.time, self._pauses.get(consumer.name, 0.0))
            if line.time > self.scene.could_take(consumer, key, began) + _bound(consumer):
                words = f"{key[2]} was given back at {released.time:.3f} s"
                self.broken(f"{words}, and {consumer.name} could have taken it", line)


def _bound(consumer: Consumer) -> float:
    return GRACE + (0.0 if consumer.config is None else consumer.config.reclaim_interval)
