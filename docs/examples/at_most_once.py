"""Acknowledge before the handler starts: what fails is not started again."""

import trio

from trio_bus import AckMode, Delivery, Message, SubscriptionConfig, open_bus, open_subscription

shown = trio.Event()


async def show(delivery: Delivery) -> None:
    shown.set()
    raise RuntimeError(f"no screen for {delivery.message.payload.decode()}")


async def main() -> None:
    config = SubscriptionConfig("ticks", "screen", ack_mode=AckMode.AUTO_ON_RECEIVE)
    async with open_bus("memory:") as bus:
        async with open_subscription(bus, config, show):
            await bus.publish(Message("ticks", b"12:00:01"))
            await shown.wait()
        (group,) = (await bus.info("ticks")).groups
        print("waiting for another attempt:", group.pending + group.released + group.delayed)


if __name__ == "__main__":
    trio.run(main)
