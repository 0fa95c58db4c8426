"""One connection through the proxy: two tasks that pass bytes, and what happens to them."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Awaitable, Callable

import trio

from ._answers import Answers
from ._conditions import Conditions, Direction, Gate
from ._fault import Act, Fault
from ._frames import Frames

_LINGER = 1.0
_NO_LINGER = struct.pack("ii", 1, 0)  # closing sends RST
_APART = 3
"""Turns of the loop between two pieces: a reader in this process meets them one by one."""
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Relay:
    """Passes the bytes of one connection, at most one chunk ahead of who receives them."""

    def __init__(self, client: trio.SocketStream, conditions: Conditions) -> None:
        self._client = client
        self._server: trio.SocketStream | None = None
        self._conditions = conditions
        self._gate = Gate()
        self._answers = Answers(conditions)
        self._scope = trio.CancelScope()

    @property
    def is_ended(self) -> bool:
        """Whether `end` was called."""
        return self._scope.cancel_called

    async def run(self, dial: Callable[[], Awaitable[trio.SocketStream]]) -> None:
        """Pass bytes until both sides have ended, or `end` is called. Never raises.

        The caller closes the client's side.
        """
        with self._scope:
            try:
                self._server = await dial()
            except OSError:
                return
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._run, self._pass_requests, self._server)
                    nursery.start_soon(self._run, self._pass_replies, self._server)
            finally:
                self._server.socket.close()
            return
        # A side that is closed with unread bytes is reset: after a cut, read what still comes.
        with trio.move_on_after(_LINGER), contextlib.suppress(*_GONE):
            async for _ in self._client:
                pass

    def end(self, *, reset: bool) -> None:
        """End both sides, now; the server's in order, so that it has what was passed."""
        if reset:
            _reset(self._client)
        else:
            with contextlib.suppress(OSError):
                self._client.socket.shutdown(trio.socket.SHUT_WR)
        if self._server is not None:
            self._server.socket.close()
        self._scope.cancel()

    def resume(self) -> None:
        """Undo what a fault stalled."""
        self._gate.open()

    async def _run(
        self,
        pass_all: Callable[[trio.SocketStream], Awaitable[None]],
        server: trio.SocketStream,
    ) -> None:
        """Pass one direction to its end; a side that is reset resets the other."""
        try:
            await pass_all(server)
        except _GONE:
            if not self.is_ended:
                _reset(server)
                self.end(reset=True)

    async def _pass_requests(self, server: trio.SocketStream) -> None:
        frames = Frames(b"*", are_commands=True)
        async for data in self._client:
            pieces: list[bytes] = []
            for piece in frames.feed(data):
                if piece.begins:
                    name = piece.name.decode("latin-1")
                    if (fault := self._conditions.faults.before(name)) is not None:
                        await self._pass(Direction.REQUESTS, b"".join(pieces))
                        pieces.clear()
                        await self._happen(fault)
                    self._answers.expect(name, piece.items)
                pieces.append(piece.data)
            await self._pass(Direction.REQUESTS, b"".join(pieces))
        await self._pass(Direction.REQUESTS, frames.rest())
        await self._wait_open(Direction.REQUESTS)
        await server.send_eof()

    async def _pass_replies(self, server: trio.SocketStream) -> None:
        frames = Frames(b">", are_commands=False)
        async for data in server:
            pieces: list[bytes] = []
            for piece in frames.feed(data):
                fault, before = self._answers.take(piece)
                if fault is None:
                    pieces.append(piece.data)
                    continue
                await self._pass(Direction.REPLIES, b"".join([*pieces, piece.data[:before]]))
                await self._happen(fault)
                pieces = [piece.data[before:]]
            await self._pass(Direction.REPLIES, b"".join(pieces))
        await self._pass(Direction.REPLIES, frames.rest())
        await self._wait_open(Direction.REPLIES)
        await self._client.send_eof()

    async def _happen(self, fault: Fault) -> None:
        """Do it; return only if the connection goes on."""
        if fault.act is Act.STALL:
            self._gate.close(*Direction)
            fault.note()
            return
        self.end(reset=fault.act is Act.RESET)
        fault.note()
        await trio.sleep_forever()  # `end` has cancelled us

    async def _pass(self, direction: Direction, data: bytes) -> None:
        """Pass bytes on as soon as they may pass."""
        if not data:
            return
        if self._conditions.delay:
            await trio.sleep(self._conditions.delay)
        if direction is Direction.REQUESTS:
            await self._wait_open(direction)
            assert self._server is not None
            await self._server.send_all(data)
            self._conditions.request_bytes += len(data)
            return
        size = self._conditions.piece_size or len(data)
        for at in range(0, len(data), size):
            await self._wait_open(direction)
            await self._client.send_all(data[at : at + size])
            self._conditions.reply_bytes += len(data[at : at + size])
            for _ in range(_APART if size < len(data) else 0):
                await trio.lowlevel.checkpoint()

    async def _wait_open(self, direction: Direction) -> None:
        """Wait while this direction is stalled; no checkpoint if it is not."""
        gates = (self._gate, self._conditions.gate)
        while closed := [gate for gate in gates if gate.is_closed(direction)]:
            await closed[0].wait_opened()


def _reset(stream: trio.SocketStream) -> None:
    """Close it so that the other side gets a reset; unix sockets know none and just close."""
    with contextlib.suppress(OSError):
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, _NO_LINGER)
    stream.socket.close()
