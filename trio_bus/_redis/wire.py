"""A byte stream that speaks RESP."""

from __future__ import annotations

import os
from contextlib import suppress

import attrs
import trio

from .resp import Command, Parser, ProtocolError, Reply, SecretCommand, pack_all, pack_secret

_CHUNK = 65536


@attrs.define(eq=False)
class Wire:
    """A byte stream that speaks RESP. One task may send while another receives."""

    stream: trio.abc.Stream
    parser: Parser = attrs.field(factory=Parser)

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of *data*.

        Raises:
          trio.BrokenResourceError: the other side is gone.
        """
        await self.stream.send_all(data)

    def send_now(self, data: bytes) -> int:
        """Send what the socket takes without waiting; return how many bytes that were.

        None where it is no plain socket, or where anything is wrong: `send` says what. Nothing else
        may be sending. Never a checkpoint.
        """
        if not isinstance(self.stream, trio.SocketStream):
            return 0
        try:
            return os.write(self.stream.socket.fileno(), data)
        except OSError:
            return 0

    async def receive(self) -> list[Reply]:
        """Return the replies that the next bytes complete: none, one or many.

        Raises:
          EOFError: the other side closed the connection.
          trio.BrokenResourceError: the other side is gone.
          ProtocolError: it does not speak RESP.
        """
        stream = self.stream
        if isinstance(stream, trio.SocketStream):
            data = await _read(stream.socket)
        else:
            data = bytes(await stream.receive_some(_CHUNK))
        if not data:
            raise EOFError("the server closed the connection")
        return self.parser.feed(data)

    async def exchange(self, commands: list[Command]) -> list[Reply]:
        """Send commands and wait for their replies; nothing else may use the wire meanwhile."""
        await self.send(pack_all(commands))
        return await self._receive_all(len(commands))

    async def exchange_secret(self, command: SecretCommand) -> Reply:
        """Send one command that nobody is to see, and wait for its reply.

        A server that takes no more clients says so and is gone, perhaps before we have spoken.
        """
        with suppress(trio.BrokenResourceError):  # reading says so too, unless there is a reply
            await self.send(pack_secret(command))
        try:
            return (await self._receive_all(1))[0]
        except ProtocolError as error:
            text = str(error)
        # Without the traceback: what was received may repeat the secret, and stands in its locals.
        raise ProtocolError(text)

    async def aclose(self) -> None:
        """Close it, at once."""
        await trio.aclose_forcefully(self.stream)

    async def _receive_all(self, count: int) -> list[Reply]:
        replies: list[Reply] = []
        while len(replies) < count:
            replies += await self.receive()
        return replies


async def _read(plain: trio.socket.SocketType) -> bytes:
    """Wait for bytes, and return them: trio's `recv` tries first, and nearly always in vain.

    Raises:
      trio.BrokenResourceError: the other side is gone.
      trio.ClosedResourceError: it was closed by us.
    """
    while True:
        if (number := plain.fileno()) < 0:
            raise trio.ClosedResourceError("this socket was closed")
        await trio.lowlevel.wait_readable(number)
        try:
            return os.read(plain.fileno(), _CHUNK)  # it may have been closed since
        except BlockingIOError:  # it was woken for nothing
            continue
        except OSError as error:
            raise trio.BrokenResourceError("the connection is broken") from error
