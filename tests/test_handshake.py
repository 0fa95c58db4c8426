"""Whom we settle on: a server that is there, has its data, and takes writes."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from importlib.metadata import version
from traceback import TracebackException
from typing import cast

import pytest
import trio

from tests.harness import PATIENCE
from tests.pretender import HELLO_OK, pretender
from tests.redis_world import TOPIC, Listener, options, publish
from tests.restartable import running
from tests.servers import command as inline
from trio_bus import BusOptions, ConnectionLost, Unsupported, open_redis
from trio_bus._redis.address import Address
from trio_bus._redis.connecting import Capability, connect, info_line, parse_version
from trio_bus._redis.replies import as_text
from trio_bus._redis.resp import ErrorReply
from trio_bus._redis.wire import Wire

pytestmark = pytest.mark.every_server


async def test_who_answers_is_known(server_url: str) -> None:
    """Name, version, life, role, and what may be done there."""
    session = await connect(Address.parse(server_url), 5)
    await session.wire.aclose()
    server = session.server
    assert server.name in {"redis", "valkey"}
    assert server.version >= (6, 2)
    assert server.run_id is not None
    assert len(server.run_id) == 40
    assert (server.role, server.mode) == ("master", "standalone")
    assert server.capabilities == frozenset(Capability)


async def test_a_replica_is_not_settled_on(server_url: str) -> None:
    """It is not now what we want, and may be in a moment: it is waited for."""
    assert inline(server_url, "REPLICAOF 127.0.0.1 1") == "+OK"
    try:
        with trio.fail_after(PATIENCE), pytest.raises(ConnectionLost, match="replica, not the pri"):
            async with open_redis(server_url, options(timeout=1.0)):
                pytest.fail("it is a replica")
        session = await connect(Address.parse(server_url), 5, any_role=True)
        await session.wire.aclose()
        assert session.server.role != "master"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_promote, server_url)
            async with open_redis(server_url, options()) as backend:
                assert len(await publish(backend, 1)) == 1
    finally:
        inline(server_url, "REPLICAOF NO ONE")


async def test_who_is_refused_before_it_speaks_is_told_why() -> None:
    """A server that is full says so, and closes: what we send arrives nowhere."""
    ours, theirs = trio.socket.socketpair()
    await theirs.send(b"-ERR max number of clients reached\r\n")
    theirs.close()
    async with trio.SocketStream(ours) as stream:
        with trio.fail_after(PATIENCE):
            reply = await Wire(stream).exchange_secret(("HELLO", 3))
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await Wire(stream).exchange_secret(("HELLO", 3))
    assert reply == ErrorReply("ERR max number of clients reached")


async def _promote(url: str) -> None:
    await trio.sleep(0.1)
    assert inline(url, "REPLICAOF NO ONE") == "+OK"


async def test_a_primary_that_becomes_a_replica_is_left(server_url: str) -> None:
    """The next connection does not settle on it, and tells why, until it is a primary again."""
    listener = Listener()
    chosen = BusOptions(observer=listener, command_timeout=PATIENCE, connect_timeout=5)
    async with open_redis(server_url, chosen) as backend:
        assert inline(server_url, "REPLICAOF 127.0.0.1 1") == "+OK"
        try:
            assert inline(server_url, "CLIENT KILL TYPE normal SKIPME yes").startswith(":")
            with trio.fail_after(PATIENCE):
                while not any("replica" in str(event.error) for event in listener.errors):
                    await trio.sleep(0.01)
        finally:
            assert inline(server_url, "REPLICAOF NO ONE") == "+OK"
        assert len(await publish(backend, 1)) == 1


async def test_a_real_server_that_loads_its_data_is_waited_for(server_kind: str) -> None:
    """It answers a greeting already, and would refuse everything that follows."""
    with running(server_kind) as server:
        async with open_redis(server.url, options()) as backend:
            await publish(backend, 5000)
            control = backend._link.current
            assert control is not None
            if control.session.server.version >= (7,):  # older ones answer after 1,000 commands
                server._command += ["--loading-process-events-interval-bytes", "1024"]
        server.kill()
        server._command += ["--key-load-delay", "300"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, server.start)
            told = await _not_yet(server.url)
            assert "LOADING" in told or "loads its data" in told
            async with open_redis(server.url, options(timeout=PATIENCE)) as backend:
                assert (await backend.info(TOPIC)).length == 5000


async def _not_yet(url: str) -> str:
    """Return what is said once the server listens."""
    while True:
        with pytest.raises(ConnectionLost) as caught:
            await connect(Address.parse(url), 5)
        if not isinstance(caught.value.__cause__, OSError):
            return str(caught.value)
        await trio.sleep(0.005)


async def test_a_name_that_nobody_knows_is_named() -> None:
    """And tried again, since name servers fail too."""
    for host in ("no-such-host.invalid", "no..host"):
        with trio.fail_after(20), pytest.raises(ConnectionLost, match=host):
            async with open_redis(f"redis://{host}", options(timeout=0.1)):
                pytest.fail("there is no such host")


async def test_the_url_bounds_one_attempt() -> None:
    """``socket_connect_timeout``: the opening goes on trying for its own time."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = cast("tuple[str, int]", listener.socket.getsockname())[1]
        url = f"redis://127.0.0.1:{port}?socket_connect_timeout=0.05"
        started = trio.current_time()
        with pytest.raises(ConnectionLost, match=r"within 0\.05 s"):
            await connect(Address.parse(url), 60)
        assert trio.current_time() - started < 5


