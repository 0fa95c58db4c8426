"""Connections and servers at moments that are rare."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import errno
import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import attrs
import pytest
import trio

from tests.redis_world import GROUP, TOPIC, options
from trio_bus import (
    ConnectionLost,
    EmbeddedServerError,
    EntryId,
    OutcomeUnknown,
    PermissionDenied,
    ValidationError,
    open_redis,
)
from trio_bus import _embedded as embedded
from trio_bus import _publisher as publisher
from trio_bus._errors import RemoteError
from trio_bus._once import Once
from trio_bus._redis import examination, scripts, transport
from trio_bus._redis.address import Address
from trio_bus._redis.reader import Identity
from trio_bus._redis.resp import ErrorReply, Reply
from trio_bus._redis.strays import Holdings
from trio_bus._redis.transport import Attempt
from trio_bus._redis.wakes import Wakes

if TYPE_CHECKING:
    from trio_bus._redis.connecting import Session
    from trio_bus._redis.group import Group
    from trio_bus._redis.link import Link
    from trio_bus._redis.pipeline import Pipeline
    from trio_bus._redis.portion import Portion
    from trio_bus._redis.wire import Wire


@pytest.mark.parametrize("query", ["", "?socket_keepalive=no"])
async def test_a_connection_is_kept_alive_where_that_can_be(
    query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that this system does not know is left out."""
    monkeypatch.setattr(transport, "_KEEPALIVE", (("TCP_NO_SUCH", 1), *transport._KEEPALIVE))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = cast("tuple[str, int]", listener.socket.getsockname())
    address = Address.parse(f"redis://{host}:{port}{query}")
    stream = await Attempt(address).open_stream()
    assert isinstance(stream, trio.SocketStream)
    kept = stream.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE)
    assert bool(kept) is not bool(query)
    await stream.aclose()
    await listener.aclose()


def test_with_a_certificate_of_ours_nothing_is_guessed() -> None:
    """Without one the server may have wanted it."""
    address = Address.parse("rediss://h:1")
    assert address.tls is not None
    ours = attrs.evolve(address, tls=attrs.evolve(address.tls, ssl_certfile="ours.pem"))
    for asked, guessed in ((address, True), (ours, False)):
        told = str(Attempt(asked, doing="the greeting").failed(EOFError("it closed")))
        assert ("client certificate?" in told) is guessed


@attrs.define
class Control:
    """A command connection whose user may not end others."""

    asked: list[Sequence[object]] = attrs.field(factory=list[Sequence[object]])

    @property
    def current(self) -> Control:
        return self

    async def call(self, *words: object) -> Reply:
        self.asked.append(words)
        return ErrorReply("NOPERM no") if "KILL" in words else 1


async def test_who_may_not_end_a_reader_wakes_it_up() -> None:
    """It is not sure then, so it is tried again."""
    control = Control()
    holdings = Holdings(cast("Group", None), cast("Link", control), cast("Portion", None))
    lost = Identity(7, None, cast("Pipeline", control))
    assert not await holdings._fence(lost)
    assert control.asked == [("CLIENT", "KILL", "ID", 7), ("CLIENT", "UNBLOCK", 7, "ERROR")]


@attrs.define
class Gone:
    """A session whose server is gone, or that refuses every question."""

    refuses: bool = False

    @property
    def wire(self) -> Gone:
        return self

    async def send(self, _: bytes) -> None:
        raise trio.BrokenResourceError

    async def exchange(self, commands: Sequence[object]) -> list[Reply]:
        return [ErrorReply("NOPERM no") for _ in commands]


async def test_wake_ups_are_asked_for_again_after_a_loss() -> None:
    """What a server says unasked is nothing."""

    async def connect() -> Session:
        raise ConnectionLost("gone")

    def refused(error: RemoteError) -> None:
        pytest.fail(str(error))

    wakes = Wakes(connect, refused)
    wakes.add("orders", "billing")
    assert not await wakes._subscribe(cast("Session", Gone()))
    wakes._hear([b"pong", b""])
    assert not wakes._heard


async def test_a_clock_that_may_not_be_read_is_right() -> None:
    assert await examination._skew(cast("Wire", Gone())) == 0.0


async def test_a_server_that_is_lost_while_it_is_examined_is_told(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(_: Session) -> NoReturn:
        raise trio.BrokenResourceError("it is gone")

    monkeypatch.setattr(examination, "_ask", lose)
    with pytest.raises(ConnectionLost, match="it is gone"):
        await examination.examine(Address.parse(server_url), 5)


async def test_a_group_that_may_not_be_made_is_refused_in_the_words_of_the_server(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every right that we know of is there."""

    async def refuse(*_: object) -> NoReturn:
        raise PermissionDenied("NOPERM for a reason of its own")

    async with open_redis(server_url, options()) as backend:
        with monkeypatch.context() as patch:
            patch.setattr(scripts, "run", refuse)
            with pytest.raises(PermissionDenied, match="for a reason of its own"):
                await backend.create_group(TOPIC, GROUP, EntryId(0))


async def test_a_queued_record_with_a_key_and_too_many_fields_is_refused(server_url: str) -> None:
    """A script can take so many; whoever queued it is told at once."""
    told: list[EntryId | Exception] = []
    record = tuple((b"n", str(number).encode()) for number in range(3501))
    async with open_redis(server_url, options()) as backend:
        backend.append_nowait(TOPIC, record, Once("k", 10.0), told.append)
        assert len(told) == 1
        assert isinstance(told[0], ValidationError)


@attrs.define
class Item:
    """A record on its way."""

    doubt: Exception | None
    outcome: object = None

    def take(self, outcome: object) -> None:
        self.outcome = outcome


def test_an_attempt_that_is_given_up_leaves_doubt() -> None:
    """What was in doubt before says more."""
    items = [Item(None), Item(OutcomeUnknown("earlier"))]
    publisher._give_up(cast("list[publisher._Item]", items))
    assert "the attempt was given up" in str(items[0].outcome)
    assert items[1].outcome is None


async def test_a_directory_that_cannot_be_locked_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems know no locks."""

    def refuse(_: int, __: int) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(EmbeddedServerError, match=r"cannot lock the directory .*No locks"):
        embedded._take(0, tmp_path, "embedded:")


async def test_a_process_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(trio.lowlevel, "open_process", refuse)
    with pytest.raises(EmbeddedServerError, match=r"cannot start the embedded server: .*Resource"):
        await embedded._start([], -1)


async def test_a_server_that_ends_while_it_is_asked_has_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = trio.socket.socketpair()
    theirs.close()

    async def opened(_: str) -> trio.SocketStream:
        return trio.SocketStream(ours)

    monkeypatch.setattr(trio, "open_unix_socket", opened)
    assert not await embedded._answers(Path("s.sock"))
