"""Publish a file of readings as a batch; add them up in a handler."""

import csv
from collections import Counter
from pathlib import Path

import trio

from trio_bus import Delivery, Message, SubscriptionConfig, open_bus, open_subscription

CSV = Path(__file__).with_name("seattle-weather.csv")


class Rain:
    """Adds up the millimetres of rain of each year."""

    def __init__(self, expected: int) -> None:
        self.by_year: Counter[str] = Counter()
        self.done = trio.Event()
        self._missing = expected

    async def handle(self, delivery: Delivery) -> None:
        date, rain, *_ = delivery.message.payload.decode().split(",")
        self.by_year[date[:4]] += round(10 * float(rain))
        self._missing -= 1
        if not self._missing:
            self.done.set()


async def main() -> None:
    with CSV.open(newline="") as file:
        rows = [",".join(row) for row in csv.reader(file)][1:]
    rain = Rain(expected=len(rows))
    async with open_bus("memory:") as bus:
        config = SubscriptionConfig("weather", "rain", max_in_flight=64)
        async with open_subscription(bus, config, rain.handle):
            outcome = await bus.publish_batch([Message("weather", row.encode()) for row in rows])
            outcome.raise_errors()
            await rain.done.wait()
    for year, tenths in sorted(rain.by_year.items()):
        print(year, f"{tenths / 10:.1f} mm")


if __name__ == "__main__":
    trio.run(main)
