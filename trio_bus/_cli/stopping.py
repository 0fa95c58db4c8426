"""Ending on Ctrl-C and SIGTERM by cancellation, so that everything is left in order."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from trio_bus._one_error import one_error

from .failing import ended_by


@attrs.define(eq=False)
class Stop:
    """Ends a block when a signal comes."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    signal: int | None = None
    """The first signal that came, or None."""

    @property
    def exit_code(self) -> int:
        """How shells report an end by this signal; 0 if none came."""
        return 0 if self.signal is None else ended_by(self.signal)

    def end(self, number: int) -> None:
        """End the block because of this signal, unless one came before."""
        if self.signal is None:
            self.signal = number
            self.scope.cancel(f"signal {number}")


@asynccontextmanager
async def stopped_by_signals() -> AsyncGenerator[Stop]:
    """Cancel the block on SIGINT, SIGTERM and, unless it is ignored, SIGHUP.

    Leaving takes as long as what is in the block needs to end; further signals change nothing.
    """
    with trio.open_signal_receiver(*_signals()) as signals, one_error():
        async with trio.open_nursery() as nursery:
            stop = Stop()
            nursery.start_soon(_watch, signals, stop)
            with stop.scope:
                yield stop
            nursery.cancel_scope.cancel("there is nothing left to stop")


def _signals() -> list[signal.Signals]:
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


async def _watch(signals: AsyncIterator[int], stop: Stop) -> None:
    async for number in signals:
        stop.end(number)
