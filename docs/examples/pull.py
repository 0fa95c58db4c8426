"""Receive deliveries in a loop of your own."""

import trio

from trio_bus import Message, SubscriptionConfig, open_bus, open_subscription


async def main() -> None:
    async with open_bus("memory:") as bus:
        config = SubscriptionConfig("orders", "billing")
        async with open_subscription(bus, config) as deliveries:
            await bus.publish(Message("orders", b"order 7"))
            await bus.publish(Message("orders", b"order 8"))
            async for delivery in deliveries:
                async with delivery:
                    print("charging for", delivery.message.payload.decode())
                if delivery.message.payload == b"order 8":
                    break


if __name__ == "__main__":
    trio.run(main)
