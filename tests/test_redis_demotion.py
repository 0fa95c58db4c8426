"""A server that was the primary and is a replica now: its connections are given up, calmly."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.redis_world import US, command, joined, publish
from tests.servers import command as inline
from trio_bus._errors import BusError, ConnectionLost, OutcomeUnknown, RemoteError
from trio_bus._redis import RedisBackend
from trio_bus._redis.connecting import Server, Session, Wire
from trio_bus._redis.credit import Credit
from trio_bus._redis.link import Link
from trio_bus._redis.pipeline import Pipeline
from trio_bus._redis.resp import ErrorReply, Parser, Reply

pytestmark = pytest.mark.every_server

DEMOTED = [
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't.",
]


@attrs.define
class FakeServer:
    """Accepts every connection, and answers every command alike."""

    nursery: trio.Nursery
    answer: bytes = b"+OK\r\n"
    run_id: str = "one"
    connects: list[float] = attrs.field(factory=list[float])

    async def connect(self, _: float) -> Session:
        """Give a session, as `connecting.connect` does."""
        await trio.lowlevel.checkpoint()
        self.connects.append(trio.current_time())
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._talk, theirs)
        return Session(Wire(ours), Server("fake", (9, 0), len(self.connects), self.run_id))

    async def _talk(self, stream: trio.abc.Stream) -> None:
        parser = Parser()
        async for data in stream:
            for _ in parser.feed(bytes(data)):
                await stream.send_all(self.answer)


@asynccontextmanager
async def linked(
    answer: bytes = b"+OK\r\n", heard: list[BusError] | None = None
) -> AsyncGenerator[tuple[Link, FakeServer]]:
    """Give a link to such a server."""
    errors: list[BusError] = [] if heard is None else heard
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery, answer)
        link = Link(
            server.connect,
            await server.connect(1),
            connect_timeout=1,
            command_timeout=10,
            on_error=errors.append,
            on_back=lambda: None,
        )
        nursery.start_soon(link.serve)
        try:
            yield link, server
        finally:
            link.close()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("text", DEMOTED)
async def test_what_a_replica_owes_still_comes_and_nothing_more_is_asked(text: str) -> None:
    """The refused caller knows that it did not happen, the others get their own answers."""
    ours, theirs = memory_stream_pair()
    session = Session(Wire(ours), Server("fake", (9, 0), 1, None))
    pipeline = Pipeline(session, command_timeout=5, credit=Credit(100, 10_000))
    got: dict[str, Reply | BusError] = {}

    async def call(word: str) -> None:
        try:
            got[word] = await pipeline.call("SAY", word)
        except BusError as error:
            got[word] = error

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.serve)
            for word in ("one", "two", "three"):
                nursery.start_soon(call, word)
                await trio.testing.wait_all_tasks_blocked()
            await theirs.send_all(f"+1\r\n-{text}\r\n".encode())
            await trio.testing.wait_all_tasks_blocked()
            assert not pipeline.is_open
            assert not pipeline.ended.is_set()
            await call("four")
            await theirs.send_all(b"+3\r\n")
            await pipeline.ended.wait()
    assert (got["one"], got["two"], got["three"]) == (b"1", ErrorReply(text), b"3")
    assert type(got["four"]) is ConnectionLost
    assert isinstance(pipeline.failure, RemoteError)
    assert pipeline.failure.code in {"READONLY", "MASTERDOWN"}


async def test_what_a_replica_owes_is_lost_with_it() -> None:
    """It answers one and hangs up: the other one is told that nobody knows."""
    ours, theirs = memory_stream_pair()
    session = Session(Wire(ours), Server("fake", (9, 0), 1, None))
    pipeline = Pipeline(session, command_timeout=5, credit=Credit(100, 10_000))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.serve)

            async def call() -> None:
                with pytest.raises(OutcomeUnknown):
                    await pipeline.call_many([("ONE",), ("TWO",)])

            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            await theirs.send_all(f"-{DEMOTED[0]}\r\n".encode())
            await theirs.aclose()
            await pipeline.ended.wait()


async def test_a_server_that_stays_a_replica_is_asked_ever_less_often(
    autojump_clock: MockClock,
) -> None:
    """Each connect succeeds, and is no progress: full jitter up to 5 s. It heals by itself."""
    seen: Counter[str] = Counter()
    heard: list[BusError] = []
    async with linked(f"-{DEMOTED[0]}\r\n".encode(), heard) as (link, server):
        while trio.current_time() < 200:
            try:
                reply = await link.call("XADD")
            except ConnectionLost as error:
                seen[type(error).__name__] += 1
            else:
                assert isinstance(reply, ErrorReply)
                seen[reply.code] += 1
        pauses = [later - sooner for sooner, later in pairwise(server.connects)]
        assert 40 < len(server.connects) < 240
        assert max(pauses[:3]) < 1, "a failover that is over soon is survived soon"
        assert min(pauses[10:]) < 2 < max(pauses[10:]) <= 5.1, "jitter, and its cap"
        assert set(seen) == {"READONLY"}, "it never leaves anybody in doubt"
        assert len(heard) in {len(server.connects) - 1, len(server.connects)}
        server.answer = b"+OK\r\n"
        assert await link.call("XADD") == b"OK"


async def test_a_reader_that_meets_a_replica_takes_the_command_connection_along(
    backend: RedisBackend,
) -> None:
    """A consumer that holds nothing writes by reading alone. Back with the primary it goes on."""
    async with joined(backend, US) as us:
        assert await us.read(1, 0.01) == []
        control = backend._link.current
        assert control is not None
        await command(backend, "REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(RemoteError, match="READONLY"):
                await us.read(1, 1)
            await control.ended.wait()
        finally:
            assert inline(backend.url, "REPLICAOF NO ONE") == "+OK"
        (entry_id,) = await publish(backend, 1)
        assert backend._link.current is not control
        assert [entry.id for entry in await us.read(1, 1)] == [entry_id]


@pytest.mark.parametrize(("reader_at", "goes"), [("one", True), ("two", False)])
async def test_a_replica_elsewhere_says_nothing_about_the_command_connection(
    autojump_clock: MockClock, reader_at: str, *, goes: bool
) -> None:
    """Readers that are late to notice do not end a connection that leads to the new primary."""
    async with linked() as (link, server):
        server.run_id = reader_at
        reader = Pipeline(await server.connect(1), command_timeout=1, credit=Credit(9, 999))
        reader.retire(RemoteError(DEMOTED[0]))
        before = link.current
        link.follow(reader)
        assert (link.current is not before) is goes
        assert await link.call("PING") == b"OK"


@pytest.mark.parametrize(("met", "goes"), [("two", True), ("one", False), (None, False)])
async def test_a_reader_that_meets_another_server_brings_the_command_connection_there(
    autojump_clock: MockClock, met: str | None, *, goes: bool
) -> None:
    """Who only looks is never refused: it would look at the old server for ever."""
    heard: list[BusError] = []
    async with linked(heard=heard) as (link, _):
        before = link.current
        link.meet(Server("fake", (9, 0), 7, met))
        assert (link.current is not before) is goes
        assert await link.call("PING") == b"OK"
    assert ["another server" in str(error) for error in heard] == [True] * goes
