"""Handle the payments of each customer in order, and those of all customers side by side."""

import trio

from trio_bus import (
    Backoff,
    Bus,
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
locked, done = trio.Event(), trio.Event()


async def book(delivery: Delivery) -> None:
    """Book one payment. The first of Ann finds her account locked, and comes again."""
    customer, amount = delivery.message.key, int(delivery.message.payload)
    if customer == "ann" and amount == 100 and delivery.state.attempt == 1:
        print("ann   +100   the account is locked: later")
        locked.set()
        raise RuntimeError("the account is locked")
    if balances[customer] + amount < 0:
        await delivery.reject(f"{customer} has only {balances[customer]}")
        return
    balances[customer] += amount
    print(f"{customer}   {amount:+4d}   balance {balances[customer]}")
    if balances == {"ann": 30, "bob": 15}:
        done.set()


async def pay(bus: Bus, customer: str, *amounts: int) -> None:
    """Publish the payments of one customer."""
    for amount in amounts:
        await bus.publish(Message("payments", str(amount).encode(), key=customer))


async def main() -> None:
    """Publish payments, and book them: those of Bob overtake the ones that wait for Ann."""
    async with open_bus("memory:") as bus, open_subscription(bus, PAYMENTS, book):
        await pay(bus, "ann", 100, -70)
        await locked.wait()
        await pay(bus, "bob", 20, -5)
        await done.wait()


trio.run(main)
