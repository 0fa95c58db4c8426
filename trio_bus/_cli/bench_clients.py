"""One measurement by each client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import perf_counter
from typing import final

import msgspec
import trio

from trio_bus._bus import Bus
from trio_bus._errors import ConnectionLost
from trio_bus._message import Message
from trio_bus._one_error import one_error
from trio_bus._redis.connecting import Session

from .bench_floor import Floor
from .bench_work import Answer, Client, Order, Work
from .failing import FAILED, CommandError

_END_TIMEOUT = 5.0


async def measure_ours(bus: Bus, order: Order) -> float:
    """Return how many messages per second trio_bus publishes; each is made where it is needed."""
    payload = bytes(order.size)

    async def one() -> None:
        await bus.publish(Message(order.topic, payload))

    async def many() -> None:
        messages = [Message(order.topic, payload) for _ in range(order.work.batch)]
        (await bus.publish_batch(messages)).raise_errors()

    return await _rate(order.work, one if order.work.batch == 1 else many)


async def measure_floor(session: Session, order: Order) -> float:
    """Return how many entries per second a bare socket takes."""
    floor = Floor(session.wire.stream)
    turn = partial(floor.publish, order.topic, bytes(order.size), order.work.batch)
    rate = 0.0
    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(floor.write)
            nursery.start_soon(floor.read)
            rate = await _rate(order.work, turn)
            nursery.cancel_scope.cancel("it is measured")
    return rate


async def _rate(work: Work, turn: Callable[[], Awaitable[object]]) -> float:
    async def repeat() -> None:
        for _ in range(work.turns):
            await turn()

    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(work.tasks):
            nursery.start_soon(repeat)
    return work.count / (perf_counter() - began)


@final
class Peer:
    """The process that measures redis.asyncio."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def measure(self, order: Order) -> float:
        """Return how many entries per second it stores.

        Raises:
          CommandError: it could not, or it died.
        """
        assert self._process.stdin is not None
        await self._process.stdin.send_all(msgspec.json.encode(order) + b"\n")
        answer = msgspec.json.decode(await self._line(), type=Answer)
        if answer.error:
            raise CommandError(f"{order.client.value}: {answer.error}", FAILED)
        return answer.rate

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            data = await self._process.stdout.receive_some()
            if not data:
                raise CommandError("the process that measures redis.asyncio died", FAILED)
            line += data
        return line


@asynccontextmanager
async def open_peer() -> AsyncGenerator[Peer]:
    """Start the process; it ends with the block."""
    process = await trio.lowlevel.open_process(
        # -P: no module of the directory we happen to be in.
        [sys.executable, "-P", "-m", "trio_bus._cli.bench_peer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us to handle
    )
    try:
        yield Peer(process)
    finally:
        with trio.move_on_after(_END_TIMEOUT, shield=True):
            process.kill()
            await process.wait()
            assert process.stdio is not None
            await process.stdio.aclose()


@final
class Clients:
    """All who publish, on one server."""

    def __init__(self, bus: Bus, session: Session, peer: Peer) -> None:
        self._bus = bus
        self._session = session
        self._peer = peer

    async def measure(self, order: Order) -> float:
        """Carry out an order, and take from the server what it stored.

        Raises:
          CommandError: it could not be done.
          BusError: the same, of trio_bus itself.
        """
        try:
            if order.client is Client.OURS:
                return await measure_ours(self._bus, order)
            if order.client is Client.FLOOR:
                return await measure_floor(self._session, order)
            return await self._peer.measure(order)
        except trio.BrokenResourceError as error:
            raise ConnectionLost(f"the connection was lost: {error}") from error
        finally:
            with trio.move_on_after(_END_TIMEOUT, shield=True):
                await self._forget(order.topic)

    async def _forget(self, topic: str) -> None:
        # DEL and not UNLINK, which would go on beside the next measurement.
        with suppress(EOFError, trio.BrokenResourceError):
            await self._session.wire.exchange([("DEL", topic)])
