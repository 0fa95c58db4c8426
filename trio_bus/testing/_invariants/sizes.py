"""Promises about bytes: how much a consumer holds."""

from __future__ import annotations

from trio_bus._entry_id import EntryId
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule
from .scene import Scene


class Sizes(Rule):
    """While a consumer holds ``max_in_flight_bytes`` it asks for nothing more.

    So it holds less than that, and what one read or one claim brought.
    """

    number = 6
    name = "sizes"
    seen_by = "what the server gives, what consumers are told, and what they ask for"
    weakened_by = "nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sizes: dict[tuple[str, EntryId], int] = {}  # topics have entries of one id

    def hears(self) -> Ears:
        """Listen to what comes, and to what asks for more."""
        return {What.GIVEN: self._hear_given, What.COMMAND: self._hear_command}

    def _hear_given(self, line: Line) -> None:
        if line.entry_id is not None and line.size is not None:
            self._sizes[line.consumer, line.entry_id] = line.size

    def _hear_command(self, line: Line) -> None:
        consumer = self.scene.consumer(line.consumer)
        most = None if consumer.config is None else consumer.config.max_in_flight_bytes
        if most is None or line.detail not in {"read", "take_over"}:
            return
        held = sum(self._sizes.get((line.consumer, it), 0) for it in consumer.held.values())
        if held >= most:
            self.broken(f"{line.consumer} holds {held} bytes of {most}, and asks for more", line)
