"""A consumer of ordered messages: ``python -m tests.ordered_process URL FILE``.

It appends to the file, which others share: ``active PID``; and of each delivery ``began``,
``ended`` and ``acked`` with the process, the entry, the attempt and the key.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from trio_bus import (
    Backoff,
    BusOptions,
    Delivery,
    ErrorEvent,
    OrderingMode,
    SubscriptionConfig,
    Transition,
    TransitionEvent,
    open_bus,
    open_subscription,
)
from trio_bus._chance import chance

LEASE = 2.0
"""Seconds: short enough for a test, long enough for a busy machine."""
SETTINGS = SubscriptionConfig(
    "orders",
    "billing",
    ordering_mode=OrderingMode.KEY,
    max_in_flight=50,
    max_retry=100,
    retry_backoff=Backoff(first=0.01, cap=0.05),
    claim_idle_timeout=LEASE,
    reclaim_interval=0.1,
)


class Diary:
    """Writes each line at once, behind all others; it is the observer of its process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        """Write a line."""
        os.write(self._file, f"{' '.join(str(word) for word in words)}\n".encode())

    def on_error(self, event: ErrorEvent, /) -> None:
        """Be silent: handlers fail."""

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Tell what was confirmed, and who is active."""
        if event.transition is Transition.ACKED:
            self.write("acked", os.getpid(), event.entry_id, event.attempt)
        elif event.transition is Transition.ACTIVE:
            self.write("active", os.getpid())

    async def handle(self, delivery: Delivery) -> None:
        """Take a while, and fail now and then."""
        place = (os.getpid(), delivery.entry_id, delivery.state.attempt, delivery.message.key)
        self.write("began", *place)
        await trio.sleep(chance.random() * 0.02)
        if chance.random() < 0.1:
            raise OSError("one in ten")
        self.write("ended", *place)


async def main(url: str, path: str) -> None:
    """Consume until killed."""
    diary = Diary(Path(path))
    async with (
        open_bus(url, BusOptions(observer=diary)) as bus,
        open_subscription(bus, SETTINGS, diary.handle),
    ):
        diary.write("opened", os.getpid())
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
