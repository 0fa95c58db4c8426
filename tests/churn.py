"""Consumers that come and go at random, and what they write down.

What they write is lines of text, so that it can be appended to a file and outlives a process that
is killed. That an entry is done is written last in its handler: what is killed after that, and
before the server has its ack, is handled twice, and nothing else is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import attrs
import trio

from trio_bus import (
    Backoff,
    Bus,
    Delivery,
    ErrorEvent,
    Message,
    PullSubscription,
    Subscription,
    SubscriptionConfig,
    SubscriptionError,
    Transition,
    TransitionEvent,
    open_subscription,
)

TOPIC, GROUP, DEAD_TOPIC = "{churn}", "workers", "{churn}.dead"
IN_FLIGHT = 4
HELD = 3 * IN_FLIGHT
"""What one consumer may hold: what runs, and twice as many that ended and wait to be settled."""
MAX_RETRY = 60
"""More kills than this no entry meets: what is dead-lettered was rejected."""

ENOUGH = 60.0
"""Seconds that a server which is there needs on no machine."""

Write = Callable[[str], None]


class Hiccup(Exception):
    """What a handler raises that had better be started again."""


class Slam(Exception):
    """What a block raises that is not left in peace."""


def config(lease: float) -> SubscriptionConfig:
    """Return the settings of every consumer."""
    return SubscriptionConfig(
        TOPIC,
        GROUP,
        max_in_flight=IN_FLIGHT,
        max_retry=MAX_RETRY,
        retry_backoff=Backoff(first=0.02, cap=0.2),
        claim_idle_timeout=lease,
        shutdown_timeout=ENOUGH,
        dead_letter_topic=DEAD_TOPIC,
    )


def messages(numbers: Iterable[int]) -> list[Message]:
    """Return a message for each number."""
    return [Message(TOPIC, str(number).encode()) for number in numbers]


def seeded(*parts: object) -> random.Random:
    """Return chance that repeats itself when all these are the same."""
    return random.Random(" ".join(map(str, parts)))  # noqa: S311 - a die, not a secret


def is_rejected(number: int) -> bool:
    """Say whether the message of this number is rejected by whoever handles it."""
    return number % 100 == 99


@attrs.frozen
class Scribe:
    """An observer that writes down what may explain why an entry was handled twice."""

    _write: Write

    def on_error(self, event: ErrorEvent, /) -> None:
        """Write it down, unless the handler means it."""
        if not isinstance(event.error, Hiccup):
            self._write(f"error {event.scope.value} {type(event.error).__name__}: {event.error}")

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Write down that a lease was lost."""
        if event.transition is Transition.LEASE_LOST:
            self._write(f"lost {event.entry_id} {event.attempt}")


@attrs.frozen(kw_only=True)
class Guest:
    """Joins, stays for a while, and leaves in one way or another; again and again.

    Once *is_calm* says so it stays until it is cancelled.
    """

    bus: Bus
    config: SubscriptionConfig
    rng: random.Random
    write: Write
    is_calm: Callable[[], bool]
    stay: float
    """Seconds on the average."""
    work: float
    """Seconds that a handler takes at most."""

    async def run(self) -> None:
        """Come and go until cancelled."""
        while True:
            with trio.CancelScope() as scope:
                try:
                    if self.rng.random() < 0.7:
                        async with open_subscription(self.bus, self.config, self._handle) as push:
                            await self._visit(push, scope)
                    else:
                        async with open_subscription(self.bus, self.config) as deliveries:
                            await self._pull_all(deliveries, scope)
                except Slam:
                    pass
                except SubscriptionError as error:
                    self.write(f"error block {error!r}")
            await trio.lowlevel.checkpoint()

    async def _pull_all(self, deliveries: PullSubscription, scope: trio.CancelScope) -> None:
        slammed = False
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(self._pull, deliveries)
            try:
                await self._visit(deliveries, scope)
            except Slam:  # a nursery would put it into a group
                slammed = True
            nursery.cancel_scope.cancel("the visit is over")
        if slammed:
            raise Slam

    async def _pull(self, deliveries: PullSubscription) -> None:
        async for delivery in deliveries:
            async with delivery:
                await self._handle(delivery)

    async def _visit(
        self, subscription: Subscription | PullSubscription, scope: trio.CancelScope
    ) -> None:
        """Stay once; *scope* is around the whole subscription."""
        self.write(f"joined {subscription.name}")
        await trio.sleep(self.rng.expovariate(1 / self.stay))
        if self.is_calm():
            await trio.sleep_forever()
        self.write(f"leaves {subscription.name}")
        way = self.rng.choice(["leave", "cancel", "close", "drain", "give up", "slam"])
        if way == "cancel":
            scope.cancel()
        elif way == "close":
            await subscription.aclose()
        elif way == "drain":
            await subscription.drain()
        elif way == "give up":  # cancelled in the middle of a drain
            scope.deadline = trio.current_time() + self.rng.random() * self.work
            await subscription.drain()
        elif way == "slam":
            raise Slam

    async def _handle(self, delivery: Delivery) -> None:
        """Work for a moment; now and then fail, or give back."""
        number, attempt = int(delivery.message.payload), delivery.state.attempt
        await trio.sleep(self.rng.random() * self.work)
        chance = self.rng.random()
        if chance < 0.02:
            self.write(f"failed {number}")
            raise Hiccup
        if chance < 0.04:
            await delivery.release()
            return
        self.write(f"done {number} {attempt} {delivery.entry_id}")
        if is_rejected(number):
            await delivery.reject("it was to be rejected")
