"""Alarms: who waits for something to do, and is told in how many seconds there will be some."""

from __future__ import annotations

from collections.abc import Iterator

import trio


class Alarm:
    """Keeps the earliest time it was told of, until somebody asks.

    Invariant: ``_rang`` is set while ``_at`` holds a time.
    """

    __slots__ = ("_at", "_rang")

    def __init__(self) -> None:
        self._at: float | None = None
        self._rang = trio.Event()

    def ring(self, delay: float) -> None:
        """Tell of something *delay* seconds from now. Never a checkpoint."""
        at = trio.current_time() + delay
        if self._at is None or at < self._at:
            self._at = at
        self._rang.set()

    async def wait(self) -> float:
        """Wait until it rang since the last call; return the seconds that are left, at least 0.

        Cancelled, it keeps what it was told.
        """
        await self._rang.wait()
        at, self._at, self._rang = self._at, None, trio.Event()
        return 0.0 if at is None else max(0.0, at - trio.current_time())


class Alarms:
    """The alarms of the members in this process, by what they listen to."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[str, dict[Alarm, str]] = {}

    def __iter__(self) -> Iterator[str]:
        """Iterate over what is listened to."""
        return iter(self._members)

    def add(self, channel: str, group: str) -> Alarm:
        """Return a new alarm of a member of *group*."""
        alarm = Alarm()
        self._members.setdefault(channel, {})[alarm] = group
        return alarm

    def remove(self, channel: str, alarm: Alarm) -> None:
        """Let it ring no more."""
        members = self._members[channel]
        del members[alarm]
        if not members:
            del self._members[channel]

    def ring(self, channel: str, delay: float, group: str = "") -> None:
        """Ring those of *group*; all that listen to *channel*, if it is empty."""
        for alarm, its_group in self._members.get(channel, {}).items():
            if group in {"", its_group}:
                alarm.ring(delay)
