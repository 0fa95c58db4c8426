"""Moments of connections to a server that other tests meet by chance only."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.test_pipeline import running
from trio_bus import ConnectionLost, EntryId, GroupMissing, LoggingObserver, Transition, Unsupported
from trio_bus._observer import TransitionEvent
from trio_bus._redis.member import RedisMember
from trio_bus._redis.portion import Portion
from trio_bus._redis.reader import Identity
from trio_bus._redis.replies import as_record
from trio_bus._redis.resp import ErrorReply, Reply, pack
from trio_bus._redis.strays import Holdings

if TYPE_CHECKING:
    from trio_bus._backend import Receipt
    from trio_bus._redis.group import Group
    from trio_bus._redis.link import Link
    from trio_bus._redis.pipeline import Pipeline


async def test_what_is_given_up_before_it_is_written_is_never_sent() -> None:
    """It is taken out of the queue, with its credit; later it would be a tombstone."""
    async with running() as (pipeline, server, credit):
        withdrawn = pipeline.submit(pack(("ECHO", "never")), 1, inf)
        assert pipeline.abandon(withdrawn)
        assert credit.held == (0, 0)
        sent = pipeline.submit(pack(("ECHO", "next")), 1, inf)
        assert await server.hear(1) == [[b"ECHO", b"next"]]
        assert not pipeline.abandon(sent)
        await server.stream.send_all(b"+next\r\n")
        await wait_all_tasks_blocked()
        assert sent.arrived


async def test_a_connection_that_retires_gets_what_is_owed_and_sends_nothing_more() -> None:
    """Then it ends; at once, where nothing is owed."""
    async with running() as (pipeline, server, _):
        owed = pipeline.submit(pack(("ECHO", "old")), 1, inf)
        await server.hear(1)
        late = pipeline.submit(pack(("ECHO", "late")), 1, inf)
        pipeline.retire(ConnectionLost("enough"))
        assert late.arrived
        assert not owed.arrived
        await server.stream.send_all(b"+old\r\n")
        await pipeline.ended.wait()
        assert owed.unwrap() == [b"old"]
        with pytest.raises(ConnectionLost):
            late.unwrap()
    async with running() as (pipeline, server, _):
        pipeline.retire(ConnectionLost("enough"))
        await pipeline.ended.wait()
        assert server.heard == []


async def test_a_connection_to_a_demoted_server_retires() -> None:
    """What it owed before comes; who asked gets the refusal."""
    async with running() as (pipeline, server, _):
        first, second = (pipeline.submit(pack(("SET", word)), 1, inf) for word in "ab")
        await server.hear(2)
        await server.stream.send_all(b"-READONLY You can't write against a read only replica.\r\n")
        await wait_all_tasks_blocked()
        assert str(pipeline.failure).startswith("READONLY")
        await server.stream.send_all(b"+OK\r\n")
        await pipeline.ended.wait()
    (refusal,) = first.unwrap()
    assert isinstance(refusal, ErrorReply)
    assert second.unwrap() == [b"OK"]


def test_a_record_is_made_of_bytes() -> None:
    assert as_record([b"a", b"b", b"c", b"d"]) == ((b"a", b"b"), (b"c", b"d"))
    assert as_record([]) == ()
    with pytest.raises(Unsupported, match="the server sent int instead of a string"):
        as_record([b"a", 1])


def test_what_nobody_wants_to_read_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whether somebody asks first, or not."""
    event = TransitionEvent(
        transition=Transition.ACKED, topic="orders", group="billing", consumer="us"
    )
    observer = LoggingObserver()
    for level, lines in ((logging.CRITICAL, 0), (logging.DEBUG, 1)):
        caplog.clear()
        with caplog.at_level(level, logger="trio_bus"):
            assert observer.wants(Transition.ACKED) is bool(lines)
            observer.on_transition(event)
        assert len(caplog.records) == lines


@attrs.define
class Server:
    """A group, the link to its server and the connection: each command is answered so."""

    answer: Callable[[], Reply]
    asked: list[tuple[object, ...]] = attrs.field(factory=list[tuple[object, ...]])
    is_private: bool = False

    @property
    def current(self) -> Server:
        return self

    async def call(self, *command: object) -> Reply:
        await trio.lowlevel.checkpoint()
        self.asked.append(command)
        return self.answer()

    async def pending(self) -> list[Receipt]:
        await trio.lowlevel.checkpoint()
        raise GroupMissing("NOGROUP no such group")


def lose() -> Reply:
    raise ConnectionLost("cut")


def refuse() -> Reply:
    return ErrorReply("NOPERM no")


@pytest.mark.parametrize(
    ("answer", "asked"), [(lose, ["KILL"]), (refuse, ["KILL", "UNBLOCK"]), (lambda: 1, ["KILL"])]
)
async def test_a_reader_that_was_lost_is_fenced(
    answer: Callable[[], Reply], asked: list[str]
) -> None:
    """As well as the server lets us; and in a group that is gone nothing has strayed."""
    server = Server(answer)
    holdings = Holdings(cast("Group", server), cast("Link", server), Portion())
    holdings.suspect_reader(Identity(7, None, cast("Pipeline", server)), 60.0)
    await holdings.recover()
    assert not holdings.is_suspected
    assert [command[1] for command in server.asked] == asked


@attrs.define
class Booking:
    """A member, and its group, which lets go of no booking."""

    given_up: list[tuple[EntryId, bool]] = attrs.field(factory=list[tuple[EntryId, bool]])

    @property
    def _group(self) -> Booking:
        return self

    async def book(self, entry_id: EntryId, *, keep: bool) -> bool:
        await trio.lowlevel.checkpoint()
        self.given_up.append((entry_id, keep))
        raise ConnectionLost("cut")


async def test_a_booking_that_cannot_be_given_up_is_left_to_its_lease() -> None:
    us = Booking()
    for booked in (None, EntryId(7)):
        await RedisMember._give_up(cast("RedisMember", us), booked)
    assert us.given_up == [(EntryId(7), False)]
