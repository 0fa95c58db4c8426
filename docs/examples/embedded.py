"""A server of our own: its events survive it, and another process may join."""

import sys
import tempfile

import trio

from trio_bus import Message, SubscriptionConfig, open_bus, open_subscription

PUBLISHER = """
import sys, trio
from trio_bus import Message, open_bus

async def main():
    async with open_bus(sys.argv[1]) as bus:
        await bus.publish(Message("orders", b"order 8, from another process"))

trio.run(main)
"""


async def main(directory: str) -> None:
    async with open_bus(f"embedded://{directory}") as bus:
        assert bus.url is not None
        await bus.publish(Message("orders", b"order 7"))
        await trio.run_process([sys.executable, "-c", PUBLISHER, bus.url])
    # The server is gone now; its events are not.
    config = SubscriptionConfig("orders", "billing")
    async with (
        open_bus(f"embedded://{directory}") as bus,
        open_subscription(bus, config) as deliveries,
    ):
        for _ in range(2):
            async with await deliveries.receive() as delivery:
                print(delivery.message.payload.decode())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        trio.run(main, home)
