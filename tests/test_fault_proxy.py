"""The fault proxy: it passes everything, and causes the faults that it was asked for."""

from __future__ import annotations

import contextlib
import inspect
import re
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio

from tests.harness import until
from tests.redis_world import TOPIC, command, options, publish
from trio_bus import OutcomeUnknown, ValidationError, testing
from trio_bus._redis import open_redis
from trio_bus._redis.resp import pack
from trio_bus.testing import Act, Direction, Exchange, FaultProxy, open_fault_proxy

pytestmark = pytest.mark.any_server

PING, XADD = pack(("PING",)), pack(("XADD", "s", "*", "name", "value"))


@attrs.define
class Echo:
    """A server that answers every command with itself, and keeps what it got."""

    url: str
    got: bytearray = attrs.field(factory=bytearray)
    ends: list[str] = attrs.field(factory=list[str])

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer until the client ends, and say how it ended."""
        try:
            async for data in stream:
                self.got += data
                await stream.send_all(data)
        except trio.BrokenResourceError:
            self.ends.append("reset")
        else:
            self.ends.append("end")
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(b"+BYE\r\n")


@asynccontextmanager
async def echo_server() -> AsyncGenerator[Echo]:
    """Run one."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    echo = Echo(f"redis://127.0.0.1:{_port(listener)}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo.serve, [listener])
        yield echo
        nursery.cancel_scope.cancel()


def _port(listener: trio.SocketListener) -> int:
    return cast("tuple[str, int]", listener.socket.getsockname())[1]


@asynccontextmanager
async def proxied() -> AsyncGenerator[tuple[FaultProxy, Echo]]:
    """Put a proxy in front of an echo server."""
    async with echo_server() as echo, open_fault_proxy(echo.url) as proxy:
        with trio.fail_after(20):
            yield proxy, echo


async def connect(proxy: FaultProxy) -> trio.SocketStream:
    """Open a raw connection."""
    return await trio.open_tcp_stream("127.0.0.1", int(proxy.url.rpartition(":")[2]))


async def receive(stream: trio.SocketStream, count: int) -> bytes:
    """Receive exactly that many bytes."""
    got = b""
    while len(got) < count:
        more = await stream.receive_some(count - len(got))
        assert more, got
        got += more
    return got


async def receive_all(stream: trio.SocketStream) -> bytes:
    """Receive until the end."""
    return b"".join([data async for data in stream])


async def send_and_end(stream: trio.SocketStream, data: bytes) -> None:
    """Send it all, and that there is no more."""
    await stream.send_all(data)
    await stream.send_eof()


async def is_silent(stream: trio.SocketStream) -> bool:
    """Tell whether nothing comes for a while."""
    with trio.move_on_after(0.05):
        await stream.receive_some()
        return False
    return True


async def test_it_passes_what_is_and_what_is_no_protocol() -> None:
    """Bytes arrive as they were, at the other end too; half-closing reaches the server."""
    for data in (PING + XADD, b"\x16\x03\x01 no protocol \r\n" * 9000, b"*1\r\n$bad\r\nrest", b"$"):
        async with proxied() as (proxy, echo), await connect(proxy) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_and_end, stream, data)
                assert await receive_all(stream) == data + b"+BYE\r\n"
            assert bytes(echo.got) == data
            assert echo.ends == ["end"]
            assert (proxy.request_bytes, proxy.reply_bytes) == (len(data), len(data) + 6)
            assert proxy.accepted == 1


async def test_cut_ends_in_order_and_reset_does_not() -> None:
    """A cut is the end of the stream; a reset is an error. Both are counted as ended at once."""
    async with proxied() as (proxy, echo):
        async with await connect(proxy) as stream:
            await stream.send_all(PING)
            await receive(stream, len(PING))
            assert proxy.connections == 1
            proxy.cut()
            assert proxy.connections == 0
            assert await receive_all(stream) == b""
            await stream.send_all(PING)  # nobody resets it
        async with await connect(proxy) as stream:
            await stream.send_all(PING)
            await receive(stream, len(PING))
            proxy.reset()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        assert bytes(echo.got) == 2 * PING


