"""How long others are left alone after this process stood still."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .pulse import Pulse


class Respite:
    """One tick after each gap: whoever stood still with us has to be able to renew first.

    Where gaps follow each other, because the loop is blocked again and again, the first counts.
    """

    def __init__(self, pulse: Pulse, tick: float) -> None:
        self._pulse = pulse
        self._tick = tick
        self._until = -math.inf
        self._is_due = False

    def left(self) -> float:
        """Say how many seconds are left of it; at most 0 when it is over, and then until a gap."""
        if not self._is_due:
            self._until = self._pulse.gap_ended + self._tick
        left = self._until - trio.current_time()
        self._is_due = left > 0
        return left
