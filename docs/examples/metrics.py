"""Counters and a histogram for Prometheus, out of what an observer hears."""

from collections import Counter

import trio

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

BUCKETS = {"0.01": 0.01, "0.1": 0.1, "1": 1.0, "10": 10.0, "+Inf": float("inf")}


started = trio.Semaphore(0)


class Metrics:
    """Counts each end of a delivery, and how long the handlers ran."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def wants(self, transition: Transition) -> bool:
        return transition is not Transition.RECEIVED  # what is not wanted costs nothing

    def on_error(self, event: ErrorEvent) -> None:
        self.counts[f'bus_errors_total{{scope="{event.scope.value}"}}'] += 1

    def on_transition(self, event: TransitionEvent) -> None:
        where = f'group="{event.group}",transition="{event.transition.value}"'
        if event.cause is not None:
            where += f',cause="{event.cause.value}"'
        self.counts[f"bus_transitions_total{{{where}}}"] += 1
        if event.transition is Transition.FINISHED and event.ran is not None:
            for label, limit in BUCKETS.items():
                name = f'bus_handler_seconds_bucket{{group="{event.group}",le="{label}"}}'
                self.counts[name] += event.ran <= limit

    def exposition(self) -> str:
        return "\n".join(f"{name} {count}" for name, count in sorted(self.counts.items()))


async def charge(delivery: Delivery) -> None:
    started.release()
    if delivery.message.payload == b"nonsense":
        raise ValueError("this is no order")
    await trio.sleep(0.02)


async def main() -> None:
    metrics = Metrics()
    config = SubscriptionConfig("orders", "billing", reject_on=ValueError)
    async with (
        open_bus("memory:", BusOptions(observer=metrics)) as bus,
        open_subscription(bus, config, charge),
    ):
        for payload in (b"order 7", b"nonsense"):
            await bus.publish(Message("orders", payload))
            await started.acquire()
    for line in metrics.exposition().splitlines():
        if "_bucket" not in line or "+Inf" in line:  # the rest depends on the machine
            print(line)


if __name__ == "__main__":
    trio.run(main)
