"""What does a service do when the answer to its publish is lost, and acks come late?"""

import trio
from trio.testing import MockClock

from trio_bus import (
    Bus,
    BusOptions,
    Delivery,
    MemoryBackend,
    Message,
    OutcomeUnknown,
    SubscriptionConfig,
    open_subscription,
)
from trio_bus.testing import Done, FaultyBackend, RecordingObserver


async def main() -> None:
    billed: list[bytes] = []

    async def bill(delivery: Delivery) -> None:
        billed.append(delivery.message.payload)

    backend = FaultyBackend(MemoryBackend())
    bus = Bus(backend, BusOptions(observer=RecordingObserver()))
    async with open_subscription(bus, SubscriptionConfig("orders", "billing"), bill):
        backend.fail("append", OutcomeUnknown("cut"), done=Done.EVERYTHING)
        try:
            await bus.publish(Message("orders", b"plain"))
        except OutcomeUnknown:
            print("without a key nobody can know: it may be published, or not")
        backend.fail("append", OutcomeUnknown("cut"), done=Done.EVERYTHING)
        await bus.publish(Message("orders", b"keyed", idempotency_key="order 7"))
        backend.fail_at_random(0.5, seed=7)  # and now everything is bad, for a minute
        await trio.sleep(60)
        backend.heal()
        await trio.sleep(60)
    print(f"{sorted(billed)} after {backend.calls['append']} appends")


if __name__ == "__main__":
    trio.run(main, clock=MockClock(autojump_threshold=0))
