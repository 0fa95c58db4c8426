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
    _is_drained: bool = attrs.field(default=False, init=False)
    """Whether the last bytes were all that had come."""

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
        data = await self._some()
        if not data:
            raise EOFError("the server closed the connection")
        self._is_drained = len(data) < _CHUNK
        return self.parser.feed(data)

    async def _some(self) -> bytes | bytearray:
        """Wait for bytes. A plain socket that was drained is not asked before there are some."""
        if self._is_drained and isinstance(self.stream, trio.SocketStream):
            await trio.lowlevel.wait_readable(self.stream.socket)
            with suppress(BlockingIOError):
                return os.read(self.stream.socket.fileno(), _CHUNK)
        return await self.stream.receive_some(_CHUNK)

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
