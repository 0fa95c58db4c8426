"""Planned faults: what happens to a connection, and at which command."""

from __future__ import annotations

from enum import Enum, unique

import attrs
import trio


@unique
class Act(Enum):
    """What a fault does to a connection."""

    CUT = "cut"
    """End it in order (FIN), as a server does that is stopped."""
    RESET = "reset"
    """End it at once (RST), as a crash or a firewall does."""
    STALL = "stall"
    """Pass nothing more, in either direction, until `FaultProxy.resume`."""


@attrs.define(eq=False)
class Fault:
    """A planned fault. Made by `FaultProxy.before_command` and `FaultProxy.in_reply`."""

    command: str | None
    """The command that it waits for; None means any."""
    act: Act
    """What happens."""
    after: int | None
    """After how many bytes of the reply; None means before the server has the command."""
    _happened: int = attrs.field(default=0, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)

    @property
    def happened(self) -> int:
        """How often it has happened."""
        return self._happened

    async def wait_happened(self, times: int = 1) -> None:
        """Wait until it has happened that often, in all; always a checkpoint."""
        while self._happened < times:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    def note(self) -> None:
        """Count that it happened. The proxy calls this."""
        self._happened += 1
        self._changed.set()
        self._changed = trio.Event()


@attrs.define(eq=False)
class _Planned:
    fault: Fault
    skip: int
    left: int


class Faults:
    """The faults of one proxy that are still to come, oldest first."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []

    def add(self, fault: Fault, *, skip: int, times: int) -> Fault:
        """Plan it for so many commands, after so many others."""
        self._planned.append(_Planned(fault, skip, times))
        return fault

    def clear(self) -> None:
        """Forget them all."""
        self._planned.clear()

    def before(self, name: str) -> Fault | None:
        """Count this command, and return what is to happen before it."""
        return self._take(name, in_reply=False)

    def in_reply(self, name: str) -> Fault | None:
        """Count this command, and return what is to happen in the reply to it."""
        return self._take(name, in_reply=True)

    def _take(self, name: str, *, in_reply: bool) -> Fault | None:
        for planned in self._planned:
            fault = planned.fault
            if (fault.after is not None) != in_reply or fault.command not in {None, name}:
                continue
            if planned.skip:
                planned.skip -= 1
                continue
            planned.left -= 1
            if not planned.left:
                self._planned.remove(planned)
            return fault
        return None
