"""A handler in a hundred worlds where connections are lost and processes die."""

from collections import Counter

import trio

from trio_bus import Delivery
from trio_bus.testing import Scenario, Trouble, simulate

handled: Counter[bytes] = Counter()


async def handle(delivery: Delivery) -> None:
    await trio.sleep(0.1)
    handled[delivery.message.payload] += 1
    await trio.sleep(0.1)


ORDERS = Scenario(
    name="orders",
    messages=(3, 3),
    consumers=(2, 2),
    handler=handle,
    troubles=(Trouble.LOST, Trouble.KILLED),
    faults=(1, 3),
)


def main() -> None:
    totals: Counter[str] = Counter()
    for seed in range(100):
        handled.clear()
        simulate(ORDERS, seed)
        totals.update("once" if times == 1 else "more often" for times in handled.values())
    for times, messages in totals.most_common():
        print(f"{messages} of 300 messages were handled {times}")


if __name__ == "__main__":
    main()
