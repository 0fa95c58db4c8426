"""Processes that die without a word, on streams in this one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from tests.harness import Recorder
from trio_bus import Bus, BusOptions, ConnectionLost, MemoryBackend
from trio_bus.testing import FaultyBackend

T = TypeVar("T")


class _MortalBackend(FaultyBackend[MemoryBackend]):
    """Lets everything happen until its process is dead, and nothing afterwards."""

    is_alive = True

    async def run(
        self,
        name: str,
        act: Callable[[], Awaitable[T]],
        half: Callable[[], Awaitable[T]] | None = None,
    ) -> T:
        """Do it, unless we are dead."""
        if not self.is_alive:
            await trio.lowlevel.checkpoint()
            raise ConnectionLost("the dead do not speak")
        return await super().run(name, act, half)


class MortalProcess:
    """What one process has: a bus, and a life.

    Whoever dies reaches the server no more, whatever its tasks still try while they end.
    """

    def __init__(self, streams: MemoryBackend) -> None:
        self._backend = _MortalBackend(streams)
        self._scope = trio.CancelScope()
        self.recorder = Recorder()
        options = BusOptions(observer=self.recorder)
        self.bus = Bus(self._backend, options)

    async def live(self, life: Callable[[MortalProcess], Awaitable[None]]) -> bool:
        """Run it; say whether it was ended by `die`."""
        with self._scope:
            await life(self)
        return not self._backend.is_alive

    def die(self) -> None:
        """End the process as SIGKILL does."""
        self._backend.is_alive = False
        self._scope.cancel("killed")
