"""Stop taking in uploads while the disk is nearly full."""

from collections.abc import Callable

import trio

from trio_bus import (
    Delivery,
    Message,
    Subscription,
    SubscriptionConfig,
    open_bus,
    open_subscription,
)

DISK = {"free": 250}
"""What ``shutil.disk_usage`` would say, in megabytes."""


async def store(delivery: Delivery) -> None:
    DISK["free"] -= int(delivery.message.headers["megabytes"])
    print(f"stored {delivery.message.payload.decode()}, {DISK['free']} MB are free")


async def watch(subscription: Subscription, free: Callable[[], int]) -> None:
    while True:
        if free() < 100:
            subscription.pause()
        elif free() > 200:
            subscription.resume()
        await trio.sleep(0.01)


async def main() -> None:
    config = SubscriptionConfig(
        "uploads", "disk", max_in_flight=1, max_in_flight_bytes=64 * 1024**2
    )
    async with (
        open_bus("memory:") as bus,
        open_subscription(bus, config, store) as subscription,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch, subscription, lambda: DISK["free"])
        for name in ("cat.mp4", "dog.mp4"):
            await bus.publish(Message("uploads", name.encode(), headers={"megabytes": "90"}))
        while not subscription.statistics().paused:
            await trio.sleep(0.01)
        await bus.publish(Message("uploads", b"owl.mp4", headers={"megabytes": "40"}))
        await trio.sleep(0.05)
        print("paused:", subscription.statistics().paused)
        print("somebody makes room")
        DISK["free"] += 300
        while subscription.statistics().handled < 3:
            await trio.sleep(0.01)
        print("paused:", subscription.statistics().paused)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
