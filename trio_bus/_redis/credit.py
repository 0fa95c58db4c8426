"""How much may be queued and owed at a time: the end of an unbounded buffer."""

from __future__ import annotations

from collections import deque

import attrs
import trio


@attrs.define(eq=False)
class _Waiting:
    commands: int
    size: int
    granted: trio.Event = attrs.field(factory=trio.Event, init=False)


class Credit:
    """A window of commands and of bytes. First come, first served.

    A request that is larger than the window passes when nothing else holds credit.
    """

    def __init__(self, commands: int, size: int) -> None:
        self._most, self._largest = commands, size
        self._commands = 0
        self._size = 0
        self._waiting: deque[_Waiting] = deque()

    @property
    def held(self) -> tuple[int, int]:
        """How many commands and bytes are queued or owed now."""
        return self._commands, self._size

    async def acquire(self, commands: int, size: int) -> None:
        """Wait for room and take it; no checkpoint while there is room."""
        if self.take_if_free(commands, size):
            return
        waiting = _Waiting(commands, size)
        self._waiting.append(waiting)
        try:
            await waiting.granted.wait()
        except BaseException:
            # It may have been granted in the moment between the cancel and this.
            if waiting.granted.is_set():
                self.release(commands, size)
            else:
                self._waiting.remove(waiting)
                self._grant()  # it may have held up a smaller one behind it
            raise

    def release(self, commands: int, size: int) -> None:
        """Give back what was acquired, and let in who fits now."""
        self._commands -= commands
        self._size -= size
        if self._waiting:
            self._grant()

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0].commands, self._waiting[0].size):
            first = self._waiting.popleft()
            self.take(first.commands, first.size)
            first.granted.set()

    def take_if_free(self, commands: int, size: int) -> bool:
        """Take it if there is room and nobody waits for some; say whether it was taken."""
        # As `_fits` and `take` do it: every command comes here.
        if self._waiting:
            return False
        all_commands, all_bytes = self._commands + commands, self._size + size
        if self._commands and (all_commands > self._most or all_bytes > self._largest):
            return False
        self._commands, self._size = all_commands, all_bytes
        return True

    def take(self, commands: int, size: int) -> None:
        """Take it, whether there is room or not."""
        self._commands += commands
        self._size += size

    def _fits(self, commands: int, size: int) -> bool:
        if self._commands == 0:
            return True
        fits = self._commands + commands <= self._most
        return fits and self._size + size <= self._largest
