"""Handle the payments of each customer in order, and those of all customers side by side."""

import trio

from trio_bus import (
    Backoff,
    Delivery,
    Message,
    OrderingMode,
    SubscriptionConfig,
    open_bus,
    open_subscription,
)

PAYMENTS = SubscriptionConfig(
    "payments",
    "ledger",
    ordering_mode=OrderingMode.KEY,
    max_in_flight=8,
    retry_backoff=Backoff(first=0.2, jitter=0.0),
    dead_letter_topic="{payments}.dead",
)
balances = {"ann": 0, "bob": 0}
done = trio.Event()


async def book(delivery: Delivery) -> None:
    """Book one payment. The first of Ann finds her account locked, and comes again."""
    customer, amount = delivery.message.key, int(delivery.message.payload)
    if customer == "ann" and amount == 100 and delivery.state.attempt == 1:
        print("ann   +100   the account is locked: later")
        raise RuntimeError("the account is locked")
    if balances[customer] + amount < 0:
        await delivery.reject(f"{customer} has only {balances[customer]}")
        return
    balances[customer] += amount
    print(f"{customer}   {amount:+4d}   balance {balances[customer]}")
    if balances == {"ann": 30, "bob": 15}:
        done.set()


async def main() -> None:
    """Publish payments, and book them."""
    async with open_bus("memory:") as bus, open_subscription(bus, PAYMENTS, book):
        for customer, amount in (("ann", 100), ("ann", -70), ("bob", 20), ("bob", -5)):
            await bus.publish(Message("payments", str(amount).encode(), key=customer))
        await done.wait()


trio.run(main)
