"""Both backends keep the contract: random programs, judged by the pure streams."""

from __future__ import annotations

import unittest
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import attrs
from hypothesis import Phase, settings

from tests.redis_world import command, options
from trio_bus import EntryId, MemoryBackend, RedisBackend, open_redis
from trio_bus.abc import StreamBackend
from trio_bus.testing._backend_conformance import backend_conformance

REAL = settings(max_examples=25, stateful_step_count=40, deadline=None, phases=[Phase.generate])


@asynccontextmanager
async def open_memory() -> AsyncGenerator[StreamBackend]:
    yield MemoryBackend()


TestMemory = backend_conformance(open_memory, virtual_time=True)
TestMemory.settings = settings(max_examples=500, stateful_step_count=50, deadline=None)


@attrs.frozen
class Operator:
    """Removes what is on a server, with its commands."""

    backend: RedisBackend

    async def delete_entry(self, topic: str, entry_id: EntryId) -> None:
        await command(self.backend, "XDEL", topic, str(entry_id))

    async def trim(self, topic: str, max_length: int) -> None:
        await command(self.backend, "XTRIM", topic, "MAXLEN", "=", max_length)

    async def destroy_group(self, topic: str, group: str) -> None:
        await command(self.backend, "XGROUP", "DESTROY", topic, group)

    async def delete_topic(self, topic: str) -> None:
        await command(self.backend, "DEL", topic)


def operator(backend: StreamBackend) -> Operator:
    assert isinstance(backend, RedisBackend)
    return Operator(backend)


def run(case: type[unittest.TestCase]) -> None:
    """Run a test case; raise what it raises."""
    case("runTest").debug()


def test_servers(server_url: str) -> None:
    open_server = partial(open_redis, server_url, options())
    case = backend_conformance(open_server, administrator=operator)
    case.settings = REAL
    run(case)
