"""Connecting, and what faults do to a backend."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import trio

from tests.pretender import HELLO_OK, pretender
from tests.redis_world import (
    DEATH,
    GROUP,
    TOPIC,
    US,
    Listener,
    command,
    ids,
    opened,
    options,
    publish,
    raw_pending,
    receipts,
    until_blocked,
)
from trio_bus._backend import (
    Ack,
    Bury,
    Retry,
)
from trio_bus._errors import (
    AuthenticationFailed,
    BusClosed,
    ConnectionLost,
    OutcomeUnknown,
    RemoteError,
    Unsupported,
)
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.member import RedisMember
from trio_bus._redis.replies import as_text
from trio_bus._settled import Settled

pytestmark = pytest.mark.every_server


@pytest.mark.guards("a renewal does not ask who owns it")
async def test_scripts_come_back_after_a_flush(backend: RedisBackend) -> None:
    """A server that forgot the scripts is told again, in the middle of a batch too."""
    await publish(backend, 4)
    async with backend.join(US) as us:
        one, two, three, four = receipts(await us.read(4, 1))
        await command(backend, "SCRIPT", "FLUSH")
        results = await us.settle([Ack(one), Bury(two, DEATH), Retry(three), Bury(four, DEATH)])
        assert results == [Settled.DONE] * 4
        await command(backend, "SCRIPT", "FLUSH")
        assert ids((await us.take_over(1)).entries) == [three.id]
        await command(backend, "SCRIPT", "FLUSH")
        assert await us.renew([one]) == {one.id: Settled.LOST}
        await command(backend, "SCRIPT", "FLUSH")
        assert not await backend.create_group(TOPIC, GROUP, None)


@pytest.mark.guards("a connection does not come back")
async def test_the_connection_comes_back(server_url: str) -> None:
    """A loss ends nothing: the next command waits for the new connection; the observer hears."""
    listener = Listener()
    async with open_redis(server_url, options(listener)) as backend:
        for round_ in range(1, 4):
            control = backend._link.current
            assert control is not None
            client_id = control.session.server.client_id
            async with open_redis(server_url, options()) as other:
                assert await command(other, "CLIENT", "KILL", "ID", client_id) == 1
            await control.ended.wait()
            assert len(await publish(backend, 2)) == 2
            assert len(listener.errors) >= round_
        assert (await backend.info(TOPIC)).length == 6
    assert all(isinstance(event.error, ConnectionLost) for event in listener.errors)


@pytest.mark.guards("a connection does not come back")
async def test_a_member_goes_on_after_the_loss_of_both_connections(backend: RedisBackend) -> None:
    """Reading, settling and taking over continue on new connections."""
    await publish(backend, 2)
    async with backend.join(US) as us:
        (first,) = await us.read(1, 1)
        control = backend._link.current
        assert control is not None
        await command(backend, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        await control.ended.wait()
        assert await us.settle([Ack(first.receipt)]) == [Settled.DONE]
        (second,) = await us.read(1, 1)
        assert await us.settle([Ack(second.receipt)]) == [Settled.DONE]


async def test_an_ack_that_the_server_forgot_comes_back(backend: RedisBackend) -> None:
    """A restart may lose what was confirmed: the entry is pending for us, and nobody knows it."""
    await publish(backend, 1)
    async with backend.join(US) as us:
        (entry,) = await us.read(1, 1)
        assert await us.settle([Ack(entry.receipt)]) == [Settled.DONE]
        await command(backend, "XCLAIM", TOPIC, GROUP, "us", 0, str(entry.id), "FORCE")
        assert await us.read(1, 0.01) == []
        assert (await raw_pending(backend))[entry.id][0] == "us", "no reason yet to look"
        control = backend._link.current
        assert control is not None
        await command(backend, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        await control.ended.wait()
        await backend.info(TOPIC)
        assert ids((await us.take_over(1)).entries) == [entry.id]


async def test_nobody_there(tmp_path: Path) -> None:
    """Opening tries for `connect_timeout`, and says what it met."""
    started = trio.current_time()
    with pytest.raises(ConnectionLost) as caught:
        async with open_redis(f"unix://{tmp_path}/none.sock", options(timeout=0.2)):
            pytest.fail("there is no server")
    assert trio.current_time() - started < 2
    assert isinstance(caught.value.__cause__, OSError)


async def test_somebody_who_never_answers() -> None:
    """A listener that is no server cannot hold us longer than the timeout."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = cast("tuple[str, int]", listener.socket.getsockname())[1]

        async def hold(_: trio.SocketStream) -> None:
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, hold, [listener])
        for scheme in ("redis", "rediss"):
            with trio.fail_after(5), pytest.raises(ConnectionLost) as caught:
                async with open_redis(f"{scheme}://127.0.0.1:{port}", options(timeout=0.2)):
                    pytest.fail("there is no server")
            assert isinstance(caught.value.__cause__, TimeoutError)
        nursery.cancel_scope.cancel()


