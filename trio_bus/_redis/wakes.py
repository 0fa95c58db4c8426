"""The wake channel: a connection that only listens, and rings the alarms of our members.

It is a connection of its own, because the server puts every one that subscribes into another class:
its replies may not pile up beyond 32 MB there (by default), and what a member takes over may be
larger; such a connection would be cut in the middle of the reply, again and again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection

import trio

from trio_bus._errors import BusError, RemoteError
from trio_bus._trio_util import AsyncValue
from trio_bus._wake import Alarm, Alarms

from .connecting import Session
from .errors import to_exception
from .link import jittered
from .resp import Command, ErrorReply, ProtocolError, Reply, pack_all

_LOST = (OSError, EOFError, trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError)
_STABLE = 1.0
"""Seconds: a connection that is lost sooner counts as a failure to connect."""
_MOST = 10
"""Failures in a row that are told apart, for the pause after them."""
_LONGEST_DELAY = 12
"""Digits of a delay in milliseconds; longer ones are none of ours."""


class Wakes:
    """Keeps us subscribed to the channels of our members; `serve` does it and must run.

    Nothing here fails: who cannot listen finds at the next tick what others hear of. At the begin
    and at the end of a gap every alarm rings, because something may be missed.

    Args:
      connect: Opens a connection.
      on_refusal: Hears, once, that the server does not let us listen.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Session]], on_refusal: Callable[[RemoteError], None]
    ) -> None:
        self._connect = connect
        self._on_refusal = on_refusal
        self._refused = False
        self._alarms = Alarms()
        # How often the first member of a channel came, or the last one left.
        self._changes = AsyncValue(0)
        # The channels that the server said we hear, on the connection that we have now.
        self._heard: set[str] = set()
        self._scope = trio.CancelScope(shield=True)

    def add(self, channel: str, group: str) -> Alarm:
        """Return the alarm of a member of that group; the first one on a channel subscribes."""
        alarm = self._alarms.add(channel, group)
        self._changes.value += 1
        return alarm

    def remove(self, channel: str, alarm: Alarm) -> None:
        """Let it ring no more; the last one on a channel unsubscribes."""
        self._alarms.remove(channel, alarm)
        self._changes.value += 1

    def hint(self, channel: str, group: str, delay: float) -> None:
        """Ring for what we did ourselves, where the server does not tell us of it."""
        if channel not in self._heard:
            self._alarms.ring(channel, delay, group)

    def hears(self, channel: str) -> bool:
        """Say whether all is heard that is told there; where that ends, the alarms ring."""
        return channel in self._heard

    def close(self) -> None:
        """End it."""
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def serve(self) -> None:
        """Listen while there is a member, and connect again after each loss, until `close`."""
        failures = 0
        with self._scope:
            while True:
                await self._changes.wait_value(lambda _: bool(self._wanted()))
                began = trio.current_time()
                done = False
                with contextlib.suppress(BusError):  # the command connection tells why
                    done = await self._listen(await self._connect())
                stable = trio.current_time() - began >= _STABLE
                failures = 0 if done or stable else min(failures + 1, _MOST)
                if not done:
                    await trio.sleep(jittered(failures))

    def _wanted(self) -> set[str]:
        return set(self._alarms)

    async def _listen(self, session: Session) -> bool:
        """Listen until nobody wants to hear any more; say whether that, or a loss, ended it."""
        session.wire.parser.on_push = self._hear
        done = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, session, nursery.cancel_scope)
                done = await self._subscribe(session)
                nursery.cancel_scope.cancel()
        finally:
            self._deafen()
            with trio.CancelScope(shield=True):
                await session.wire.aclose()
        return done

    @trio.lowlevel.enable_ki_protection
    async def _receive(self, session: Session, scope: trio.CancelScope) -> None:
        """Receive, which lets `_hear` hear what is pushed; a reply can only be a refusal."""
        try:
            while True:
                replies = await session.wire.receive()
                for refusal in [it for it in replies if isinstance(it, ErrorReply)]:
                    self._tell(to_exception(refusal))
        except _LOST:
            scope.cancel()

    async def _subscribe(self, session: Session) -> bool:
        """Keep the server's idea of what we want to hear like ours, until that is nothing.

        Returns:
          False if the connection was lost before.
        """
        known: set[str] = set()
        while wanted := self._wanted():
            commands = [*_each("UNSUBSCRIBE", known - wanted), *_each("SUBSCRIBE", wanted - known)]
            known = wanted
            try:
                await session.wire.send(pack_all(commands))
            except _LOST:
                return False
            await self._wait_changed(known)
        return True

    async def _wait_changed(self, known: set[str]) -> None:
        await self._changes.wait_value(lambda _: self._wanted() != known)

    def _hear(self, push: Collection[Reply]) -> None:
        match list(push):
            case [b"message", bytes(channel), bytes(payload)]:
                delay_ms, _, group = payload.partition(b" ")
                self._ring(channel, _seconds(delay_ms), group.decode("utf-8", "replace"))
            case [b"subscribe", bytes(channel), _]:
                self._heard.add(channel.decode("utf-8", "replace"))
                self._ring(channel, 0.0, "")
            case [b"unsubscribe", bytes(channel), _]:
                self._heard.discard(channel.decode("utf-8", "replace"))
            case _:  # nothing that we asked for
                pass

    def _ring(self, channel: bytes, delay: float, group: str) -> None:
        self._alarms.ring(channel.decode("utf-8", "replace"), delay, group)

    def _deafen(self) -> None:
        """From now on, whoever waits to be woken has to look by himself."""
        lost, self._heard = self._heard, set()
        for channel in sorted(lost):
            self._alarms.ring(channel, 0.0)

    def _tell(self, refusal: RemoteError) -> None:
        if not self._refused:
            self._refused = True
            self._on_refusal(refusal)


def _seconds(delay_ms: bytes) -> float:
    """Return a delay; what is none means now, so that a stranger can only make us look."""
    if len(delay_ms) > _LONGEST_DELAY or not delay_ms.isdigit():
        return 0.0
    return int(delay_ms) / 1000


def _each(name: str, channels: Collection[str]) -> list[Command]:
    """One command for each channel, so that a refusal concerns one."""
    return [(name, channel) for channel in sorted(channels)]
