"""A handler that fails is started again, later, in its own group."""

import trio

from trio_bus import Backoff, Delivery, Message, SubscriptionConfig, open_bus, open_subscription

charged = trio.Event()


async def charge(delivery: Delivery) -> None:
    state = delivery.state
    print(f"attempt {state.attempt} of {state.max_attempt}")
    if state.attempt < 3:
        raise ConnectionError("the bank does not answer")
    charged.set()


async def main() -> None:
    config = SubscriptionConfig(
        "orders",
        "billing",
        max_retry=5,
        retry_backoff=Backoff(first=0.05, factor=2.0, cap=60.0),
        reclaim_interval=0.1,
    )
    async with open_bus("memory:") as bus, open_subscription(bus, config, charge):
        await bus.publish(Message("orders", b"order 7"))
        await charged.wait()


if __name__ == "__main__":
    trio.run(main)
