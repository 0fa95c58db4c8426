"""A consumer that dies of a message: ``python -m tests.poison_process URL [DEAD_TOPIC]``.

For each start of a handler it prints the payload, the attempt, ``alone`` or ``beside`` as the
observer was told, and how many other handlers run.
"""

from __future__ import annotations

import os
import signal
import sys

import attrs
import trio

from tests.harness import Recorder, config
from trio_bus import BusOptions, Delivery, Transition, open_bus, open_subscription

POISON = b"poison"
MAX_RETRY = 3
LEASE = 0.4
"""Seconds after which the next process takes over."""
WORK = 0.02
"""Seconds that an innocent takes: it is under way when the poison kills."""


class Handler:
    """Prints how each starts; dies of the poison."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self._running = 0

    async def __call__(self, delivery: Delivery) -> None:
        """Handle it, or die."""
        (started,) = [
            event
            for event in self.recorder.transitions[-100:]
            if event.transition is Transition.STARTED and event.entry_id == delivery.entry_id
        ]
        how = "alone" if started.reason.startswith("alone: ") else "beside"
        payload = delivery.message.payload
        print(payload.decode(), delivery.state.attempt, how, self._running, flush=True)
        if payload == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        self._running += 1
        await trio.sleep(WORK)
        self._running -= 1


async def main(url: str, dead_topic: str | None) -> None:
    """Consume until killed."""
    handler = Handler()
    settings = attrs.evolve(
        config(),
        max_in_flight=16,
        max_retry=MAX_RETRY,
        claim_idle_timeout=LEASE,
        dead_letter_topic=dead_topic,
    )
    options = BusOptions(observer=handler.recorder)
    async with open_bus(url, options) as bus, open_subscription(bus, settings, handler):
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
