"""Both backends keep the contract: random programs, judged by the pure streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
from hypothesis import Phase, settings

from tests.profiles import times
from tests.redis_world import command, options
from trio_bus import EntryId, MemoryBackend, RedisBackend, open_redis
from trio_bus.abc import GroupMember, StreamBackend
from trio_bus.testing import backend_conformance

pytestmark = pytest.mark.every_server

LAST = 2**64 - 1
PROGRAMS = 320 * times()
MEMORY = settings(max_examples=PROGRAMS, stateful_step_count=28, deadline=None)
# A program that fails on a server is not made shorter: time is real there.
REAL = settings(
    max_examples=12 * times(), stateful_step_count=40, deadline=None, phases=[Phase.generate]
)

OPERATIONS = (StreamBackend.__abstractmethods__ | GroupMember.__abstractmethods__) - {"url"}
"""What the suite has to call, besides a property that says where the backend is."""


@asynccontextmanager
async def open_memory() -> AsyncGenerator[StreamBackend]:
    yield MemoryBackend()


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

    async def use_up(self, topic: str) -> None:
        await command(self.backend, "XADD", topic, f"{LAST}-{LAST}", "last", "of all")


def operator(backend: StreamBackend) -> Operator:
    assert isinstance(backend, RedisBackend)
    return Operator(backend)


@pytest.mark.bulk
def test_memory(record_property: Callable[[str, object], None]) -> None:
    """In virtual time, every operation of the contract, thousands of times in all."""
    case = backend_conformance(open_memory, virtual_time=True)
    case.settings = MEMORY
    case("runTest").debug()
    record_property("measured", str(case.tally))
    assert case.tally.programs >= PROGRAMS
    assert case.tally.given_up.total() <= PROGRAMS // 10
    assert set(case.tally.operations) == OPERATIONS


@pytest.mark.long
@pytest.mark.bulk
def test_servers(server_url: str, record_property: Callable[[str, object], None]) -> None:
    """In real time, how much depends on the machine: few programs, and all kinds of them."""
    case = backend_conformance(partial(open_redis, server_url, options()), administrator=operator)
    case.settings = REAL
    case("runTest").debug()
    record_property("measured", str(case.tally))
