"""A database is down for a minute: no order is to blame, and none is given up."""

import trio
from trio.testing import MockClock

from trio_bus import (
    BusOptions,
    Delivery,
    ErrorEvent,
    Message,
    SubscriptionConfig,
    Transition,
    TransitionEvent,
    open_bus,
    open_subscription,
)


class Database:
    """Stands where yours is."""

    def __init__(self) -> None:
        self.is_down = False
        self.rows: list[bytes] = []

    async def insert(self, row: bytes) -> None:
        await trio.sleep(0.01)
        if self.is_down:
            raise ConnectionRefusedError("the database is down")
        self.rows.append(row)


class Pager:
    """Wakes somebody up, once."""

    def on_error(self, event: ErrorEvent) -> None:
        """Each single failure is no news."""

    def on_transition(self, event: TransitionEvent) -> None:
        if event.transition is Transition.OUTAGE_BEGAN:
            print("pager:", event.reason)
        elif event.transition is Transition.OUTAGE_ENDED:
            print("pager: it works again")


async def main() -> None:
    database = Database()

    async def store(delivery: Delivery) -> None:
        await database.insert(delivery.message.payload)

    config = SubscriptionConfig("orders", "database", failure_threshold=5, max_retry=3)
    async with (
        open_bus("memory:", options=BusOptions(observer=Pager())) as bus,
        open_subscription(bus, config, store) as subscription,
    ):
        database.is_down = True
        for second in range(60):
            await bus.publish_batch([Message("orders", b"%d" % second)] * 5)
            await trio.sleep(1)
        print("down for a minute:", len(database.rows), "orders stored")
        database.is_down = False
        await trio.sleep(10)
        figures = subscription.statistics()
    print(f"{len(set(database.rows))} kinds of {len(database.rows)} orders stored")
    print(f"{figures.rejected} given up, {figures.retried} of the first failures counted")


if __name__ == "__main__":
    trio.run(main, clock=MockClock(autojump_threshold=0))  # a minute of virtual time
