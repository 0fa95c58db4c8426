"""Invariant 13: how a subscription ends."""

from __future__ import annotations

from math import inf

from trio_bus._modes import AckMode
from trio_bus._observer import Transition
from trio_bus._options import BusOptions
from trio_bus._parting import parting
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .rule import Ears, Rule, each
from .scene import BEGINNINGS, ENDS, Scene
from .turns import ENDED

_GRACE = 1.0
"""Seconds for what is on its way."""
_STEPS = {
    Transition.OPENED: (0, 1),
    Transition.DRAINING: (1, 2),
    Transition.CLOSED: (2, 3),
}


class Closing(Rule):
    """Close is idempotent, cancel-safe and bounded, and goes through its steps in one order.

    It is opened, drained and closed once each, whoever asks how often. Nothing starts once it
    drains (but what is acked on arrival: it would be lost), nothing comes or ends once it is
    closed. It is left within its timeouts, from when its last handler ended. What it settled is
    confirmed, where nobody can be late and nothing goes wrong but deaths.
    """

    number = 13
    name = "closing"
    seen_by = "what a subscription tells of itself, when it is left, and when its handlers end"
    weakened_by = "a process that stood still takes that much longer; the dead need not end"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._step: dict[str, int] = {}
        self._leaving: dict[str, Line] = {}
        self._last_end: dict[str, float] = {}
        self._stood_still: dict[str, float] = {}

    def hears(self) -> Ears:
        """Listen to the steps of a subscription, and to what must not follow them."""
        return {
            **each(_STEPS, self._hear_step),
            Transition.STARTED: self._hear_start,
            **each((*BEGINNINGS, *ENDS), self._hear_late),
            Transition.UNCONFIRMED: self._hear_unconfirmed,
            Transition.GROUP_RECREATED: self._hear_recreated,
            What.LEAVING: self._hear_leaving,
            What.LEFT: self._hear_left,
            **each(ENDED, self._hear_end),
            What.PAUSED: self._hear_paused,
        }

    def _hear_step(self, line: Line) -> None:
        assert line.transition is not None
        before, after = _STEPS[line.transition]
        step = self._step.get(line.consumer, 0)
        if step != before:
            words = f"{line.consumer} is told {line.transition.value} after step {step} of 3"
            self.broken(words, line)
        self._step[line.consumer] = after

    def _hear_start(self, line: Line) -> None:
        config = self.scene.consumer(line.consumer).config
        acked_before = config is not None and config.ack_mode is AckMode.AUTO_ON_RECEIVE
        if self._step.get(line.consumer, 0) > 1 and not acked_before:
            self.broken(f"{line.entry_id} starts after {line.consumer} began to drain", line)

    def _hear_late(self, line: Line) -> None:
        if self._step.get(line.consumer, 0) > 2:
            self.broken(f"{line.entry_id} comes or ends after {line.consumer} was closed", line)

    def _hear_unconfirmed(self, line: Line) -> None:
        self._hear_late(line)
        config = self.scene.consumer(line.consumer).config
        in_time = config is not None and config.shutdown_timeout > 0
        if in_time and self.scene.punctual and self.scene.only_deaths:
            self.broken(
                f"what became of {line.entry_id} is not known, and nothing went wrong", line
            )

    def _hear_recreated(self, line: Line) -> None:
        if self._step.get(line.consumer, 0) > 1:
            self.broken(f"the group is made after {line.consumer} began to drain", line)

    def _hear_leaving(self, line: Line) -> None:
        self._leaving[line.consumer] = line

    def _hear_end(self, line: Line) -> None:
        self._last_end[line.consumer] = line.time

    def _hear_paused(self, line: Line) -> None:
        name = line.actor
        self._stood_still[name] = self._stood_still.get(name, 0.0) + (line.seconds or 0.0)

    def _deadline(self, leaving: Line) -> float:
        config = leaving.config
        if config is None:
            return inf
        waits = leaving.detail not in {"cancel", "aclose"}
        begun = leaving.time + (config.drain_timeout if waits else 0.0)
        begun = max(begun, self._last_end.get(leaving.consumer, 0.0))
        last = 3 * parting(BusOptions().command_timeout)
        still = sum(self._stood_still.values())
        return begun + 2 * config.shutdown_timeout + last + still + _GRACE

    def _hear_left(self, line: Line) -> None:
        leaving = self._leaving.pop(line.consumer, None)
        if leaving is not None:
            self._check_deadline(leaving, line.time, line)

    def _check_deadline(self, leaving: Line, now: float, line: Line | None) -> None:
        consumer = self.scene.consumer(leaving.consumer)
        running = consumer.running and line is None
        if not consumer.dead and not running and now > self._deadline(leaving):
            words = f"{leaving.consumer} is being left since {leaving.time:.3f} s"
            self.broken(f"{words}, and had to be by {self._deadline(leaving):.3f} s", line)

    def finish(self, places: Places | None) -> None:  # noqa: ARG002 - of the interface
        """Look for subscriptions that never ended."""
        for leaving in self._leaving.values():
            self._check_deadline(leaving, inf, None)
