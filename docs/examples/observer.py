"""Hear of every error and every transition."""

from collections import Counter

import trio

from trio_bus import (
    BusOptions,
    Delivery,
    ErrorEvent,
    Message,
    SubscriptionConfig,
    TransitionEvent,
    open_bus,
    open_subscription,
)


class Metrics:
    """Counts what happens. An observer must not block."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.both_ended = trio.Event()

    def on_error(self, event: ErrorEvent) -> None:
        self.counts[f"{event.scope.value} error"] += 1

    def on_transition(self, event: TransitionEvent) -> None:
        self.counts[event.transition.value] += 1
        if self.counts["acked"] + self.counts["dead-lettered"] == 2:
            self.both_ended.set()


async def charge(delivery: Delivery) -> None:
    if delivery.message.payload == b"nonsense":
        raise ValueError("this is no order")


async def main() -> None:
    metrics = Metrics()
    config = SubscriptionConfig("orders", "billing", max_retry=0)
    async with (
        open_bus("memory:", BusOptions(observer=metrics)) as bus,
        open_subscription(bus, config, charge),
    ):
        await bus.publish(Message("orders", b"order 7"))
        await bus.publish(Message("orders", b"nonsense"))
        await metrics.both_ended.wait()
    for name in ("started", "acked", "handler error", "dead-lettered"):
        print(name, metrics.counts[name])


if __name__ == "__main__":
    trio.run(main)
