"""What a proxy does to all of its connections, and what it has seen."""

from __future__ import annotations

from enum import Enum, unique

import attrs
import trio

from ._fault import Faults


@unique
class Direction(Enum):
    """Which way bytes go."""

    REQUESTS = "requests"
    """From the client to the server."""
    REPLIES = "replies"
    """From the server to the client."""


@attrs.frozen
class Exchange:
    """A command and its reply, as they were passed."""

    command: str
    """The first word of the command, in capitals."""
    reply_bytes: int
    """How long the reply was."""


class Gate:
    """Lets bytes pass, or holds them."""

    def __init__(self) -> None:
        self._closed: set[Direction] = set()
        self._opened = trio.Event()

    def close(self, *directions: Direction) -> None:
        """Hold what comes from now on."""
        self._closed.update(directions)

    def open(self) -> None:
        """Let everything pass."""
        self._closed.clear()
        self._opened.set()
        self._opened = trio.Event()

    def is_closed(self, direction: Direction) -> bool:
        """Whether bytes of this direction are held."""
        return direction in self._closed

    async def wait_opened(self) -> None:
        """Wait until it is opened the next time."""
        await self._opened.wait()


@attrs.define(eq=False)
class Conditions:
    """What holds for every connection."""

    faults: Faults = attrs.field(factory=Faults)
    gate: Gate = attrs.field(factory=Gate)
    delay: float = 0.0
    piece_size: int | None = None
    recordings: list[list[Exchange]] = attrs.field(factory=list[list[Exchange]])
    request_bytes: int = 0
    reply_bytes: int = 0
