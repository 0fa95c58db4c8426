"""Events have classes, versions, and a payload that fits or is rejected."""

from decimal import Decimal

import attrs
import trio

from trio_bus import (
    Delivery,
    EventType,
    Message,
    SubscriptionConfig,
    open_bus,
    open_subscription,
)


@attrs.frozen
class Item:
    """A part of an event may be a class too."""

    name: str
    price: Decimal


@attrs.frozen
class OrderPlaced:
    """This is its second version."""

    order: int
    items: list[Item]
    coupon: str | None = None


@attrs.frozen
class OrderPaid:
    """This is its first."""

    order: int


def into_items(data: dict[str, object]) -> dict[str, object]:
    """Version 1 had a single item."""
    item = {"name": data.pop("item"), "price": data.pop("price")}
    return {**data, "items": [item]}


PLACED = EventType(OrderPlaced, kind="order-placed", version=2, upcasts={1: into_items})
PAID = EventType(OrderPaid, kind="order-paid")
ORDERS = PLACED | PAID


async def account(delivery: Delivery) -> None:
    match ORDERS.load(delivery.message):  # an OrderPlaced or an OrderPaid
        case OrderPlaced() as placed:
            total = sum(item.price for item in placed.items)
            print(f"order {placed.order} is over {total}")
        case OrderPaid() as paid:
            print(f"order {paid.order} is paid")


def old(payload: bytes) -> Message:
    """Return what a shop publishes that nobody has updated yet."""
    return Message("orders", payload, kind="order-placed", event_version="1")


async def main() -> None:
    accounting = SubscriptionConfig(
        "orders", "accounting", max_in_flight=1, dead_letter_topic="{orders}.dead"
    )
    support = SubscriptionConfig("{orders}.dead", "support")
    tea = OrderPlaced(7, [Item("tea", Decimal("4.20")), Item("cup", Decimal("9.00"))])
    async with (
        open_bus("memory:") as bus,
        open_subscription(bus, accounting, account),
        open_subscription(bus, support) as letters,
    ):
        await bus.publish(PLACED.message(tea, topic="orders", key="customer-7"))
        await bus.publish(PAID.message(OrderPaid(7), topic="orders", key="customer-7"))
        await bus.publish(old(b'{"order": 8, "item": "tea", "price": "4.10"}'))
        await bus.publish(old(b'{"order": 9, "item": "tea", "price": "cheap"}'))
        async with await letters.receive() as letter:
            context = letter.dead_letter
            assert context is not None
            print(f"{context.cause.value} at attempt {context.attempts}: {context.error_text}")


if __name__ == "__main__":
    trio.run(main)
