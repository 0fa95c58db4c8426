"""A function decides what a failure leads to."""

import trio

from trio_bus import Decision, Delivery, Message, SubscriptionConfig, open_bus, open_subscription


class BusyError(Exception):
    """The bank says when to come back."""

    retry_after = 0.05


class ClosedError(Exception):
    """The bank is closed: no fault of the order, so that the attempt does not count."""


ANSWERS = iter([BusyError(), ClosedError(), ValueError("no such customer")])
ended = trio.Event()


def decide(error: Exception, attempt: int) -> Decision | None:
    print(f"attempt {attempt}: {type(error).__name__}")
    match error:
        case BusyError():
            return Decision.retry(delay=error.retry_after)
        case ClosedError():
            return Decision.release(delay=0.05)
        case ValueError():
            ended.set()
            return Decision.reject()
        case _:
            return None  # as retry_on, reject_on and retry_backoff say


async def charge(_: Delivery) -> None:
    raise next(ANSWERS)


async def main() -> None:
    config = SubscriptionConfig("orders", "billing", max_retry=3, on_failure=decide)
    async with open_bus("memory:") as bus, open_subscription(bus, config, charge) as subscription:
        await bus.publish(Message("orders", b"order 7"))
        await ended.wait()
        await subscription.wait_idle()
        done = subscription.statistics()
    print(f"retried {done.retried}, released {done.released}, rejected {done.rejected}")


if __name__ == "__main__":
    trio.run(main)
