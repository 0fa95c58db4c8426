"""A consumer that prints what happens to it: ``python -m tests.telling_process URL FORM``.

Each line is a word, an entry id and an attempt: ``began``, ``cancelled`` and ``finished`` come from
the handler, which works until there is a key ``go`` on the server; the others are transitions. FORM
is ``push`` or ``pull``; pull handles one delivery at a time, so that the others wait.
"""

from __future__ import annotations

import sys

import attrs
import trio

from tests.harness import config
from tests.servers import command
from trio_bus import (
    BusOptions,
    Delivery,
    ErrorEvent,
    TransitionEvent,
    open_bus,
    open_subscription,
)

LEASE = 2.0
"""Seconds: short enough for a test, long enough for a busy machine."""
SETTINGS = attrs.evolve(
    config(), max_in_flight=50, claim_idle_timeout=LEASE, reclaim_interval=0.1, block_timeout=60.0
)


class Teller:
    """An observer that prints."""

    def on_error(self, event: ErrorEvent, /) -> None:
        """Print it, for whoever looks into a failure."""
        print("error", event.scope.value, repr(event.error), flush=True)

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Print what happened to an entry."""
        print(event.transition.value, event.entry_id, event.attempt, flush=True)


async def work(url: str, delivery: Delivery) -> None:
    """Print, and work until it is told to go."""
    place = f"{delivery.entry_id} {delivery.state.attempt}"
    print("began", place, flush=True)
    try:
        while command(url, "EXISTS go") == ":0":
            await trio.sleep(0.05)
    except trio.Cancelled:
        print("cancelled", place, flush=True)
        raise
    print("worked", place, flush=True)


async def main(url: str, form: str) -> None:
    """Consume until killed."""

    async def handle(delivery: Delivery) -> None:
        await work(url, delivery)

    async with open_bus(url, BusOptions(observer=Teller())) as bus:
        if form == "push":
            async with open_subscription(bus, SETTINGS, handle):
                await trio.sleep_forever()
        async with open_subscription(bus, SETTINGS) as deliveries:
            async for delivery in deliveries:
                async with delivery:
                    await handle(delivery)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
