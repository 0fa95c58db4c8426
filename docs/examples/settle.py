"""Settle each delivery by hand."""

import trio

from trio_bus import Delivery, Message, SubscriptionConfig, open_bus, open_subscription


async def settle(delivery: Delivery) -> None:
    payload = delivery.message.payload.decode()
    if payload == "not ours today":
        await delivery.release(delay=60.0)  # given back, uncounted; free to take in a minute
    elif payload == "nonsense":
        await delivery.reject("this is no order")  # to the dead-letter topic
    elif delivery.state.attempt == 1:
        await delivery.retry("the bank is busy", delay=0.05)  # again, and it counts
    else:
        await delivery.renew()  # make sure that it is still ours
        await delivery.ack()  # done
    print(payload, "at attempt", delivery.state.attempt)


async def main() -> None:
    config = SubscriptionConfig("orders", "billing", reclaim_interval=0.1)
    async with open_bus("memory:") as bus, open_subscription(bus, config) as deliveries:
        for payload in (b"not ours today", b"nonsense", b"order 7"):
            await bus.publish(Message("orders", payload))
        for _ in range(4):
            await settle(await deliveries.receive())


if __name__ == "__main__":
    trio.run(main)
