"""Moments that other tests meet by chance only."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn, cast

import attrs
import pytest
import trio

from tests.redis_world import GROUP, OLDEST, TOPIC, US, command, joined, options, until_blocked
from trio_bus import BusClosed, EntryId, RemoteError, open_redis
from trio_bus._backend import Receipt, Settlement
from trio_bus._cli import pipes
from trio_bus._redis import backend as backends
from trio_bus._redis import persisting, reader
from trio_bus._redis.connecting import connect
from trio_bus._redis.portion import Portion
from trio_bus._redis.strays import Holdings

if TYPE_CHECKING:
    from trio_bus._redis.address import Address
    from trio_bus._redis.connecting import Session
    from trio_bus._redis.group import Group
    from trio_bus._redis.link import Link


async def test_a_backend_that_is_closed_while_a_reader_connects_lets_it_go(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def connect_and_close(address: Address, timeout: float) -> Session:
        session = await connect(address, timeout)
        backend._link.close()
        return session

    async with open_redis(server_url, options()) as backend:
        monkeypatch.setattr(backends, "connect", connect_and_close)
        with pytest.raises(BusClosed):
            await backend._open_reader()


async def test_a_server_that_may_answer_twice_is_asked_on_a_new_connection(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before 7.2 do: see `reader._ANSWERS_ONCE`."""
    monkeypatch.setattr(reader, "_ANSWERS_ONCE", (99, 0))
    async with open_redis(server_url, options()) as backend:
        await backend.create_group(TOPIC, GROUP, OLDEST)
        async with joined(backend, US) as us, trio.open_nursery() as nursery:
            got = list[list[object]]()

            async def read() -> None:
                got.append(list(await us.read(1, 60)))

            nursery.start_soon(read)
            await until_blocked(backend)
            (pipeline,) = backend._readers
            await command(backend, "CLIENT", "UNBLOCK", pipeline.session.server.client_id, "ERROR")
            await pipeline.ended.wait()
        assert got == [[]]


def test_a_batch_for_the_disk_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger alone goes alone."""
    monkeypatch.setattr(persisting, "WINDOW_BYTES", 10)
    lane = persisting.Lane(0, _unused, lambda _: None, 1.0)
    for size in (99, 6, 4, 1):
        lane._put(persisting._Request((), (b"",), size))
    assert [len(lane._take_batch()) for _ in range(4)] == [1, 2, 1, 0]


async def _unused() -> NoReturn:
    pytest.fail("nothing is sent")


@attrs.define
class Refusing:
    """A group, and the link to its server, which takes nothing back."""

    current: Refusing | None = None
    is_private = False

    async def pending(self) -> list[Receipt]:
        return [Receipt(EntryId(1), 1)]

    async def settle(self, settlements: list[Settlement]) -> list[RemoteError]:
        return [RemoteError("OOM full") for _ in settlements]


async def test_what_the_server_does_not_take_back_is_told_and_looked_for_again() -> None:
    server = Refusing()
    holdings = Holdings(cast("Group", server), cast("Link", server), Portion())
    holdings._suspected = True
    with pytest.raises(RemoteError, match="OOM full"):
        await holdings._sweep()
    assert holdings.is_suspected


async def test_a_pipe_that_the_system_does_not_watch_is_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(_: int) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EPERM, "not permitted")

    ends = os.pipe()
    monkeypatch.setattr(trio.lowlevel, "wait_readable", refuse)
    try:
        with trio.move_on_after(0.01) as patience:
            await pipes.wait_reader_gone(ends[1])
    finally:
        for end in ends:
            os.close(end)
    assert patience.cancelled_caught
