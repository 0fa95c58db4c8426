"""Send webhooks to somebody who is away for hours: each is tried again, later and later."""

import trio
from trio.testing import MockClock

from trio_bus import (
    Backoff,
    Decision,
    Delivery,
    Message,
    SubscriptionConfig,
    open_bus,
    open_subscription,
)

HOUR = 3600.0
BACK_AT = 9.0


class Refused(Exception):
    """The answer to a request that is none of 200 to 299."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry_after = retry_after


def hours() -> float:
    return trio.current_time() / HOUR  # a mock clock begins at zero


async def post(url: str) -> None:
    """Stand where an HTTP client is."""
    await trio.lowlevel.checkpoint()
    if url.endswith("/gone"):
        raise Refused(410)
    if hours() < BACK_AT:
        raise Refused(503)


def decide(error: Exception, _: int) -> Decision | None:
    if not isinstance(error, Refused):
        return None
    if error.status in {400, 404, 410}:
        return Decision.reject()  # it will never be otherwise
    return None if error.retry_after is None else Decision.retry(delay=error.retry_after)


async def send(delivery: Delivery) -> None:
    url = delivery.message.payload.decode()
    try:
        await post(url)
    except Refused as refused:
        print(f"{hours():5.2f} h, attempt {delivery.state.attempt}: {url}: {refused}")
        raise
    print(f"{hours():5.2f} h, attempt {delivery.state.attempt}: {url}: delivered")


async def main() -> None:
    config = SubscriptionConfig(
        "webhooks",
        "sender",
        max_retry=8,
        retry_backoff=Backoff(first=60.0, factor=4.0, cap=6 * HOUR, jitter=0.0),
        on_failure=decide,
        handler_timeout=30.0,
        dead_letter_topic="{webhooks}.dead",
        reclaim_interval=60.0,
        block_timeout=15.0,
    )
    async with open_bus("memory:") as bus, open_subscription(bus, config, send) as subscription:
        await bus.publish(Message("webhooks", b"https://shop.example/gone"))
        await trio.sleep(1)
        await bus.publish(Message("webhooks", b"https://shop.example/paid"))
        await trio.sleep(24 * HOUR)
        figures = subscription.statistics()
    print(f"{figures.handled} delivered, {figures.rejected} given up")


if __name__ == "__main__":
    trio.run(main, clock=MockClock(autojump_threshold=0))  # a day of virtual time