async def test_the_url_bounds_a_command(server_url: str) -> None:
    """``socket_timeout`` is the command timeout, whatever the options say."""
    async with open_redis(f"{server_url}?socket_timeout=0.1", options(timeout=60)) as backend:
        assert inline(server_url, "CLIENT PAUSE 400 ALL") == "+OK"
        with trio.fail_after(3), pytest.raises(ConnectionLost):
            await backend.info(TOPIC)


async def test_the_server_is_told_who_we_are(server_url: str) -> None:
    """The library and its version, unless the URL says others (where servers know this)."""
    for query, told in (
        ("", f" lib-name=trio_bus lib-ver={version('trio-bus')}"),
        ("?lib_name=billing&lib_version=7", " lib-name=billing lib-ver=7"),
    ):
        session = await connect(Address.parse(f"{server_url}{query}"), 5)
        (shown,) = await session.wire.exchange([("CLIENT", "INFO")])
        await session.wire.aclose()
        if session.server.version >= (7, 2):
            assert told in as_text(shown)


async def test_a_sentinel_is_refused() -> None:
    """It holds no data, and will never."""
    hello = HELLO_OK.replace(b"%5", b"%6").replace(b"+role", b"+mode\r\n+sentinel\r\n+role", 1)
    async with pretender(hello) as (url, _):
        with trio.fail_after(3), pytest.raises(Unsupported, match="Sentinel"):
            async with open_redis(url, options()):
                pytest.fail("it is a Sentinel")


async def test_a_server_that_repeats_what_it_does_not_know_gets_no_password_shown() -> None:
    """Before Redis 6 it was an error that showed all arguments."""
    echo = b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `me`, `s3cr3t`, "
    info = b"$7\r\nnothing\r\n"
    async with pretender(echo + b"\r\n", info) as (url, _):
        with trio.fail_after(3), pytest.raises(Unsupported, match="unknown version") as caught:
            async with open_redis(url.replace("//", "//me:s3cr3t@"), options()):
                pytest.fail("it is too old")
    shown = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "s3cr3t" not in "".join(shown.split("test_handshake")[2:])


async def test_what_a_user_may_do_is_found_out(server_url: str) -> None:
    """Without these rights nothing fails, and the connection knows that it lacks them."""
    assert inline(server_url, "ACL SETUSER few reset on nopass ~* -@all +xadd") == "+OK"
    try:
        session = await connect(Address.parse(server_url.replace("//", "//few:x@")), 5)
        await session.wire.aclose()
        assert session.server.capabilities == frozenset()
        assert session.server.run_id is None
        assert session.server.role == "master"
    finally:
        assert inline(server_url, "ACL DELUSER few") == ":1"


def test_what_servers_say_of_themselves_is_read_with_care() -> None:
    """Versions of pre-releases, lines that are missing."""
    assert parse_version("7.4.x") == (7, 4)
    assert parse_version("unknown") == ()
    assert info_line(b"a:1\r\nrole:x y\r\n", b"role") == "x y"
    assert info_line(b"a:1\r\n", b"role") is None
    assert info_line(None, b"role") is None
