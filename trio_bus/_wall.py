"""The time on the wall: whoever needs it asks here, and nothing else here asks the machine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

_of_this_machine = partial(datetime.now, UTC)


class Wall:
    """A wall with a clock on it, which can be exchanged."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: Callable[[], datetime] = _of_this_machine
        """Return the time in UTC."""


wall: Wall = Wall()


@contextmanager
def wall_shows(now: Callable[[], datetime]) -> Generator[None, None, None]:
    """Let *now* say what time it is inside the block."""
    before, wall.now = wall.now, now
    try:
        yield
    finally:
        wall.now = before
