"""Promises about pauses: nothing starts."""

from __future__ import annotations

from trio_bus._modes import AckMode
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule


class Pauses(Rule):
    """While a subscription is paused none of its handlers starts, and nothing new is asked for.

    But with AUTO_ON_RECEIVE: what was acked on arrival starts all the same.
    """

    number = 0
    name = "pauses"
    seen_by = "pauses, starts of handlers, and what consumers ask the server for"
    weakened_by = "nothing"

    def hears(self) -> Ears:
        """Listen to what a paused one does not do."""
        return {What.STARTED: self._hear_start, What.COMMAND: self._hear_command}

    def _hear_start(self, line: Line) -> None:
        consumer = self.scene.consumer(line.consumer)
        if not consumer.halted or consumer.config is None:
            return
        if consumer.config.ack_mode is not AckMode.AUTO_ON_RECEIVE:
            self.broken(f"{line.entry_id} starts at {line.consumer}, which is paused", line)

    def _hear_command(self, line: Line) -> None:
        if line.detail in {"read", "take_over"} and self.scene.consumer(line.consumer).halted:
            self.broken(f"{line.consumer} is paused, and asks for more", line)
