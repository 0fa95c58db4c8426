"""What the processes of ``trio-bus simulate`` tell each other: lines of JSON."""

from __future__ import annotations

import attrs


@attrs.frozen
class Order:
    """Seeds of one scenario to run."""

    scenario: str
    first_seed: int
    count: int


@attrs.frozen
class Answer:
    """How many of them ran, and the story of the one that failed, if there is one."""

    runs: int
    seconds: float
    """Of virtual time."""
    story: str = ""
