"""Where it is measured: a server that stays while clients come and go."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol, cast, final

import trio

from trio_bus._connect import open_bus
from trio_bus._errors import ConnectionLost
from trio_bus._options import BusOptions
from trio_bus._redis.address import Address
from trio_bus._redis.connecting import Session, connect
from trio_bus._redis.resp import Command

_END_TIMEOUT = 5.0
_PORTION = 1000


class Server(Protocol):
    """Where it is measured."""

    @property
    def url(self) -> str:
        """How clients reach it."""
        ...

    @property
    def name(self) -> str:
        """What it is, and its version."""
        ...

    async def forget(self, topic: str, /) -> None:
        """Take away all that was stored for a topic, in at most a few seconds."""
        ...


@final
class Memory:
    """Where there is no server: each client has streams of its own, which end with its bus."""

    url = "memory:"
    name = "memory:"

    async def forget(self, _topic: str, /) -> None:
        """Do nothing: there is nothing left."""
        await trio.lowlevel.checkpoint()


@final
class Remote:
    """A server, and a connection to tidy up with."""

    def __init__(self, url: str, session: Session) -> None:
        self.url = url
        self._session = session

    @property
    def name(self) -> str:
        """What it is, and its version."""
        server = self._session.server
        return f"{server.name} {'.'.join(map(str, server.version))}"

    async def forget(self, topic: str, /) -> None:
        """Delete every key with *topic* in its name.

        Raises:
          ConnectionLost: the server is gone. Not where it is late, or we are being cancelled.
        """
        with trio.move_on_after(_END_TIMEOUT, shield=True):
            try:
                await self._forget(topic)
            except (EOFError, trio.BrokenResourceError) as error:
                raise ConnectionLost(f"the connection was lost: {error}") from error

    async def _forget(self, topic: str) -> None:
        cursor = b""
        while cursor != b"0":
            scan: Command = ("SCAN", cursor or b"0", "MATCH", f"*{topic}*", "COUNT", _PORTION)
            (reply,) = await self._session.wire.exchange([scan])
            cursor, keys = cast("tuple[bytes, list[bytes]]", reply)
            # DEL and not UNLINK, which would go on beside the next measurement.
            await self._session.wire.exchange([("DEL", topic, *keys)])


@asynccontextmanager
async def open_server(url: str) -> AsyncGenerator[Server]:
    """Start the server of *url* if it is none that runs already, and connect to it."""
    if url.startswith("memory:"):
        yield Memory()
        return
    options = BusOptions()
    async with open_bus(url, options) as bus:
        # (The URL of a bus has no password in it.)
        plain = str(bus.url) if url.startswith("embedded:") else url
        session = await connect(Address.parse(plain), options.connect_timeout)
        try:
            # As redis-py understands it.
            yield Remote(re.sub("^valkey", "redis", plain), session)
        finally:
            with trio.CancelScope(shield=True):
                await session.wire.aclose()
