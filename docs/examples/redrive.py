"""An operator looks at what billing gave up, mends the cause, and sends it back."""

import trio

from trio_bus import Bus, Delivery, Message, SubscriptionConfig, open_bus, open_subscription

DEAD = "{orders}.dead"


class Billing:
    """Charges customers, unless the bank is closed."""

    def __init__(self) -> None:
        self.bank_is_open = False
        self.tried = trio.Event()

    async def charge(self, delivery: Delivery) -> None:
        self.tried.set()
        if not self.bank_is_open:
            raise ConnectionError("the bank does not answer")
        print("charged", delivery.message.payload.decode(), "at attempt", delivery.state.attempt)


async def report(bus: Bus) -> None:
    """List what lies there, also what cannot be decoded."""
    async for dead in bus.dead_letters(DEAD):
        letter = dead.dead_letter
        payload = "unreadable" if dead.message is None else dead.message.payload.decode()
        print(f"{payload}: {letter.group} had {letter.attempts} attempts, {letter.error_text}")


async def main() -> None:
    config = SubscriptionConfig("orders", "billing", max_retry=0, dead_letter_topic=DEAD)
    billing = Billing()
    async with open_bus("memory:") as bus:
        async with open_subscription(bus, config, billing.charge):
            await bus.publish(Message("orders", b"order 7"))
            await billing.tried.wait()
        await report(bus)

        billing.bank_is_open, billing.tried = True, trio.Event()
        trial = await bus.redrive(DEAD, error_type="ConnectionError", dry_run=True)
        print("would send back", len(trial.results))
        outcome = await bus.redrive(DEAD, error_type="ConnectionError")
        print("sent back", outcome.redriven)
        async with open_subscription(bus, config, billing.charge):
            await billing.tried.wait()
        await report(bus)


if __name__ == "__main__":
    trio.run(main)
