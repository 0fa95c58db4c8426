"""Promises about time: nobody waits for longer than the server takes."""

from __future__ import annotations

import attrs

from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, each
from .scene import ENDS, Scene

_GRACE = 0.001
"""Seconds: whoever waits on purpose waits longer."""
_SETTLED = set(ENDS) - {Transition.LEASE_LOST, Transition.VANISHED, Transition.UNCONFIRMED}


@attrs.frozen
class _Call:
    """When something was called, and how long its answer may take."""

    time: float
    patience: float


class Answers(Rule):
    """A call is answered as soon as the server has answered it.

    A verb, a publish, a schedule: no delay is slept away, and nothing waits for company. Nor does
    what a handler leaves behind: it is settled as soon as that has ended. What is under way comes
    first.
    """

    number = 0
    name = "answers"
    seen_by = "when programs call something and are answered, and when handlers end"
    weakened_by = "any fault; it is seen in virtual time alone"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._calls: dict[object, _Call] = {}

    def hears(self) -> Ears:
        """Listen to calls and answers, and to ends of handlers."""
        published = (What.PUBLISHED, What.REFUSED, What.UNKNOWN)
        return {
            What.VERB: lambda line: self._hear_call(_verb(line), line),
            **each((What.VERB_DONE, What.VERB_FAILED), self._hear_verb_done),
            What.PUBLISHING: lambda line: self._hear_call(_publish(line), line),
            **each(published, lambda line: self._hear_answer(_publish(line), line)),
            What.SCHEDULING: lambda line: self._hear_call(_schedule(line), line),
            What.SCHEDULED: lambda line: self._hear_answer(_schedule(line), line),
            Transition.FINISHED: lambda line: self._hear_call(_delivery(line), line),
            Transition.UNSETTLED: self._hear_left_open,
            **each(_SETTLED, lambda line: self._hear_answer(_delivery(line), line)),
        }

    def _hear_call(self, call: object, line: Line) -> None:
        self._calls[call] = _Call(line.time, self._patience(line))

    def _hear_verb_done(self, line: Line) -> None:
        self._hear_answer(_verb(line), line)

    def _hear_left_open(self, line: Line) -> None:
        self._calls.pop(_delivery(line), None)

    def _hear_answer(self, call: object, line: Line) -> None:
        called = self._calls.pop(call, None)
        if called is None or self.scene.faults or not self.scene.punctual:
            return
        waits = line.time - called.time
        if waits > called.patience:
            words = f"what {line.actor} asked for at {called.time:.3f} s"
            self.broken(f"{words} is answered after {waits:.3f} s", line)

    def _patience(self, line: Line) -> float:
        """Allow for the way there and back, after whatever was asked for before."""
        before = len(self.scene.consumer(line.consumer).held) if line.consumer else 0
        return 2 * self.scene.latency * (2 + before) + _GRACE


def _verb(line: Line) -> object:
    return "verb", line.consumer, line.topic, line.entry_id


def _publish(line: Line) -> object:
    return "publish", line.topic, line.batch, line.label


def _schedule(line: Line) -> object:
    return "schedule", line.topic, line.label


def _delivery(line: Line) -> object:
    return "delivery", line.consumer, line.delivery
