"""Count the stock of a shop, by a worker that is killed with SIGKILL at random moments."""

import subprocess
import sys
from collections import Counter
from random import SystemRandom

import trio

from trio_bus import Bus, Delivery, Message, SubscriptionConfig, open_bus, open_subscription

ORDERS, BOOKED = "{stock}.orders", "{stock}.booked"
CONFIG = SubscriptionConfig(
    ORDERS,
    "stock-keeper",
    output_topics=[BOOKED],
    claim_idle_timeout=0.5,  # the dead are noticed after so many seconds
    max_retry=100,  # a crash counts as an attempt, and there will be many
)

between = SystemRandom().uniform


async def book(delivery: Delivery) -> None:
    """Say in which row the stock changes, and by how much: twice, or never, would be wrong."""
    article, pieces = delivery.message.payload.split()
    async with delivery.transaction() as tx:
        await tx.publish(Message(BOOKED, article + b" -" + pieces))
        await trio.sleep(between(0, 0.01))  # a good moment to be killed
        await tx.publish(Message(BOOKED, b"invoices 1"))


async def work(url: str) -> None:
    """Be the worker, until killed."""
    async with open_bus(url) as bus, open_subscription(bus, CONFIG, book):
        print("ready", flush=True)
        await trio.sleep_forever()


async def be_killed(url: str, bus: Bus, orders: list[Message]) -> None:
    """Let a worker begin with these orders, and kill it in the middle."""
    command = [sys.executable, __file__, "work", url]
    worker = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    async with worker.stdout:
        await worker.stdout.receive_some()  # it is ready
        await bus.publish_batch(orders)
        await trio.sleep(between(0, 0.1))
        worker.kill()
        await worker.wait()


async def stock(bus: Bus) -> Counter[str]:
    """Add up all rows that were booked."""
    total = Counter[str]()
    rows = (await bus.info(BOOKED)).length
    async with open_subscription(bus, SubscriptionConfig(BOOKED, "auditor")) as deliveries:
        for _ in range(rows):
            async with await deliveries.receive() as delivery:
                article, pieces = delivery.message.payload.decode().split()
                total[article] += int(pieces)
    return total


async def main(url: str, number: int, kills: int) -> None:
    orders = [Message(ORDERS, f"pens {n % 10 + 1}".encode()) for n in range(number)]
    async with open_bus(url) as bus:
        assert bus.url is not None
        for life in range(kills):
            await be_killed(bus.url, bus, orders[life::kills])
        async with open_subscription(bus, CONFIG, book):  # somebody lives, at last
            while (await bus.info(ORDERS)).groups[0].oldest is not None:
                await trio.sleep(0.1)
        ordered = sum(n % 10 + 1 for n in range(number))
        booked = await stock(bus)
        print(f"{number} orders of {ordered} pens, and {kills} workers killed")
        print(f"booked: {-booked['pens']} pens and {booked['invoices']} invoices")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["work", url]:
            trio.run(work, url)
        case [url, number, kills]:
            trio.run(main, url, int(number), int(kills))
        case _:
            trio.run(main, "embedded:", 200, 5)
