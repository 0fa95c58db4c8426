"""A fan-out subscription in a process of its own: ``python -m tests.fan_out_process URL``.

It prints the name of its group, and the payload of each message that it handles.
"""

from __future__ import annotations

import sys

import trio

from trio_bus import BalanceMode, Delivery, SubscriptionConfig, open_bus, open_subscription

EXPIRY = 1.5
"""Seconds: short enough for a test, long enough for a busy machine."""
SETTINGS = SubscriptionConfig(
    "users",
    balance_mode=BalanceMode.FAN_OUT,
    claim_idle_timeout=0.5,
    reclaim_interval=0.1,
    fan_out_expiry=EXPIRY,
)


async def handle(delivery: Delivery) -> None:
    """Print, and succeed."""
    print(delivery.message.payload.decode(), flush=True)


async def main(url: str) -> None:
    """Consume until killed."""
    async with open_bus(url) as bus, open_subscription(bus, SETTINGS, handle) as subscription:
        print(SETTINGS.group_of(subscription.name), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