async def test_a_side_that_is_reset_resets_the_other() -> None:
    """As it would without a proxy."""
    async with proxied() as (proxy, echo):
        stream = await connect(proxy)
        await stream.send_all(PING)
        await receive(stream, len(PING))
        linger = struct.pack("ii", 1, 0)
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        await stream.aclose()
        while not echo.ends:
            await trio.sleep(0.001)
        assert echo.ends == ["reset"]
        while proxy.connections:
            await trio.sleep(0.001)


async def test_connections_that_wait_for_their_server_are_ended_too(server_url: str) -> None:
    """A connection may be cut before there is another side."""
    async with open_fault_proxy(server_url) as proxy:
        for end in (proxy.cut, proxy.reset):
            async with await connect(proxy) as stream:
                while not proxy.connections:
                    await trio.lowlevel.checkpoint()
                end()
                with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
                    assert await receive_all(stream) == b""


async def test_refused_connections_are_closed_at_once() -> None:
    """Also those to a server that is not there; later ones pass again."""
    async with proxied() as (proxy, echo):
        proxy.refuse = True
        assert proxy.refuse
        async with await connect(proxy) as stream:
            assert await stream.receive_some() == b""
        proxy.refuse = False
        proxy.target = "unix:///nobody/is/here"
        async with await connect(proxy) as stream:
            assert await stream.receive_some() == b""
        proxy.target = echo.url
        async with await connect(proxy) as stream:
            await stream.send_all(PING)
            assert await receive(stream, len(PING)) == PING
        assert proxy.accepted == 3


async def test_new_connections_go_to_the_new_target() -> None:
    """Those that are there stay where they are."""
    async with proxied() as (proxy, first), echo_server() as second:
        async with await connect(proxy) as old:
            await old.send_all(PING)
            await receive(old, len(PING))
            proxy.target = second.url
            assert proxy.target == second.url
            async with await connect(proxy) as new:
                await new.send_all(XADD)
                await receive(new, len(XADD))
            await old.send_all(PING)
            await receive(old, len(PING))
        assert (bytes(first.got), bytes(second.got)) == (2 * PING, XADD)


@pytest.mark.parametrize("direction", [None, *Direction])
async def test_a_stalled_link_loses_nothing(direction: Direction | None) -> None:
    """The end waits too; a sender is slowed down by the kernel, not fed into memory."""
    big = pack(("SET", "k", b"x" * 16 * 1024 * 1024))
    async with proxied() as (proxy, echo), await connect(proxy) as stream:
        proxy.stall(direction)
        async with trio.open_nursery() as nursery:
            sent = trio.Event()

            async def send() -> None:
                await stream.send_all(big)
                sent.set()
                await stream.send_eof()

            nursery.start_soon(send)
            assert await is_silent(stream)
            if direction is Direction.REPLIES:
                await until(lambda: bool(echo.got))
            assert not sent.is_set()
            assert len(echo.got) < len(big)
            assert (len(echo.got) == 0) == (direction is not Direction.REPLIES)
            proxy.resume()
            assert await receive_all(stream) == big + b"+BYE\r\n"
        assert bytes(echo.got) == big


async def test_delay_keeps_the_order() -> None:
    """Every chunk waits in both directions."""
    async with proxied() as (proxy, _), await connect(proxy) as stream:
        proxy.delay = 0.05
        started = trio.current_time()
        await stream.send_all(PING)
        await stream.send_all(XADD)
        assert await receive(stream, len(PING + XADD)) == PING + XADD
        assert trio.current_time() - started >= 0.1


