"""What a measuring program is asked, and what it answers."""

from __future__ import annotations

import attrs

from .works import Work

Figures = dict[str, float]
"""What was measured, by name: see `figures`."""


@attrs.frozen
class Order:
    """A work to do, on a topic that nobody else uses."""

    url: str
    topic: str
    work: Work

    def payload(self, number: int = 0) -> bytes:
        """Return what is published: text, because some can send nothing else."""
        return (b"%08d" % number).ljust(self.work.size, b"x")[: self.work.size]


def number_of(payload: bytes) -> int:
    """Return the number that a payload was made with: it has at least 8 bytes."""
    return int(payload[:8])


@attrs.frozen
class Answer:
    """What was measured, or why it could not be."""

    figures: Figures = attrs.field(factory=dict[str, float])
    error: str = ""
