"""Random lives of subscriptions: what is told of each delivery is a path through one automaton."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder, World, config, told_lives
from trio_bus import (
    AckMode,
    Backoff,
    Bus,
    BusError,
    ConnectionLost,
    Decision,
    Delivery,
    EntryId,
    Message,
    OutcomeUnknown,
    PullSubscription,
    Subscription,
    SubscriptionConfig,
    SubscriptionError,
    open_subscription,
)
from trio_bus._clock import WallClock
from trio_bus.testing import Done

pytestmark = pytest.mark.any_python

SECONDS = 30.0


@attrs.define(eq=False)
class Chaos:
    """One random history of a topic."""

    seed: int
    flaky: FlakyBackend = attrs.field(factory=FlakyBackend)
    recorder: Recorder = attrs.field(factory=Recorder)
    opened: list[Subscription | PullSubscription] = attrs.field(
        factory=list[Subscription | PullSubscription]
    )
    ids: list[EntryId] = attrs.field(factory=list[EntryId])

    world: World = attrs.field(init=False)
    chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.world = World("memory:", self.flaky, self.recorder)
        self.chance = random.Random(self.seed)  # noqa: S311 - lives, not secrets

    def settings(self) -> SubscriptionConfig:
        """Choose how to live."""
        pick = self.chance.choice
        return attrs.evolve(
            config(),
            max_in_flight=pick([1, 3, 16]),
            max_retry=pick([0, 1, 3]),
            retry_backoff=Backoff(first=pick([0.0, 0.01, 2.0]), cap=5.0),
            handler_timeout=pick([None, 0.3]),
            claim_idle_timeout=pick([0.5, 2.0]),
            drain_timeout=pick([0.0, 1.0]),
            shutdown_timeout=pick([0.0, 1.0]),
            dead_letter_topic=pick([None, "{orders}.dead"]),
            on_failure=pick([None, self.decide]),
        )

    def decide(self, _: Exception, attempt: int) -> Decision | None:
        """Decide something."""
        if self.chance.random() < 0.1:
            raise LookupError(attempt)
        decisions = [Decision.retry(0.1), Decision.reject(), Decision.release(), None]
        return self.chance.choice(decisions)

    async def handle(self, delivery: Delivery) -> None:
        """Do something to it."""
        verbs: list[Callable[[], Awaitable[None]]] = [
            trio.lowlevel.checkpoint,
            partial(trio.sleep, self.chance.random() * 3),
            delivery.ack,
            delivery.renew,
            partial(delivery.reject, "never"),
            partial(delivery.retry, "later"),
            partial(delivery.retry, "later", self.chance.random()),
            delivery.release,
            partial(delivery.release, self.chance.random()),
            self.fail,
        ]
        for verb in self.chance.choices(verbs, k=self.chance.choice([1, 1, 2])):
            await verb()

    async def fail(self) -> None:
        """Raise."""
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("two", [ValueError("one"), OSError("two")])

    async def publish(self) -> None:
        """Publish what can be handled, and what cannot."""
        now = WallClock().now()
        for number in range(60):
            expires_at = now + timedelta(seconds=self.chance.random() * SECONDS)
            message = Message("orders", b"%d" % number)
            if self.chance.random() < 0.2:
                message = attrs.evolve(message, expires_at=expires_at)
            self.ids.append(await self.world.bus().publish(message))
            if self.chance.random() < 0.1:
                await self.flaky.append("orders", [((b"who", b"knows"),)])
            await trio.sleep(self.chance.random() * SECONDS / 60)

    async def trouble(self) -> None:
        """Break things."""
        administrator = self.flaky.inner
        while True:
            await trio.sleep(self.chance.random() * 3)
            what = self.chance.choice(["settle", "renew", "take_over", "read", "delete", "group"])
            if what == "delete" and self.ids:
                administrator.delete_entry("orders", self.chance.choice(self.ids[-5:]))
            elif what == "group" and self.chance.random() < 0.3:
                administrator.destroy_group("orders", "billing")
            elif what in {"settle", "renew"}:
                errors: list[BusError] = [ConnectionLost("away"), OutcomeUnknown("unknown")]
                failures = self.chance.choices(errors, k=self.chance.choice([1, 3, 20]))
                done = Done.EVERYTHING if self.chance.random() < 0.3 else Done.NOTHING
                # Fresh ones: an error that is raised twice would collect tracebacks.
                fresh = [type(error)(str(error)) for error in failures]
                if done is Done.EVERYTHING:
                    fresh = [OutcomeUnknown("unknown") for _ in failures]
                self.flaky.fail(what, *fresh, done=done)

    async def live(self) -> None:
        """Open subscriptions, one after the other, and leave them in all ways."""
        while True:
            with trio.move_on_after(self.chance.random() * 10) as scope:
                await self.live_once()
            if not scope.cancelled_caught:
                await trio.sleep(self.chance.random())

    async def live_once(self) -> None:
        """Open one and leave it."""
        mode = self.chance.choice([None, AckMode.MANUAL])
        stay = self.chance.choice([1.0, 5.0, 100.0])
        bus = self.world.bus()
        try:
            if self.chance.random() < 0.3:
                await self.pull(bus, stay)
            else:
                settings = attrs.evolve(self.settings(), ack_mode=mode)
                await self.push(bus, settings, stay)
        except SubscriptionError:
            return

    async def push(self, bus: Bus, settings: SubscriptionConfig, stay: float) -> None:
        """Stay for a while."""
        async with open_subscription(bus, settings, self.handle) as subscription:
            self.opened.append(subscription)
            await trio.sleep(stay)
            if self.chance.random() < 0.5:
                await subscription.drain()

    async def pull(self, bus: Bus, stay: float) -> None:
        """Receive for a while."""
        async with open_subscription(bus, self.settings()) as deliveries:
            self.opened.append(deliveries)
            with trio.move_on_after(stay):
                async for delivery in deliveries:
                    if self.chance.random() < 0.9:
                        async with delivery:
                            await self.handle(delivery)

    async def run(self) -> None:
        """Live for a while; in the end, everything is closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.trouble)
            nursery.start_soon(self.live)
            nursery.start_soon(self.live)
            await self.publish()
            nursery.cancel_scope.cancel("that was a life")


@pytest.mark.bulk
@pytest.mark.parametrize("seed", range(12))
async def test_a_random_life_is_told_step_by_step(autojump_clock: MockClock, seed: int) -> None:
    """Each delivery begins and ends once, and the counters are what was told."""
    chaos = Chaos(seed)
    await chaos.run()
    lives = told_lives(chaos.recorder.transitions)
    names = [subscription.name for subscription in chaos.opened]
    assert any(map(lives.told, names)), "a life in which nothing happens shows nothing"
    for subscription in chaos.opened:
        said = subscription.statistics()
        lives.check_statistics(subscription.name, said)
        assert (said.in_flight, said.pending_acks) == (0, 0)
