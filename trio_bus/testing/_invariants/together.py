"""Promises about batches: how large they are, how long they wait, and whose outcome is whose."""

from __future__ import annotations

from math import inf

from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, each
from .scene import Scene

_GRACE = 0.001
"""Seconds."""
_VERBS = {"ack", "retry", "reject", "release"}
_Mine = tuple[str, int | None]
"""A consumer, and the number of its delivery."""


class Together(Rule):
    """A batch is complete with ``max_size`` deliveries, or ``max_wait`` seconds after its first.

    Never earlier or larger, unless it is a suspect, alone. That of a ``batch_handler`` has
    ``max_in_flight`` at most, and waits for nothing. What its handler returned with, and had not
    settled, is not tried again: nobody else's failure is its own.
    """

    number = 0
    name = "together"
    seen_by = "batches that programs ask for and get, and when each delivery came; how handlers end"
    weakened_by = "where time is real, or a process stood still, only sizes are known; faults delay"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._asked: dict[tuple[str, int | None], Line] = {}
        self._received: dict[_Mine, float] = {}
        self._started: dict[_Mine, float] = {}
        self._batches: dict[tuple[str, int | None], list[Line]] = {}
        self._numbers: dict[tuple[str, object], int | None] = {}
        self._settled: set[_Mine] = set()
        self._returned: set[_Mine] = set()
        self._expired_at: dict[str, float] = {}
        """When something last expired: it may have been the first of the batch that comes then."""

    def hears(self) -> Ears:
        """Listen to what comes in batches, and to what becomes of it."""
        return {
            What.BATCHING: self._hear_asked,
            **each((Transition.RECEIVED, Transition.TAKEN_OVER), self._hear_received),
            Transition.STARTED: self._hear_started,
            What.BATCHED: self._hear_batched,
            Transition.EXPIRED: self._hear_expired,
            What.VERB: self._hear_verb,
            What.SUCCEEDED: self._hear_return,
            **each((Transition.RETRIED, Transition.DEAD_LETTERED), self._hear_end),
        }

    def _hear_asked(self, line: Line) -> None:
        self._asked[line.consumer, line.batch] = line

    def _hear_received(self, line: Line) -> None:
        self._received[line.consumer, line.delivery] = line.time

    def _hear_started(self, line: Line) -> None:
        self._started[line.consumer, line.delivery] = line.time

    def _hear_expired(self, line: Line) -> None:
        self._expired_at[line.consumer] = line.time

    def _hear_batched(self, line: Line) -> None:
        self._numbers[line.consumer, line.entry_id] = line.delivery
        lines = self._batches.setdefault((line.consumer, line.batch), [])
        lines.append(line)
        if len(lines) == line.count:
            self._judge(self._batches.pop((line.consumer, line.batch)), line)

    def _judge(self, lines: list[Line], line: Line) -> None:
        asked = self._asked.pop((line.consumer, line.batch), None)
        consumer = self.scene.consumer(line.consumer)
        most = None if consumer.config is None else consumer.config.max_in_flight
        if asked is not None:
            most = asked.count
        if most is not None and len(lines) > most:
            self.broken(f"a batch has {len(lines)} deliveries, and {most} are allowed", line)
        if not self.scene.punctual or What.PAUSED in self.scene.faults:
            return
        max_wait = 0.0 if asked is None else asked.seconds or 0.0
        waited = line.time - self._taken(lines, asked)
        if waited > max_wait + _GRACE and not self.scene.faults:
            self.broken(f"a batch waited for {waited:.3f} s, and may for {max_wait:g} s", line)
        short = asked is not None and len(lines) < (most or 0) and waited < max_wait - _GRACE
        short = short and self._expired_at.get(line.consumer) != line.time
        if short and not consumer.dead and not self._is_suspect(lines[0]):
            words = f"a batch of {len(lines)} is there after {waited:.3f} s"
            self.broken(f"{words}: {most} would be complete, or {max_wait:g} s", line)

    def _taken(self, lines: list[Line], asked: Line | None) -> float:
        """Say when the first of them was taken: what is read may wait to be asked for."""
        when = self._started if asked is None else self._received
        first = min(when.get((it.consumer, it.delivery), inf) for it in lines)
        return first if asked is None else max(first, asked.time)

    def _is_suspect(self, line: Line) -> bool:
        return (line.topic, line.group) in self.scene.suspicious

    def _mine(self, line: Line) -> _Mine:
        return line.consumer, self._numbers.get((line.consumer, line.entry_id))

    def _hear_verb(self, line: Line) -> None:
        if line.detail.partition(" ")[0] in _VERBS:
            self._settled.add(self._mine(line))

    def _hear_return(self, line: Line) -> None:
        mine = self._mine(line)
        config = self.scene.consumer(line.consumer).config
        waits = config is not None and config.handler_timeout is not None  # it may be left open
        if mine not in self._settled and not waits:
            self._returned.add(mine)

    def _hear_end(self, line: Line) -> None:
        if line.delivery is not None and (line.consumer, line.delivery) in self._returned:
            assert line.transition is not None
            words = f"its handler returned with {line.entry_id}, among others"
            self.broken(f"{words}, and it is {line.transition.value}", line)
