"""Every public coroutine, cancelled at its n-th checkpoint until it finishes by itself.

Afterwards the connection works and owes no reply; no task, connection, process or consumer is
left; what is pending for us on the server is what we know; and it happened, or it did not.

In memory each is cancelled in every way. On a server too with ``--hypothesis-profile=thorough``;
else in two: whatever task makes a step, and at its own checkpoints in a way that rows take in turn.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import trio_bus
from tests.cancellation_rows import ROWS, Row, Where
from tests.cutting import Cut, Way, sweep
from tests.profiles import times
from tests.stage import Stage, open_stage
from trio_bus._backend import GroupMember, StreamBackend
from trio_bus._memory.member import MemoryMember
from trio_bus._redis.member import RedisMember

pytestmark = [pytest.mark.any_server, pytest.mark.any_python]

ANYWHERE = [row for row in ROWS if row.where is Where.ANYWHERE]
ON_SERVERS = [row for row in ROWS if row.where is not Where.EMBEDDED]
OWN_WAYS = [way for way in Way if way is not Way.ANYBODY]
EMBEDDED = [row for row in ROWS if row.where is Where.EMBEDDED]
# Both backends are called by the names of the contract.
CLASSES: dict[type[object], str] = {
    trio_bus.MemoryBackend: "StreamBackend",
    trio_bus.RedisBackend: "StreamBackend",
    StreamBackend: "StreamBackend",
    GroupMember: "GroupMember",
    MemoryMember: "GroupMember",
    RedisMember: "GroupMember",
}


def test_every_public_coroutine_is_swept() -> None:
    """A new one fails here, by its name, until `cancellation_rows` has a row for it."""
    covered = {name for row in ROWS for name in row.covers}
    there = set(public_coroutines())
    assert there - covered == set(), "no row covers these"
    assert covered - there == set(), "these are covered and do not exist"
    assert len(there) > 30


def public_coroutines() -> Iterator[str]:
    """Name every public function and method that is async, or returns an async block."""
    for public in trio_bus.__all__:
        value: object = getattr(trio_bus, public)
        if inspect.isclass(value):
            CLASSES.setdefault(value, public)
        elif waits(value):
            yield public
    for kind, name in CLASSES.items():
        for part, value in inspect.getmembers(kind):
            if waits(value) and (not part.startswith("_") or part.startswith("__a")):
                yield f"{name}.{part}"


def waits(value: object) -> bool:
    """Say whether calling this gives something to await, or a block to enter with ``async``."""
    if not inspect.isroutine(value):
        return False
    returned = str(getattr(value, "__annotations__", {}).get("return", ""))
    return inspect.iscoroutinefunction(value) or "Async" in returned or "Awaitable" in returned


@pytest.mark.parametrize("row", ANYWHERE, ids=str)
async def test_cancelled_at_any_checkpoint_on_memory(autojump_clock: MockClock, row: Row) -> None:
    async with open_stage("memory:") as stage:
        await sweep_row(stage, row)


@pytest.mark.bulk
@pytest.mark.parametrize("row", ON_SERVERS, ids=str)
@pytest.mark.guards("a shield is missing")
async def test_cancelled_at_any_checkpoint_on_a_server(server_url: str, row: Row) -> None:
    own = OWN_WAYS[ON_SERVERS.index(row) % len(OWN_WAYS)]
    async with open_stage(server_url) as stage:
        await sweep_row(stage, row, Way if times() > 1 else (own, Way.ANYBODY))


@pytest.mark.parametrize("row", EMBEDDED, ids=str)
async def test_cancelled_at_any_checkpoint_an_embedded_server_ends(
    leak_guard: Path, row: Row
) -> None:
    """In one way only: each try starts a server."""
    async with open_stage("memory:", leak_guard) as stage:
        await sweep_row(stage, row, [Way.SCOPE])


async def sweep_row(stage: Stage, row: Row, ways: Iterable[Way] = Way) -> None:
    """Run one row at every checkpoint, each time with a topic of its own."""
    await trio.testing.wait_all_tasks_blocked()
    base = await stage.base_line()

    async def once(cut: Cut) -> None:
        await stage.next_topic()
        await row.run(stage, cut)
        await stage.check(base)

    assert await sweep(once, ways) > 3
