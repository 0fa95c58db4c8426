"""One publisher, one handler."""

import trio

from trio_bus import Delivery, Message, SubscriptionConfig, open_bus, open_subscription

charged = trio.Event()


async def charge(delivery: Delivery) -> None:
    print("charging for", delivery.message.payload.decode())
    charged.set()


async def main() -> None:
    async with open_bus("memory:") as bus:
        config = SubscriptionConfig("orders", "billing")
        async with open_subscription(bus, config, charge):
            await bus.publish(Message("orders", b'{"id": 7}', key="customer-7"))
            await charged.wait()


if __name__ == "__main__":
    trio.run(main)
