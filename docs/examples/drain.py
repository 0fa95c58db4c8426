"""Stop taking in, let what was started finish, and return."""

import trio

from trio_bus import Delivery, Message, SubscriptionConfig, open_bus, run_subscription

started = trio.Event()


async def charge(delivery: Delivery) -> None:
    started.set()
    await trio.sleep(0.2)
    print("charged for", delivery.message.payload.decode())


async def main() -> None:
    config = SubscriptionConfig("orders", "billing", drain_timeout=10.0)
    async with open_bus("memory:") as bus, trio.open_nursery() as nursery:
        subscription = await nursery.start(run_subscription, bus, config, charge)
        await bus.publish(Message("orders", b"order 7"))
        await started.wait()
        await subscription.drain()
        print("handled", subscription.statistics().handled)


if __name__ == "__main__":
    trio.run(main)