async def test_replies_are_split_at_every_byte() -> None:
    """A client in the same process meets every byte alone."""
    async with proxied() as (proxy, _), await connect(proxy) as stream:
        proxy.piece_size = 1
        await stream.send_all(XADD)
        got = [await stream.receive_some() for _ in XADD]
        assert got == [bytes([byte]) for byte in XADD]


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_a_fault_before_a_command_keeps_it_from_the_server(act: Act) -> None:
    """What came before it is executed; a payload of that name is no command."""
    decoy = pack(("SET", "k", XADD))
    stream_of = decoy + PING + XADD + PING
    async with proxied() as (proxy, echo), await connect(proxy) as stream:
        fault = proxy.before_command("xadd", act)
        for at in range(len(stream_of)):  # in single bytes
            with trio.move_on_after(1):
                await stream.send_all(stream_of[at : at + 1])
            if at == len(decoy + PING) - 1:
                await receive(stream, at + 1)
                assert fault.happened == 0
            if fault.happened:
                break
        await fault.wait_happened()
        if act is Act.CUT:
            assert await receive_all(stream) == b""
        else:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(stream)
        assert bytes(echo.got) == decoy + PING


async def test_a_fault_in_a_reply_comes_after_every_number_of_bytes() -> None:
    """The server has executed the command, and those that were sent with it."""
    pipelined = PING + XADD + PING
    for after in range(len(XADD) + 2):
        async with proxied() as (proxy, echo), await connect(proxy) as stream:
            fault = proxy.in_reply("XADD", after=after)
            await stream.send_all(pipelined)
            passed = len(PING) + min(after, len(XADD))
            assert await receive_all(stream) == pipelined[:passed]
            assert bytes(echo.got) == pipelined
            assert fault.happened == 1


async def test_a_fault_waits_in_a_reply_of_many_chunks() -> None:
    """The bytes of all of them count."""
    big = pack(("SET", "k", b"x" * 400_000))
    async with proxied() as (proxy, _), await connect(proxy) as stream:
        proxy.in_reply("SET", after=300_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, big)
            assert await receive_all(stream) == big[:300_000]


async def test_a_fault_meets_the_commands_it_is_meant_for() -> None:
    """Skipped ones pass; it happens as often as it should, on any connection; then no more."""
    async with proxied() as (proxy, _):
        fault = proxy.in_reply("PING", skip=1, times=2)
        for survives in (True, False, False, True):
            async with await connect(proxy) as stream:
                await stream.send_all(XADD + PING)
                got = XADD + PING if survives else XADD
                assert await receive(stream, len(got)) == got
                if not survives:
                    assert await receive_all(stream) == b""
        assert fault.happened == 2
        proxy.before_command()
        proxy.forget_faults()
        async with await connect(proxy) as stream:
            await stream.send_all(PING)
            assert await receive(stream, len(PING)) == PING


async def test_a_stall_in_a_reply_lasts_until_resume() -> None:
    """Only that connection stands still, in both directions; nothing is lost."""
    async with proxied() as (proxy, echo), await connect(proxy) as stream:
        fault = proxy.in_reply("XADD", Act.STALL, after=5)
        with trio.move_on_after(0.01) as nothing_yet:
            await fault.wait_happened()
        assert nothing_yet.cancelled_caught
        await stream.send_all(XADD)
        await fault.wait_happened()
        assert await receive(stream, 5) == XADD[:5]
        assert await is_silent(stream)
        await stream.send_all(PING)
        assert await is_silent(stream)
        assert (bytes(echo.got), fault.happened) == (XADD, 1)
        async with await connect(proxy) as other:
            await other.send_all(PING)
            await receive(other, len(PING))
        proxy.resume()
        assert await receive(stream, len(XADD + PING) - 5) == XADD[5:] + PING


async def test_inline_commands_have_names_too() -> None:
    """People who look with netcat meet the same faults."""
    async with proxied() as (proxy, echo), await connect(proxy) as stream:
        proxy.before_command("PING")
        await stream.send_all(b"\r\n*0\r\necho PING\r\n" + b"PI")
        await stream.send_all(b"NG\r\n")
        await receive_all(stream)
        assert bytes(echo.got) == b"\r\n*0\r\necho PING\r\n"


async def test_a_recording_tells_commands_and_the_length_of_replies(server_url: str) -> None:
    """Several may run at once; each ends with its block."""
    async with open_fault_proxy(server_url) as proxy, open_redis(proxy.url, options()) as backend:
        with proxy.recording() as outer:
            assert await command(backend, "SET", "k", b"\r\n$3\r\n" * 20) == b"OK"
            with proxy.recording() as inner:
                await command(backend, "get", "k")
                await command(backend, "NONSENSE")
            await command(backend, "ECHO", b"x")
        await command(backend, "PING")
        assert [it.command for it in inner] == ["GET", "NONSENSE"]
        assert outer == [Exchange("SET", 5), *inner, Exchange("ECHO", 7)]
        assert inner[0].reply_bytes == 6 * 20 + len("$120\r\n\r\n")


