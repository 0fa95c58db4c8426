"""Replies that no server we know gives, and what is done when they come all the same."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import cast

import attrs
import pytest
import trio

from tests.redis_world import GROUP, OLDEST, TOPIC, US, Listener, joined, options, publish
from trio_bus import (
    ConnectionLost,
    EntryId,
    OutcomeUnknown,
    PermissionDenied,
    RemoteError,
    Unsupported,
    ValidationError,
    open_redis,
)
from trio_bus._backend import Entry, Settlement
from trio_bus._redis import reader
from trio_bus._redis.appending import result_of
from trio_bus._redis.connecting import Server, _check_ready
from trio_bus._redis.info import _is_gone
from trio_bus._redis.link import Link
from trio_bus._redis.persisting import _unable
from trio_bus._redis.replies import as_bytes, as_list, as_row
from trio_bus._redis.resp import ErrorReply, Reply
from trio_bus._redis.scripts import ScriptCall, run_many
from trio_bus._redis.tls import verify_flags
from trio_bus._settled import Settled

pytestmark = pytest.mark.every_server


def test_what_is_not_what_was_asked_for_is_refused() -> None:
    """The error says the type, and shows no data."""
    with pytest.raises(Unsupported, match="sent int instead of a string"):
        as_bytes(7)
    with pytest.raises(Unsupported, match="sent bytes instead of an array"):
        as_list(b"secret")
    with pytest.raises(Unsupported, match="sent list instead of an array of 2"):
        as_row([b"one"], 2)
    with pytest.raises(Unsupported, match="sent int instead of a string"):
        result_of(7)
    assert as_list(None) == []


def test_a_question_that_is_refused_is_not_taken_for_an_answer() -> None:
    assert _is_gone(ErrorReply("NOGROUP No such consumer group"))
    assert not _is_gone(b"OK")
    with pytest.raises(PermissionDenied, match="NOPERM"):
        _is_gone(ErrorReply("NOPERM this user has no permissions"))


def test_a_server_that_loads_is_not_ready() -> None:
    """Also one that answers everything meanwhile."""
    with pytest.raises(ConnectionLost, match="it loads its data"):
        _check_ready([], b"# Persistence\r\nloading:1\r\n")


def test_why_nothing_is_persisted_is_told() -> None:
    server = Server("redis", (7, 2, 0), 1, None)
    assert isinstance(_unable(ErrorReply("NOPERM no WAITAOF"), server), PermissionDenied)
    unknown = _unable(ErrorReply("ERR unknown command `WAITAOF`"), server)
    assert "ERR redis 7.2.0 has no WAITAOF: PERSISTED needs Redis 7.2" in str(unknown)


def test_a_flag_that_python_does_not_know_is_named() -> None:
    with pytest.raises(ValidationError, match="url: flags: unknown flag 'VERIFY_NOTHING'"):
        verify_flags("VERIFY_X509_STRICT, VERIFY_NOTHING", "flags")


@attrs.define
class Breaking:
    """A link to a server that knows one of two scripts, and is gone then."""

    asked: int = 0

    async def call_many(self, commands: list[object]) -> list[Reply]:
        self.asked += len(commands)
        if self.asked > 2:
            raise ConnectionLost("gone")
        return [7, ErrorReply("NOSCRIPT No matching script")]


async def test_a_loss_between_scripts_leaves_doubt() -> None:
    """One was done."""
    call = ScriptCall("forget", (TOPIC,), (GROUP, "us"))
    with pytest.raises(OutcomeUnknown, match="after some of this was done"):
        await run_many(cast("Link", Breaking()), [call, call])


async def test_more_than_a_page_is_pending(server_url: str) -> None:
    """All of it is found."""
    async with open_redis(server_url, options()) as backend:
        await backend.create_group(TOPIC, GROUP, OLDEST)
        stored = await publish(backend, 1001)
        async with joined(backend, US) as us:
            assert len(await us.read(1001, 1.0)) == 1001
            assert [it.id for it in await us._group.pending()] == stored


async def test_a_read_is_longer_than_the_longest_block(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made of several; nothing comes, and it ends when it should."""
    monkeypatch.setattr(reader, "LONGEST_BLOCK", 0.05)
    async with open_redis(server_url, options()) as backend:
        await backend.create_group(TOPIC, GROUP, OLDEST)
        async with joined(backend, US) as us:
            began = trio.current_time()
            assert await us.read(1, 0.3) == []
            assert trio.current_time() - began >= 0.3


@pytest.mark.parametrize("outcome", [ConnectionLost("gone"), [RemoteError("OOM full")], None])
async def test_what_cannot_be_given_back_is_looked_for(
    server_url: str,
    outcome: ConnectionLost | list[RemoteError] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the server did with it nobody knows, so the next look asks. None: it is cancelled."""
    async with open_redis(server_url, options()) as backend:
        await backend.create_group(TOPIC, GROUP, OLDEST)
        async with joined(backend, US) as us:

            async def settle(_: list[Settlement]) -> list[Settled | RemoteError]:
                if outcome is None:
                    await trio.sleep_forever()
                if isinstance(outcome, ConnectionLost):
                    raise outcome
                assert outcome is not None
                return [*outcome]

            monkeypatch.setattr(us._group, "settle", settle)
            with trio.move_on_after(0.05):
                await us._give_back([Entry(EntryId(1), (), 1)])
            assert us._holdings.is_suspected


async def test_what_is_lost_after_the_end_is_nothing_to_tell(server_url: str) -> None:
    listener = Listener()
    async with open_redis(server_url, options(listener)) as backend:
        link = backend._link
    link._on_loss(EOFError("the server closed the connection"))
    assert listener.errors == []
