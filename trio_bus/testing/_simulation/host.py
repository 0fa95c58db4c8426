"""The machine with the server, and what happens to all who are connected to it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import trio

from trio_bus._memory import MemoryBackend

if TYPE_CHECKING:
    from .wire import Wire


class Host:
    """One server, the wires that lead to it, and whether all is well by now."""

    def __init__(self, wall_start: datetime) -> None:
        self.streams: MemoryBackend = MemoryBackend(wall_start=wall_start)
        self.is_down = False
        self.healed: trio.Event = trio.Event()
        """Set when the faults are over; what is slow ends then."""
        self.wires: dict[str, Wire] = {}
        """By the place of the process."""

    def stop(self) -> None:
        """Lose every connection, and accept none until `start`."""
        self.is_down = True
        for wire in self.wires.values():
            wire.cut()

    def start(self) -> None:
        """Accept connections again."""
        self.is_down = False

    def heal(self) -> None:
        """End every fault."""
        self.start()
        self.healed.set()
        for wire in self.wires.values():
            wire.heal()

    async def linger(self, seconds: float) -> None:
        """Let so much time pass, unless the faults are over before."""
        with trio.move_on_after(seconds):
            await self.healed.wait()
