"""Receiving from a plain socket: without a vain attempt, and with the errors of trio."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from trio_bus._redis.wire import Wire


@pytest.fixture
async def ends() -> AsyncGenerator[tuple[Wire, trio.SocketStream]]:
    """Give a wire, and what is at its other end."""
    ours, theirs = trio.socket.socketpair()
    async with trio.SocketStream(ours) as mine, trio.SocketStream(theirs) as other:
        yield Wire(mine), other


async def test_it_is_read_when_something_is_there(
    ends: tuple[Wire, trio.SocketStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was woken for nothing; a reply may come in pieces."""
    wire, other = ends
    real, tries = os.read, list[int]()

    def read(fd: int, most: int) -> bytes:
        tries.append(fd)
        if len(tries) == 1:
            raise BlockingIOError
        return real(fd, most)

    monkeypatch.setattr("trio_bus._redis.wire.os.read", read)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            await other.send_all(b"+O")
            await trio.testing.wait_all_tasks_blocked()
            await other.send_all(b"K\r\n")

        assert await wire.receive() == []
        assert await wire.receive() == [b"OK"]
    assert len(tries) == 3


async def test_its_end_is_told(ends: tuple[Wire, trio.SocketStream]) -> None:
    """The other side has closed it."""
    wire, other = ends
    await other.aclose()
    with pytest.raises(EOFError, match="closed the connection"):
        await wire.receive()


async def test_an_error_is_one_of_trio(
    ends: tuple[Wire, trio.SocketStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the socket says."""
    wire, other = ends

    def read(fd: int, most: int) -> bytes:
        raise ConnectionResetError(f"{fd} {most}")

    monkeypatch.setattr("trio_bus._redis.wire.os.read", read)
    await other.send_all(b"+OK\r\n")
    with pytest.raises(trio.BrokenResourceError) as raised:
        await wire.receive()
    assert isinstance(raised.value.__cause__, ConnectionResetError)


async def test_what_we_have_closed_is_not_read(ends: tuple[Wire, trio.SocketStream]) -> None:
    """Nobody waits for a number that may be another socket by now."""
    wire, _ = ends
    await wire.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await wire.receive()
