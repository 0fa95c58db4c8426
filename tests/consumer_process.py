"""A consumer in a process of its own: ``python -m tests.consumer_process URL MODE``.

``handle`` prints the payload of each message and acks it; ``hold`` prints it and never ends, so
that the process holds as many entries as it has permits. ``cling`` holds like that; what it is
cancelled for it tries to ack, and prints what came of it.
"""

from __future__ import annotations

import sys

import attrs
import trio

from tests.harness import config
from trio_bus import Delivery, LeaseLost, open_bus, open_subscription

LEASE = 1.0
"""Seconds: short enough for a test, long enough for a busy machine."""


async def handle(delivery: Delivery) -> None:
    """Print, and succeed."""
    print(delivery.message.payload.decode(), flush=True)


async def hold(delivery: Delivery) -> None:
    """Print, and go on for ever."""
    await handle(delivery)
    await trio.sleep_forever()


async def cling(delivery: Delivery) -> None:
    """Print, go on for ever, and do not let go."""
    try:
        await hold(delivery)
    finally:
        with trio.CancelScope(shield=True):
            try:
                await delivery.ack()
                came = "acked"
            except LeaseLost:
                came = "lost"
            print(came, delivery.message.payload.decode(), flush=True)


async def main(url: str, mode: str) -> None:
    """Consume until killed."""
    settings = attrs.evolve(config(), max_in_flight=50, claim_idle_timeout=LEASE)
    handler = {"handle": handle, "hold": hold, "cling": cling}[mode]
    async with open_bus(url) as bus, open_subscription(bus, settings, handler):
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
