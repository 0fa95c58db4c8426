"""What is given up goes to a topic of its own, with its bytes and the reason."""

import trio

from trio_bus import Delivery, Message, SubscriptionConfig, open_bus, open_subscription


class CardExpiredError(Exception):
    """Trying again would not help."""


async def charge(_delivery: Delivery) -> None:
    raise CardExpiredError("the card of customer-7 expired in May")


async def main() -> None:
    billing = SubscriptionConfig(
        "orders", "billing", reject_on=CardExpiredError, dead_letter_topic="{orders}.dead"
    )
    support = SubscriptionConfig("{orders}.dead", "support")
    async with (
        open_bus("memory:") as bus,
        open_subscription(bus, billing, charge),
        open_subscription(bus, support) as letters,
    ):
        await bus.publish(Message("orders", b"order 7"))
        async with await letters.receive() as letter:
            context = letter.dead_letter
            assert context is not None
            print(letter.message.payload.decode(), "of", context.topic)
            print(f"{context.cause.value} by {context.group} at attempt {context.attempts}")
            print(f"{context.error_type}: {context.error_text}")


if __name__ == "__main__":
    trio.run(main)
