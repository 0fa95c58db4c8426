"""How long free permits wait for others, so that reads bring many entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .permits import Permits

LONGEST = 0.005
"""Seconds that a free permit waits for company at most."""

PART = 4
"""A read is worth its round trip when that part of all permits is free."""

ALONE = 10
"""Reads that do not wait after one that waited in vain: what runs takes long."""


class Company:
    """Lets a busy subscription read batches, not single entries.

    It is busy while reads bring as much as they ask for. Where nothing more is there, a read takes
    all permits and waits on the server, so that whatever comes is read at once.
    """

    def __init__(self, permits: Permits, max_in_flight: int) -> None:
        self._permits = permits
        self._enough = max(1, max_in_flight // PART)
        self._busy = False
        self._alone = 0

    async def wait(self) -> None:
        """Wait before a read, if that is any use; no checkpoint where it is none."""
        if not self._busy or self._enough == 1:
            return
        if self._alone > 0:
            self._alone -= 1
        elif await self._permits.wait_company(self._enough, LONGEST) == 1:
            self._alone = ALONE

    def came(self, asked: int, brought: int) -> None:
        """Hear what a read asked for and brought."""
        self._busy = brought == asked
