"""How long the end of something may wait for a server that does not answer."""

from __future__ import annotations

LONGEST_PARTING = 10.0
"""Seconds: also where commands may take for ever."""


def parting(command_timeout: float) -> float:
    """Return how many seconds whoever leaves waits for one last answer."""
    return min(command_timeout, LONGEST_PARTING)
