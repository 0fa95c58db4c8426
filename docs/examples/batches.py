"""Write orders into SQLite, many in one transaction; what is broken takes no other with it."""

import json
import sqlite3

import trio

from trio_bus import Message, SubscriptionConfig, open_bus, open_subscription


async def main() -> None:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT)")

    def write(rows: list[tuple[int, str]]) -> None:
        with database:  # one transaction; an order that comes again changes nothing
            database.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?)", rows)

    config = SubscriptionConfig("orders", "sqlite", max_in_flight=100)
    async with open_bus("memory:") as bus, open_subscription(bus, config) as deliveries:
        payloads = [json.dumps({"id": n, "customer": f"customer-{n % 3}"}) for n in range(250)]
        payloads[7] = "no order"
        await bus.publish_batch([Message("orders", it.encode()) for it in payloads])
        seen = 0
        async for batch in deliveries.batches(max_size=100, max_wait=0.5):
            async with batch:
                rows: list[tuple[int, str]] = []
                for delivery in batch:
                    try:
                        order = json.loads(delivery.message.payload)
                        rows.append((order["id"], order["customer"]))
                    except (ValueError, KeyError) as error:
                        await batch.reject(delivery, error)
                await trio.to_thread.run_sync(write, rows)
                print(f"{len(batch)} orders, {len(rows)} written")
            seen += len(batch)
            if seen == len(payloads):
                break
        await deliveries.wait_idle()
        figures = deliveries.statistics()
    print(f"{figures.handled} handled, {figures.rejected} rejected")
    database.close()


if __name__ == "__main__":
    trio.run(main)
