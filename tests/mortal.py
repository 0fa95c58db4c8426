"""Processes that die without a word, on streams in this one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from tests.faults import FlakyBackend, Plan
from tests.harness import Recorder
from trio_bus import Bus, BusOptions, ConnectionLost, MemoryBackend

T = TypeVar("T")


@attrs.define
class _Pulse(Plan):
    """Lets everything happen until it is over, and nothing afterwards."""

    beats: bool = True

    async def run(self, operation: str, act: Callable[[], Awaitable[T]]) -> T:
        """Run it, unless we are dead."""
        if not self.beats:
            await trio.lowlevel.checkpoint()
            raise ConnectionLost("the dead do not speak")
        return await super().run(operation, act)


class MortalProcess:
    """What one process has: a bus, and a life.

    Whoever dies reaches the server no more, whatever its tasks still try while they end.
    """

    def __init__(self, streams: MemoryBackend) -> None:
        self._pulse = _Pulse()
        self._scope = trio.CancelScope()
        self.recorder = Recorder()
        options = BusOptions(observer=self.recorder)
        self.bus = Bus(FlakyBackend(self._pulse, streams), options)

    async def live(self, life: Callable[[MortalProcess], Awaitable[None]]) -> bool:
        """Run it; say whether it was ended by `die`."""
        with self._scope:
            await life(self)
        return not self._pulse.beats

    def die(self) -> None:
        """End the process as SIGKILL does."""
        self._pulse.beats = False
        self._scope.cancel("killed")
