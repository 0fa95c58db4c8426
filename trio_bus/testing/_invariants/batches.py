"""Invariant 16: a batch keeps its order."""

from __future__ import annotations

from trio_bus.testing._line import Line, What

from .rule import Ears, Rule
from .scene import Scene


class Batches(Rule):
    """Order in the stream is order in the list, for what was published together.

    The results are told in the order of the list, so their ids grow. (A message with an
    idempotency key may have been stored earlier.)
    """

    number = 16
    name = "batches"
    seen_by = "the results of publishing"
    weakened_by = "nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._latest: dict[tuple[str, int], Line] = {}

    def hears(self) -> Ears:
        """Listen to results."""
        return {What.PUBLISHED: self._hear_published}

    def _hear_published(self, line: Line) -> None:
        if line.batch is None or line.entry_id is None or line.detail == "once":
            return
        earlier = self._latest.get((line.topic, line.batch))
        if earlier is not None and not line.entry_id > (earlier.entry_id or line.entry_id):
            words = f"{line.label!r} stands behind {earlier.label!r} in its batch"
            self.broken(f"{words}, and not in the stream ({earlier.entry_id})", line)
        self._latest[line.topic, line.batch] = line
