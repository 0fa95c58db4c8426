"""Promises about settings: each does what it says, with the value that was given."""

from __future__ import annotations

from typing import cast

from trio_bus._config import SubscriptionConfig
from trio_bus._subscription.consumer import READS_PER_LEASE
from trio_bus._subscription.reclaimer import BREATH, JITTER, LONGEST
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule
from .scene import Scene

_GRACE = 0.001
"""Seconds: sums of parts of seconds are not exact."""


class Settings(Rule):
    """What a consumer asks of its server stays within its settings.

    They are those that were given: a zero is a zero. No read waits longer than ``block_timeout`` or
    a part of the lease, none brings more than ``max_in_flight``, no settlement has more entries
    than ``ack_batch_size``, and looks are at most ``reclaim_interval`` apart; or as long as a look
    says that there is nothing to look for, and a part of that more.
    """

    number = 0
    name = "settings"
    seen_by = "settings, and what consumers ask the server for"
    weakened_by = "after any fault looks may be rarer; when they come is seen in virtual time alone"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._looked: dict[str, float] = {}
        self._calm: dict[str, float] = {}
        """For how long there is nothing to look for, by the last look of each consumer."""

    def hears(self) -> Ears:
        """Listen to who opens a subscription, and to commands."""
        return {
            What.OPENING: self._hear_opening,
            What.COMMAND: self._hear_command,
            What.CALM: self._hear_calm,
        }

    def _hear_opening(self, line: Line) -> None:
        for name, value in line.asked:
            kept = cast("object", getattr(line.config, name))
            if kept != value:
                self.broken(f"{name} was set to {value!r}, and is {kept!r}", line)

    def _hear_calm(self, line: Line) -> None:
        self._calm[line.consumer] = line.seconds or 0.0

    def _hear_command(self, line: Line) -> None:
        config = self.scene.consumer(line.consumer).config if line.consumer else None
        if config is None:
            return
        match line.detail:
            case "read":
                self._check_wait(config, line)
                self._check_count("max_in_flight", config.max_in_flight, line)
            case "take_over":
                self._check_count("max_in_flight", config.max_in_flight, line)
            case "settle":
                self._check_count("ack_batch_size", config.ack_batch_size, line)
            case "look":
                self._check_look(config, line)
            case _:
                pass

    def _check_wait(self, config: SubscriptionConfig, line: Line) -> None:
        longest = min(config.block_timeout, config.claim_idle_timeout / READS_PER_LEASE)
        if line.seconds is not None and line.seconds > longest:
            words = f"a read of {line.consumer} waits for {line.seconds:g} s"
            self.broken(f"{words}, and by its block_timeout and lease for {longest:g} s", line)

    def _check_count(self, name: str, most: int, line: Line) -> None:
        if line.count is not None and line.count > most:
            self.broken(f"a {line.detail} is about {line.count} entries: {name} is {most}", line)

    def _check_look(self, config: SubscriptionConfig, line: Line) -> None:
        before, self._looked[line.consumer] = self._looked.get(line.consumer), line.time
        calm = min(self._calm.pop(line.consumer, 0.0), LONGEST) + JITTER * config.reclaim_interval
        if before is None or self.scene.faults or not self.scene.punctual:
            return
        longest = max(config.reclaim_interval, BREATH, calm) + 2 * self.scene.latency + _GRACE
        if line.time > before + longest:
            words = f"{line.consumer} looked at {before:.3f} s, and then not for {longest:.3f} s"
            self.broken(words, line)
