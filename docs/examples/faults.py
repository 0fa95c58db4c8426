"""A network that fails when we say so: what does our code do then?"""

import trio

from trio_bus import (
    Message,
    OutcomeUnknown,
    SubscriptionConfig,
    open_bus,
    open_embedded,
    open_subscription,
)
from trio_bus.testing import Act, open_fault_proxy


async def main() -> None:
    async with (
        open_embedded() as server,
        open_fault_proxy(server.url) as proxy,
        open_bus(proxy.url) as bus,
    ):
        order = Message("orders", b"order 7")
        proxy.in_reply("XADD", Act.RESET)  # the server will have it, and nobody will know
        try:
            await bus.publish(order)
        except OutcomeUnknown:
            print("stored or not? once more")
            await bus.publish(order)

        config = SubscriptionConfig("orders", "billing")
        async with open_subscription(bus, config) as deliveries:
            lost = proxy.in_reply(after=3)  # whatever the subscription asks next
            for _ in range(2):
                async with await deliveries.receive() as delivery:
                    assert delivery.message.uid == order.uid  # how a consumer knows it again
                    print(delivery.message.payload.decode(), "attempt", delivery.state.attempt)
        print("answers that were cut off:", lost.happened)


if __name__ == "__main__":
    trio.run(main)
