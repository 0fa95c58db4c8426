"""Which entries may kill the process that handles them."""

from __future__ import annotations

_STARTS_BESIDE_OTHERS = 2
"""Whoever lost its owner that often may be an innocent: it ran beside others each time."""


def suspicious_from(max_attempt: int) -> int:
    """Return with how many counts an entry that lost its owner becomes a suspect.

    Early enough for one start alone, where there is a retry at all. Without one there is no
    suspect: what lost its owner is over the limit.
    """
    return max(1, min(_STARTS_BESIDE_OTHERS, max_attempt - 1))
