"""Work until SIGTERM or Ctrl-C; finish what was started, and leave the rest to others."""

import os
import signal
from collections.abc import AsyncIterator

import trio

from trio_bus import Delivery, SubscriptionConfig, open_bus, run_subscription

URL = os.environ.get("TRIO_BUS_URL", "redis://localhost")


async def charge(delivery: Delivery) -> None:
    print("charging for", delivery.message.payload.decode(), flush=True)
    await trio.sleep(2.0)
    print("charged for", delivery.message.payload.decode(), flush=True)


async def cancel_on_next(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel("somebody has no patience")


async def main() -> None:
    config = SubscriptionConfig("orders", "billing", drain_timeout=20.0)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_bus(URL) as bus, trio.open_nursery() as nursery:
            subscription = await nursery.start(run_subscription, bus, config, charge)
            print("ready", flush=True)
            print("stopping:", signal.Signals(await anext(signals)).name, flush=True)
            nursery.start_soon(cancel_on_next, signals, nursery.cancel_scope)
            await subscription.drain()
            nursery.cancel_scope.cancel("nothing is in flight any more")
    print("handled", subscription.statistics().handled)


if __name__ == "__main__":
    trio.run(main)
