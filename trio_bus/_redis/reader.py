"""The connection of one member for blocking reads: a sent read is received, whatever happens."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import attrs
import trio

from trio_bus._backend import Entry
from trio_bus._errors import BusError, ConnectionLost
from trio_bus._parting import parting

from .connecting import Capability
from .link import Link
from .owed import Owed
from .pipeline import Pipeline
from .replies import read_entries
from .resp import ErrorReply

LONGEST_BLOCK = 60.0
"""Seconds: no single read waits longer, so that a link that died in silence is noticed."""
SHORT_BLOCK = 1.0
"""Seconds: as `LONGEST_BLOCK`, where this user may not end a read that it waits for."""
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05
# Older servers may answer twice when a paused reader is unblocked.
_ANSWERS_ONCE = (7, 2)


@attrs.frozen
class Identity:
    """How the server knows a connection: a number that is unique in one life of the server."""

    client_id: int
    run_id: str | None
    seen_with: Pipeline | None
    """The command connection that was open when the number was learned."""

    def is_known_to(self, control: Pipeline) -> bool:
        """Whether *control* leads to the same life of the same server: numbers start again."""
        same = self.run_id is not None and self.run_id == control.session.server.run_id
        return same or control is self.seen_with


@attrs.define(eq=False)
class _Connection:
    pipeline: Pipeline
    identity: Identity


class Reader:
    """Reads for one member, one read at a time.

    Args:
      open_pipeline: Opens a connection that serves until it is closed.
      link: The command connection, which ends reads.
      release: Gives back, uncounted, what arrived after a cancel; must not raise, and may be
        cancelled, when that takes too long.
      on_loss: Hears of a connection that was lost while it owed a read, which may have been
        answered into the void; told the longest time in seconds that the read may still go on.
      numbers: Tells the deliveries of its entries apart.
      grace: Seconds that a read may take to come back, on top of its own time. One that is ended
        has no longer than `parting` says, to come and to be released.
    """

    def __init__(
        self,
        open_pipeline: Callable[[], Awaitable[Pipeline]],
        link: Link,
        *,
        release: Callable[[list[Entry]], Awaitable[None]],
        on_loss: Callable[[Identity, float], None],
        numbers: Iterator[int],
        grace: float,
    ) -> None:
        self._open_pipeline = open_pipeline
        self._link = link
        self._release = release
        self._on_loss = on_loss
        self._numbers = numbers
        self._grace = grace
        self._connection: _Connection | None = None

    async def read(self, make: Callable[[int], bytes], timeout: float) -> list[Entry]:
        """Send the read that *make* packs for a time in milliseconds; return what it brings.

        Cancelled, it has been ended and what had arrived was released, before this returns.

        Raises:
          ConnectionLost: something may have been delivered; `on_loss` was told.
          RemoteError: what the server refused.
        """
        deadline, left = trio.current_time() + timeout, timeout
        while True:
            longest = self._longest_block()
            entries = await self._read_once(make, min(left, longest))
            if entries or left <= longest:
                return entries
            left = max(0.0, deadline - trio.current_time())

    async def aclose(self) -> None:
        """Close the connection, at once; a read that goes on loses it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pipeline.close()
            with trio.CancelScope(shield=True):
                await connection.pipeline.ended.wait()

    def _longest_block(self) -> float:
        control = self._link.current
        return LONGEST_BLOCK if control is None or _may_unblock(control) else SHORT_BLOCK

    async def _read_once(self, make: Callable[[int], bytes], block: float) -> list[Entry]:
        connection = await self._opened()
        block_ms = max(1, math.ceil(block * 1000))  # 0 would be for ever
        patience = block + self._grace
        owed = connection.pipeline.submit(make(block_ms), 1, patience)
        try:
            await owed.wait()
        except BaseException:
            # It may have arrived all the same, in the moment between the cancel and this.
            await self._end(connection, owed, block)
            raise
        return self._take(connection, owed, block)

    async def _opened(self) -> _Connection:
        connection = self._connection
        if connection is None or not connection.pipeline.is_open:
            pipeline = await self._open_pipeline()
            server = pipeline.session.server
            identity = Identity(server.client_id, server.run_id, self._link.current)
            connection = self._connection = _Connection(pipeline, identity)
        return connection

    def _take(self, connection: _Connection, owed: Owed, block: float) -> list[Entry]:
        """Return what arrived; no checkpoint lies between its arrival and this."""
        if owed.cause is not None:
            if owed.written is not None:
                self._on_loss(connection.identity, block)
            raise owed.lost()
        reply = owed.replies[0]
        if isinstance(reply, ErrorReply) and reply.code == "UNBLOCKED":
            if connection.pipeline.session.server.version < _ANSWERS_ONCE:
                connection.pipeline.close()
            return []
        return read_entries(reply, self._numbers)

    async def _end(self, connection: _Connection, owed: Owed, block: float) -> None:
        """End a read whose caller is being cancelled; release what it brings all the same."""
        if owed.written is None and not owed.arrived:
            connection.pipeline.abandon(owed)
            return
        deadline = trio.current_time() + parting(self._grace)
        with trio.CancelScope(deadline=deadline, shield=True):
            await self._unblock(connection.identity, owed)
        if not owed.arrived:
            connection.pipeline.close()
        try:
            entries = self._take(connection, owed, block)
        except BusError:
            return  # refused: nothing came; lost: on_loss was told
        if entries:
            with trio.CancelScope(deadline=deadline, shield=True):
                await self._release(entries)

    async def _unblock(self, identity: Identity, owed: Owed) -> None:
        """Tell the server to end the read until it has: it may not have begun it yet.

        ERROR, never TIMEOUT: that crashes some servers when the reader is paused.
        """
        pause = _FIRST_PAUSE
        while not owed.arrived:
            control = self._link.current
            if control is not None and identity.is_known_to(control) and _may_unblock(control):
                await self._send_unblock(control, identity)
            with trio.move_on_after(pause):
                await owed.wait()
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _send_unblock(self, control: Pipeline, identity: Identity) -> None:
        """Send it once. That it may be forbidden meanwhile is no error: a read has its own time."""
        with suppress(ConnectionLost):
            await control.call("CLIENT", "UNBLOCK", identity.client_id, "ERROR")


def _may_unblock(control: Pipeline) -> bool:
    """Tell whether this user may end reads; where not, they end by their own time."""
    return Capability.UNBLOCK in control.session.server.capabilities
