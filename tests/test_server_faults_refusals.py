"""Real servers that refuse for a while, under load: all is waited out, and done once."""

# pyright: reportPrivateUsage=false
# Whether something may have strayed, only the inside knows.

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

from tests.load import TOPIC, Load, Plan, loaded
from tests.node import Node, node
from tests.redis_world import US, joined, opened, until_blocked
from trio_bus import Scope
from trio_bus._dead_letter import dead_letter_of
from trio_bus._redis.replies import read_entries
from trio_bus._redis.resp import ErrorReply

pytestmark = [pytest.mark.long, pytest.mark.every_server]

Fault = Callable[[Node], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def read_only(server: Node) -> AsyncGenerator[None]:
    """Make it a replica of nobody: it answers what only reads."""
    await server.do("REPLICAOF", "127.0.0.1", 1)
    yield
    await server.do("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def master_down(server: Node) -> AsyncGenerator[None]:
    """Make it a replica of nobody that answers nothing."""
    await server.do("CONFIG", "SET", "replica-serve-stale-data", "no")
    async with read_only(server):
        yield


@asynccontextmanager
async def without_replicas(server: Node) -> AsyncGenerator[None]:
    """Let it want a replica that it does not have."""
    await server.do("CONFIG", "SET", "min-replicas-to-write", 1)
    yield
    await server.do("CONFIG", "SET", "min-replicas-to-write", 0)


@asynccontextmanager
async def without_disk(server: Node) -> AsyncGenerator[None]:
    """Stand in the way of its snapshots."""
    obstacle = server.directory / "dump.rdb"
    (obstacle / "x").mkdir(parents=True)
    await server.do("CONFIG", "SET", "save", "3600 1000000")
    await _snapshot(server, "err")
    yield
    shutil.rmtree(obstacle)
    await _snapshot(server, "ok")


async def _snapshot(server: Node, outcome: str) -> None:
    await server.do("BGSAVE")
    with trio.fail_after(10):
        while await server.info("persistence", "rdb_last_bgsave_status") != outcome:
            await trio.sleep(0.02)


@asynccontextmanager
async def busy(server: Node) -> AsyncGenerator[None]:
    """Let it run a script that does not end."""
    await server.do("CONFIG", "SET", "lua-time-limit", 50)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.ask, "EVAL", "while true do end", 0)
        yield
        await server.do("SCRIPT", "KILL")


@asynccontextmanager
async def full(server: Node) -> AsyncGenerator[None]:
    """Let it have no memory left."""
    await server.do("CONFIG", "SET", "maxmemory", 1)
    yield
    await server.do("CONFIG", "SET", "maxmemory", 0)


REFUSALS: dict[str, Fault] = {
    "READONLY": read_only,
    "MASTERDOWN": master_down,
    "NOREPLICAS": without_replicas,
    "MISCONF": without_disk,
    "BUSY": busy,
}


@pytest.mark.bulk
@pytest.mark.parametrize("code", REFUSALS)
async def test_a_server_that_refuses_for_a_while_is_waited_for(server_kind: str, code: str) -> None:
    """Publishers wait, and so do reads, claims and settlements; then all go on."""
    async with node(server_kind) as server, loaded(server) as load:
        before = await load.commands()
        async with REFUSALS[code](server):
            # A replica says READONLY to what writes, whatever else is the matter.
            refusal = "READONLY" if code == "MASTERDOWN" else code
            await _until_refused(load, refusal)
            await trio.sleep(1.5)
            assert any(refusal in str(event.error) for event in load.recorder.errors)
        await load.more(50)
        stored = await load.settle()
        load.check_kept(stored)
        assert not load.refused, "each was published in the end"
        load.check_once()
        load.check_calm(await load.commands() - before)


async def _until_refused(load: Load, code: str) -> None:
    with trio.fail_after(20):
        while code not in load.refusals:
            await trio.sleep(0.01)


async def test_a_server_without_memory_still_serves_consumers(server_kind: str) -> None:
    """What is there is handled; what has to be moved waits, and that is no attempt."""
    plan = Plan(groups={"billing": 3}, timeout=20.0)
    async with node(server_kind) as server, loaded(server, plan) as load:
        before = await load.commands()
        await load.more(50)
        await load.fall_behind(200)  # more than is held: it has to be read
        load.rejecting = True
        async with full(server):
            await _until_refused(load, "OOM")
            load.gate.set()
            await load.more(150)
            await trio.sleep(1)
            codes = {str(error).partition(" ")[0] for error in load.heard(Scope.SETTLE)}
            assert codes == {"OOM"}
            assert not load.heard(Scope.READ)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm(await load.commands() - before)
        dead = await server.do("XRANGE", f"{TOPIC}.dead", "-", "+")
        attempts = [
            letter.attempts
            for entry in read_entries([[b"dead", dead]])
            if (letter := dead_letter_of(entry.record)) is not None
        ]
        assert set(attempts) == {1}
        assert len(attempts) == load.rejected


async def test_a_server_that_loads_its_data_is_waited_for(server_kind: str) -> None:
    """It takes connections, and refuses commands until it is ready."""
    async with node(server_kind) as server, loaded(server) as load:
        # It looks at its clients each 2 MB: with a millisecond for each key, four times a second.
        fill = "for n = 1, 1500 do redis.call('SET', n, string.rep('x', 8192)) end"
        await server.do("CONFIG", "SET", "rdbcompression", "no")
        await server.do("EVAL", fill, 0)
        await server.do("BGREWRITEAOF")
        while await server.info("persistence", "aof_rewrite_in_progress") != "0":
            await trio.sleep(0.01)
        server.kill()
        server.launch("--key-load-delay", "1000")
        refusals = 0
        with trio.fail_after(20):
            while not await server.answers():
                refusals += await _loads(server)
                await trio.sleep(0.02)
        assert refusals > 2, "it was quick"
        await load.more(50)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm()
        assert any("LOADING" in str(event.error) for event in load.recorder.errors)


async def _loads(server: Node) -> bool:
    try:
        reply = await server.ask("PING")
    except (OSError, EOFError, trio.BrokenResourceError):
        return False
    return isinstance(reply, ErrorReply) and reply.code == "LOADING"


async def test_scripts_that_are_flushed_all_the_time_are_sent_again(server_kind: str) -> None:
    """Nobody is told of an error, since none happened."""
    async with node(server_kind) as server, loaded(server, Plan(timeout=20.0)) as load:
        before = await load.commands()
        for _ in range(40):
            await server.do("SCRIPT", "FLUSH")
            await trio.sleep(0.05)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm(await load.commands() - before)
        assert not load.recorder.errors


async def test_a_server_that_holds_writes_back_is_a_slow_one(server_kind: str) -> None:
    """For longer than the command timeout: connections are given up; nothing is lost."""
    async with node(server_kind) as server, loaded(server) as load:
        await server.do("CLIENT", "PAUSE", 2000, "WRITE")
        await trio.sleep(2)
        await load.more(50)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm()
        assert load.unknown


async def test_a_read_that_a_busy_server_did_not_end_is_ended_later(server_kind: str) -> None:
    """Told to end it, the server refuses for now: it is told again, until it has."""
    async with node(server_kind) as server, opened(server.url) as backend:
        scope, ended = trio.CancelScope(), trio.Event()
        async with joined(backend, US) as us, trio.open_nursery() as nursery:

            async def read() -> None:
                with scope:
                    await us.read(1, 60)
                ended.set()

            nursery.start_soon(read)
            await until_blocked(backend)
            async with busy(server):
                await trio.sleep(0.2)
                scope.cancel()
                await trio.sleep(0.3)
                assert not ended.is_set()
            with trio.fail_after(10):
                await ended.wait()
            assert not us._holdings.is_suspected
