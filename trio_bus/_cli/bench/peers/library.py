"""What is asked of a library that is measured, on whatever event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs

from trio_bus._cli.bench.order import Figures, Order

GROUP = "bench"

Handle = Callable[[Sequence[bytes]], Awaitable[None]]
"""It is called with the payloads of one delivery: one, unless batches are handled."""

Opened = AbstractAsyncContextManager["Library"]


class Library(Protocol):
    """A library with a connection to the server, for one topic."""

    @property
    def stream(self) -> str:
        """The key where the server keeps what was published."""
        ...

    @property
    def group(self) -> str:
        """The group that consumes it."""
        ...

    async def publish(self, payload: bytes, /) -> None:
        """Publish one message, and wait until it is stored."""
        ...

    async def publish_many(self, payloads: Sequence[bytes], /) -> None:
        """Do that with many in one step, where the library has such a thing."""
        ...

    def consuming(
        self, width: int, batch: int, handle: Handle, /
    ) -> AbstractAsyncContextManager[None]:
        """Consume and ack inside the block, *width* at a time or *batch* in one call.

        All that was published is consumed, also what was published before.
        """
        ...


class Event(Protocol):
    """Something that happens once."""

    def set(self) -> object:
        """Let it happen."""
        ...

    async def wait(self) -> object:
        """Wait until it has happened."""
        ...


@attrs.frozen(kw_only=True)
class Loop:
    """An event loop."""

    run: Callable[[Callable[[], Awaitable[Figures]]], Figures]
    event: Callable[[], Event]
    sleep: Callable[[float], Awaitable[None]]
    together: Callable[[Sequence[Callable[[], Awaitable[None]]]], Awaitable[None]]
    """Calls all at the same time, and waits for them."""
    at_rate: Callable[[float, int, Callable[[int], Awaitable[None]]], Awaitable[None]]
    """Calls something with a number so many times per second; see `pacing`."""
    in_time: Callable[[Awaitable[object]], Awaitable[None]]
    """Waits for something, and raises `TimeoutError` if it takes far too long."""


Open = Callable[[Order], Opened]
