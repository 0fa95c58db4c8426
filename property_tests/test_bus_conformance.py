"""The bus keeps its promises on every backend: random programs, and the public suites."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from trio_bus import MemoryBackend
from trio_bus.testing._bus_conformance import bus_conformance


@asynccontextmanager
async def open_memory() -> AsyncGenerator[MemoryBackend]:
    """Open an empty backend."""
    yield MemoryBackend()


TestMemory = bus_conformance(open_memory, virtual_time=True)