async def test_pushes_answer_nothing_but_subscriptions(server_url: str) -> None:
    """A push between a command and its reply is not that reply."""
    async with open_fault_proxy(server_url) as proxy, await connect(proxy) as stream:
        hello, ok = pack(("HELLO", 3)), b"+OK\r\n"
        await stream.send_all(hello)
        while not (await stream.receive_some()).endswith(b"*0\r\n"):
            pass
        proxy.in_reply("GET", after=2)
        with proxy.recording() as exchanges:
            await stream.send_all(pack(("SUBSCRIBE", "a", "b")) + pack(("PUBLISH", "a", "!")))
            await stream.send_all(pack(("SET", "k", "v")) + pack(("GET", "k")))
            got = await receive_all(stream)
        assert got.endswith(ok + b"$1")
        assert exchanges[0].command == "SUBSCRIBE"
        assert exchanges[1:] == [Exchange("PUBLISH", 4), Exchange("SET", 5), Exchange("GET", 7)]


async def test_what_nobody_asked_for_is_no_reply() -> None:
    """A server may speak first: that it is full, and then nobody counts wrong."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def speak(stream: trio.SocketStream) -> None:
        await stream.send_all(b"-ERR max number of clients reached\r\n")
        async for data in stream:
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, speak, [listener])
        async with open_fault_proxy(f"redis://127.0.0.1:{_port(listener)}") as proxy:
            proxy.in_reply("PING", after=3)
            async with await connect(proxy) as stream:
                await receive(stream, len(b"-ERR max number of clients reached\r\n"))
                await stream.send_all(XADD + PING)
                assert await receive_all(stream) == XADD + PING[:3]
        nursery.cancel_scope.cancel()


async def test_faults_as_a_backend_meets_them(server_url: str) -> None:
    """An answer that is lost is an entry that is there; a command that is lost is none."""
    async with open_fault_proxy(server_url) as proxy, open_redis(proxy.url, options()) as backend:
        for act in (Act.CUT, Act.RESET):
            proxy.in_reply("XADD", act)
            (lost,) = await backend.append(TOPIC, [((b"n", b"1"),)])
            assert type(lost) is OutcomeUnknown
            proxy.before_command("XADD", act)
            (unsent,) = await backend.append(TOPIC, [((b"n", b"1"),)])
            assert type(unsent) is OutcomeUnknown  # nobody can know
        assert len(await publish(backend, 1)) == 1
        assert await command(backend, "XLEN", TOPIC) == 3


async def test_splitting_changes_no_reply(server_url: str) -> None:
    """Of any shape."""
    shapes = (
        ("HELLO", 3),
        ("COMMAND", "INFO", "get", "xadd"),
        ("CONFIG", "GET", "*max*"),
        ("ECHO", bytes(range(256))),
        ("EVAL", "return {1, {2, {3, 'four'}}, false}", 0),
        ("NONSENSE",),
        ("GET", "missing"),
        ("ZADD", "z", "1.5", "a"),
        ("ZSCORE", "z", "a"),
    )
    async with open_fault_proxy(server_url) as proxy, open_redis(proxy.url, options()) as backend:
        await command(backend, "ZADD", "z", "1.5", "a")
        plain = [await command(backend, *shape) for shape in shapes]
        proxy.piece_size = 1
        assert [await command(backend, *shape) for shape in shapes] == plain


async def test_the_url_says_what_the_target_says(server_url: str) -> None:
    """Credentials, database and options stay; the repr shows no password."""
    for target, url in {
        "redis://me:s3cr3t@example.org/3?client_name=x": "redis://me:s3cr3t@127.0.0.1:{}/3?client_name=x",
        "valkey://:s3cr3t@example.org": "redis://:s3cr3t@127.0.0.1:{}",
        "unix://me:s3cr3t@/run/redis.sock?db=2": "redis://me:s3cr3t@127.0.0.1:{}?db=2",
    }.items():
        async with open_fault_proxy(target) as proxy:
            before, after = url.split("{}")
            assert proxy.url.startswith(before)
            assert proxy.url.endswith(after)
            assert "s3cr3t" not in repr(proxy)
    target = f"{server_url}?db=3&client_name=billing"
    async with open_fault_proxy(target) as proxy, open_redis(proxy.url, options()) as backend:
        assert await command(backend, "CLIENT", "GETNAME") == b"billing"


@pytest.mark.parametrize("target", ["rediss://localhost", "memory:", "http://x"])
async def test_what_cannot_be_relayed_is_refused(target: str) -> None:
    with pytest.raises(ValidationError):
        async with open_fault_proxy(target):
            pytest.fail("it cannot be relayed")
    async with open_fault_proxy("redis://localhost") as proxy:
        with pytest.raises(ValidationError):
            proxy.target = target


async def test_settings_that_cannot_work_are_refused() -> None:
    """With the name and the value; those that can are kept."""
    async with open_fault_proxy("redis://localhost") as proxy:
        assert (proxy.delay, proxy.piece_size, proxy.refuse) == (0, None, False)
        proxy.delay, proxy.piece_size = 0.5, 3
        assert (proxy.delay, proxy.piece_size) == (0.5, 3)
        proxy.piece_size = None
        assert proxy.piece_size is None
        with pytest.raises(ValidationError, match="delay: -1"):
            proxy.delay = -1
        with pytest.raises(ValidationError, match="piece_size: 0"):
            proxy.piece_size = 0
        with pytest.raises(ValidationError, match=r"piece_size: 2\.0"):
            proxy.piece_size = cast("int", 2.0)
        with pytest.raises(ValidationError, match="times: inf"):
            proxy.in_reply(times=cast("int", float("inf")))
        with pytest.raises(ValidationError, match="after: -1"):
            proxy.in_reply(after=-1)
        with pytest.raises(ValidationError, match="skip: -1"):
            proxy.in_reply(skip=-1)
        with pytest.raises(ValidationError, match="times: 0"):
            proxy.before_command(times=0)
        with pytest.raises(ValidationError, match="command: 'CLIENT UNBLOCK'"):
            proxy.before_command("CLIENT UNBLOCK")


async def test_leaving_ends_everything() -> None:
    """Also stalled connections, and when the body is cancelled."""
    async with echo_server() as echo:
        with trio.CancelScope() as scope:
            async with open_fault_proxy(echo.url) as proxy, await connect(proxy) as stream:
                proxy.stall()
                await stream.send_all(PING)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        async with open_fault_proxy(echo.url) as proxy:
            stream = await connect(proxy)
            await stream.send_all(PING)
            await receive(stream, len(PING))
        with trio.fail_after(20):
            assert await receive_all(stream) == b""
        await stream.aclose()
        with pytest.raises(OSError, match="all attempts"):
            await connect(proxy)


async def test_the_body_keeps_its_error() -> None:
    """No layer of the proxy's own is around it."""
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with open_fault_proxy("redis://localhost"):
            raise mine
    assert caught.value is mine


@pytest.mark.parametrize("name", testing.__all__)
def test_it_is_documented(name: str) -> None:
    """Every name that `trio_bus.testing` publishes, and what a user meets of it."""
    reference = Path(__file__).parent.parent / "docs" / "reference.rst"
    kind = "data" if name.isupper() else r"auto\w+"
    assert re.search(rf"^\.\. {kind}:: {name}\b", reference.read_text(), re.MULTILINE)
    if name.isupper():
        return  # a value, whose type has its own words
    public: object = getattr(testing, name)
    assert public.__module__ == "trio_bus.testing"
    assert public.__doc__
    for part, value in vars(public).items() if inspect.isclass(public) else ():
        if not part.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{part}"


def test_it_needs_no_hypothesis() -> None:
    """Only the strategies do."""
    program = "import sys; sys.modules['hypothesis'] = None; import trio_bus.testing"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
