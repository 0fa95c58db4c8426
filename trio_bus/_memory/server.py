"""What the members of one memory backend share: keys, time, and those who wait."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from trio_bus._errors import GroupMissing, RemoteError, WrongType
from trio_bus._wake import Alarms

from .clock import ServerClock
from .errors import StreamError
from .marks import Marks
from .schedule import Schedule
from .store import Store
from .waiting import WaitingRoom

_SPECIAL = {"NOGROUP": GroupMissing, "WRONGTYPE": WrongType}


class Server:
    """A server without a wire. Each `step` is atomic, because nothing in it waits."""

    __slots__ = ("alarms", "clock", "marks", "schedules", "store", "waiting")

    def __init__(self, wall_start: datetime | None) -> None:
        self.store = Store()
        self.marks = Marks()
        self.clock = ServerClock(wall_start)
        self.waiting = WaitingRoom()
        self.alarms = Alarms()
        self.schedules: dict[str, Schedule] = {}

    def schedule(self, topic: str) -> Schedule:
        """Return what is scheduled on a topic."""
        return self.schedules.setdefault(topic, Schedule())

    @contextmanager
    def step(self) -> Generator[int, None, None]:
        """Be one command or script: wake whom it concerns afterwards, also after an error.

        Yields:
          The time in milliseconds.

        Raises:
          RemoteError: what was a `StreamError` inside.
        """
        with refusals():
            try:
                yield self.clock.now_ms()
            finally:
                for key in self.store.take_changed():
                    self.waiting.serve(key)


@contextmanager
def refusals() -> Generator[None, None, None]:
    """Turn a `StreamError` into the error that a caller of the backend knows."""
    try:
        yield
    except StreamError as refusal:
        raise translate(refusal) from refusal


def translate(refusal: StreamError) -> RemoteError:
    """Make the error that a caller of the backend knows."""
    return _SPECIAL.get(refusal.code, RemoteError)(str(refusal))