async def test_an_old_server_is_refused_with_its_version() -> None:
    """It does not get better by waiting."""
    old = HELLO_OK.replace(b"7.4.1", b"6.0.16")
    async with pretender(old) as (url, _):
        with trio.fail_after(3), pytest.raises(Unsupported, match=r"6\.0\.16"):
            async with open_redis(url, options()):
                pytest.fail("it is too old")
    info = b"# Server\r\nredis_version:5.0.7\r\n"
    bulk = b"$%d\r\n%b\r\n" % (len(info), info)
    async with pretender(b"-ERR unknown command `HELLO`, with args\r\n", bulk) as (url, _):
        with trio.fail_after(3), pytest.raises(Unsupported, match=r"5\.0\.7"):
            async with open_redis(url, options()):
                pytest.fail("it is too old")


async def test_a_server_that_is_loading_is_waited_for() -> None:
    """It is there and will take us; when it does not in time, the loss names its reason."""
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    async with pretender(loading) as (url, _):
        with trio.fail_after(3), pytest.raises(ConnectionLost, match="LOADING") as caught:
            async with open_redis(url, options(timeout=0.3)):
                pytest.fail("it is loading")
        assert isinstance(caught.value.__cause__, RemoteError)


async def test_a_server_that_stops_answering_is_noticed() -> None:
    """A command ends within its timeout, outcome unknown; what was never sent is known as that."""
    listener = Listener()
    hello, rest = HELLO_OK[: HELLO_OK.index(b"+OK")], HELLO_OK[HELLO_OK.index(b"+OK") :]
    async with (
        pretender(hello, rest) as (url, server),
        open_redis(url, options(listener, timeout=0.2)) as backend,
    ):
        started = trio.current_time()
        (unknown,) = await backend.append(TOPIC, [((b"n", b"1"),)])
        assert type(unknown) is OutcomeUnknown
        assert trio.current_time() - started < 2
        server.cancel()  # from here on nobody is there
        unsent = await backend.append(TOPIC, [((b"n", b"1"),)] * 2)
        while type(unsent[0]) is OutcomeUnknown:  # written before the end was noticed
            unsent = await backend.append(TOPIC, [((b"n", b"1"),)] * 2)
        assert [type(error) for error in unsent] == [ConnectionLost] * 2
        assert unsent[0] is not unsent[1]
        assert trio.current_time() - started < 5
    assert listener.errors


async def test_wrong_credentials_fail_at_once_and_are_not_shown(backend: RedisBackend) -> None:
    """They do not heal by waiting."""
    await command(backend, "ACL", "SETUSER", "me", "on", ">right", "~*", "+@all")
    await command(backend, "CONFIG", "SET", "requirepass", "right")
    try:
        for credentials in ("me:s3cr3t@", ":s3cr3t@", ""):
            with trio.fail_after(3), pytest.raises(AuthenticationFailed) as caught:
                async with open_redis(_with(backend.url, credentials), options()):
                    pytest.fail("these credentials are wrong")
            assert "s3cr3t" not in repr(caught.value)
        async with open_redis(_with(backend.url, "me:right@"), options()) as mine:
            assert await command(mine, "ACL", "WHOAMI") == b"me"
            assert mine.url == _with(backend.url, "me@")
    finally:
        await command(backend, "CONFIG", "SET", "requirepass", "")
        await command(backend, "ACL", "DELUSER", "me")


def _with(url: str, credentials: str) -> str:
    return url.replace("://", f"://{credentials}")


async def test_url_options_reach_the_server(server_url: str) -> None:
    """The database and the client's name; a database that does not exist fails at once."""
    async with open_redis(f"{server_url}?db=3&client_name=billing", options()) as backend:
        assert await command(backend, "CLIENT", "GETNAME") == b"billing"
        shown = as_text(await command(backend, "CLIENT", "LIST"))
        assert " db=3 " in shown
    with trio.fail_after(3), pytest.raises(RemoteError):
        async with open_redis(f"{server_url}?db=12345", options()):
            pytest.fail("there is no such database")


async def test_the_body_keeps_its_error_and_its_backend(server_url: str) -> None:
    """An error comes out as itself; a cancelled body can still clean up."""
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with open_redis(server_url, options()) as backend, backend.join(US):
            raise mine
    assert caught.value is mine
    with trio.CancelScope() as scope:
        async with open_redis(server_url, options()) as backend:
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    assert len(await publish(backend, 1)) == 1
    assert scope.cancelled_caught


async def test_after_the_block_it_is_closed(server_url: str) -> None:
    """Whoever kept the backend is told that it was closed, at once."""
    async with opened(server_url) as backend, backend.join(US) as us:
        pass
    with pytest.raises(BusClosed):
        await backend.append(TOPIC, [((b"n", b"1"),)])
    with pytest.raises(BusClosed):
        await us.read(1, 1)


async def test_reads_of_others_end_when_the_block_is_left(server_url: str) -> None:
    """Closing does not wait for a read that another task has left running."""
    failed: list[Exception] = []
    async with trio.open_nursery() as nursery, opened(server_url) as backend:
        member = RedisMember(backend._link, US, backend._open_reader, 5)

        async def read() -> None:
            try:
                await member.read(1, 60)
            except ConnectionLost as error:
                failed.append(error)

        nursery.start_soon(read)
        await until_blocked(backend)
    assert len(failed) == 1
