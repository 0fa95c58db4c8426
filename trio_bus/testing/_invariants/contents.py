"""A promise about messages: what is published with one arrives with it."""

from __future__ import annotations

from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, each
from .scene import Scene


class Contents(Rule):
    """A message arrives with the headers that it was published with.

    Its own, and those of the ``metadata`` of its `PublishOptions`, at every start of every group.
    """

    number = 0
    name = "contents"
    seen_by = "publishes, and starts of handlers with the headers of their message"
    weakened_by = "nothing; every message of a run needs a label of its own"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: dict[tuple[str, str], Line] = {}

    def hears(self) -> Ears:
        """Listen to publishes, and to starts of handlers."""
        sent = (What.PUBLISHING, What.SCHEDULING)
        return {**each(sent, self._hear_sent), What.STARTED: self._hear_started}

    def _hear_sent(self, line: Line) -> None:
        self._sent[line.topic, line.label] = line

    def _hear_started(self, line: Line) -> None:
        sent = self._sent.get((line.topic, line.label))
        missing = [] if sent is None else [it for it in sent.headers if it not in line.headers]
        if missing:
            words = ", ".join(f"{name} = {value!r}" for name, value in missing)
            self.broken(f"{line.label!r} arrives without what it was published with: {words}", line)
