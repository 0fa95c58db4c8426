"""A faulty backend on memory, which also says that it has a disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from trio_bus import ConnectionLost, EntryId, MemoryBackend
from trio_bus.abc import Append, StreamBackend
from trio_bus.testing import FaultyBackend


class Persisting(MemoryBackend):
    """Appends as if what it has were on disk at once."""

    __slots__ = ()

    async def append_persisted(
        self,
        appends: Sequence[Append],
        replicas: int,  # noqa: ARG002 - all of them have it
    ) -> list[EntryId | Exception]:
        """Append."""
        return [(await self.append(it.topic, [it.record], [it.once]))[0] for it in appends]


class FlakyBackend(FaultyBackend[MemoryBackend]):
    """What the fixture ``flaky`` is."""

    def __init__(self, inner: MemoryBackend | None = None) -> None:
        super().__init__(Persisting() if inner is None else inner)


@asynccontextmanager
async def open_faulty() -> AsyncGenerator[FaultyBackend[MemoryBackend]]:
    """Open an empty one."""
    yield FaultyBackend(MemoryBackend())


def cut_for_good(operation: str) -> Callable[[StreamBackend], None]:
    """Return what ends the connections of such a backend; for *operation* none comes back."""

    def disconnect(backend: StreamBackend) -> None:
        assert isinstance(backend, FaultyBackend)
        backend.fail(operation, *[ConnectionLost("cut") for _ in range(1000)])

    return disconnect
