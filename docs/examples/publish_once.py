"""Publish an order so that it is stored once, and on disk when that returns."""

import tempfile

import trio

from trio_bus import Confirmation, Guarantee, Message, PublishOptions, open_bus

DURABLE = PublishOptions(confirmation=Confirmation.PERSISTED, guarantee=Guarantee.EXACTLY_ONCE)


async def main(directory: str) -> None:
    order = Message("orders", b"order 7", idempotency_key="order-7")
    async with open_bus(f"embedded://{directory}") as bus:
        first = await bus.publish(order, DURABLE)
        bus.publish_nowait(Message("clicks", b"the button"))  # lost if this process crashes now
    # The program starts again, and does not know how far it had come.
    async with open_bus(f"embedded://{directory}") as bus:
        again = await bus.publish(order, DURABLE)
        print("stored once:", again == first)
        print("orders:", (await bus.info("orders")).length)
        print("clicks:", (await bus.info("clicks")).length)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        trio.run(main, home)
