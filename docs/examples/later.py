"""The server keeps a message until it is due; who scheduled it may be gone by then."""

import trio

from trio_bus import Delivery, Message, ScheduleId, SubscriptionConfig, open_bus, open_subscription

reminded = trio.Event()


async def remind(delivery: Delivery) -> None:
    print(delivery.message.payload.decode())
    reminded.set()


async def main() -> None:
    async with open_bus("memory:") as bus:
        first = await bus.schedule(Message("reminders", b"pay order 6"), delay=0.2)
        await bus.schedule(Message("reminders", b"pay order 7"), delay=0.2)
        kept = str(first)  # for a database

        # Order 6 was paid.
        print("cancelled:", await bus.cancel_scheduled(ScheduleId.parse(kept)))

        async with open_subscription(bus, SubscriptionConfig("reminders", "mail"), remind):
            await reminded.wait()
        print("cancelled:", await bus.cancel_scheduled(ScheduleId.parse(kept)))


if __name__ == "__main__":
    trio.run(main)
