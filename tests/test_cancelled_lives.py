"""Whole subscriptions, cancelled while they work: at every step of any task, or at some.

In memory each schedule is cancelled at every third step, in virtual time, and each begins with a
step of its own; with ``--hypothesis-profile=thorough`` at every step. On real servers, where no two
runs are alike, a sample is tried.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.cutting import StrikeAt, instrument
from tests.harness import numbered
from tests.ledger import DONE, LEFT_ALONE, Spot, buried_in
from tests.profiles import times
from tests.stage import BaseLine, Stage, open_stage
from trio_bus import (
    AckMode,
    Backoff,
    Delivery,
    EntryId,
    Message,
    SubscriptionConfig,
    SubscriptionState,
    SubscriptionStatistics,
    open_subscription,
    run_subscription,
)
from trio_bus.testing._schedule import schedule_of

pytestmark = [pytest.mark.any_server, pytest.mark.any_python]

PUBLISHED = 8
SEEDS = (1, 2, 3)
STRIDE = 3 if times() == 1 else 1
SAMPLE = 25
ENDLESS = 1_000_000


@attrs.define
class Story:
    """What handlers did, and what subscriptions said in the end."""

    succeeded: set[EntryId] = attrs.field(factory=set[EntryId])
    failed: Counter[EntryId] = attrs.field(factory=Counter[EntryId])
    rejected: set[EntryId] = attrs.field(factory=set[EntryId])
    released: set[EntryId] = attrs.field(factory=set[EntryId])
    subscriptions: list[Callable[[], SubscriptionStatistics]] = attrs.field(
        factory=list[Callable[[], SubscriptionStatistics]]
    )

    async def handle(self, delivery: Delivery) -> None:
        """Succeed, fail, retry, reject or release by hand, in turn; in the end succeed."""
        await trio.sleep(0.003)
        key, kind = delivery.entry_id, int(delivery.message.payload) % 5
        if kind == 3:
            self.rejected.add(key)
            await delivery.reject("never")
        elif kind == 4 and key not in self.released:
            self.released.add(key)
            await delivery.release()
        elif kind in {1, 2} and self.failed[key] < kind:
            self.failed[key] += 1
            if kind == 1:
                raise OSError("fails")
            await delivery.retry("later", delay=0.005)
        else:
            self.succeeded.add(key)

    async def told(self) -> None:
        """Wait until every entry has come to its end."""
        while len(self.succeeded | self.rejected) < PUBLISHED:
            await trio.sleep(0.005)


Life = Callable[[Stage, Story], Awaitable[None]]


def settings(stage: Stage) -> SubscriptionConfig:
    """Return settings under which what was given back is soon taken over again."""
    return attrs.evolve(
        stage.config,
        max_in_flight=3,
        reclaim_interval=0.01,
        retry_backoff=Backoff(first=0.005, jitter=0.0),
    )


async def push(stage: Stage, story: Story) -> None:
    """Have a handler."""
    async with open_subscription(stage.bus, settings(stage), story.handle) as subscription:
        story.subscriptions.append(subscription.statistics)
        await story.told()


async def pull(stage: Stage, story: Story) -> None:
    """Iterate, in two tasks, and drain in the end."""
    async with (
        open_subscription(stage.bus, settings(stage)) as deliveries,
        trio.open_nursery() as nursery,
    ):
        story.subscriptions.append(deliveries.statistics)

        async def work() -> None:
            async for delivery in deliveries:
                async with delivery:
                    await story.handle(delivery)

        nursery.start_soon(work)
        nursery.start_soon(work)
        await story.told()
        await deliveries.drain()


async def run_and_drain(stage: Stage, story: Story) -> None:
    """Use the form for `nursery.start`."""
    async with trio.open_nursery() as nursery:
        subscription = await nursery.start(
            run_subscription, stage.bus, settings(stage), story.handle
        )
        story.subscriptions.append(subscription.statistics)
        await story.told()
        await subscription.drain()


async def two_at_once(stage: Stage, story: Story) -> None:
    """Two consumers of the group; what one gives back, the other takes."""
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            subscription = await nursery.start(
                run_subscription, stage.bus, settings(stage), story.handle
            )
            story.subscriptions.append(subscription.statistics)
        await story.told()
        nursery.cancel_scope.cancel()


async def at_most_once(stage: Stage, story: Story) -> None:
    """Ack before handling: what is done need not have been handled."""
    config = attrs.evolve(
        stage.config, ack_mode=AckMode.AUTO_ON_RECEIVE, retry_backoff=Backoff(), max_in_flight=3
    )

    async def receive(delivery: Delivery) -> None:
        await trio.sleep(0.003)
        story.succeeded.add(delivery.entry_id)

    async with open_subscription(stage.bus, config, receive) as subscription:
        story.subscriptions.append(subscription.statistics)
        await story.told()


LIVES = pytest.mark.parametrize(
    "life", [push, pull, run_and_drain, two_at_once, at_most_once], ids=lambda it: it.__name__
)


@pytest.mark.bulk
@LIVES
@pytest.mark.parametrize("seed", SEEDS)
async def test_cancelled_at_any_step_it_leaves_nothing(
    autojump_clock: MockClock, life: Life, seed: int
) -> None:
    async with open_stage("memory:") as stage:
        base = await stage.base_line()
        step, left = 1 + seed % STRIDE - STRIDE, 0
        while left <= 0:
            step += STRIDE
            with schedule_of(seed):
                left = await cancelled_at(step, stage, base, life)
        assert step > 50, "the sweep met real work"


@pytest.mark.bulk
@LIVES
async def test_cancelled_at_some_steps_it_leaves_nothing_on_a_server(
    server_url: str, life: Life
) -> None:
    async with open_stage(server_url) as stage:
        base = await stage.base_line()
        steps = ENDLESS - await cancelled_at(ENDLESS, stage, base, life)
        for step in random.Random(steps).choices(range(1, steps), k=SAMPLE):  # noqa: S311 - a sample
            await cancelled_at(step, stage, base, life)


async def cancelled_at(step: int, stage: Stage, base: BaseLine, life: Life) -> int:
    """Run it, cancel it at that step, and look; return how many steps were left until then."""
    await stage.next_topic()
    outcome = await stage.bus.publish_batch(
        [Message(stage.topic, payload) for payload in numbered(PUBLISHED)]
    )
    outcome.raise_errors()
    story = Story()
    scope = trio.CancelScope()
    strike = StrikeAt(step, scope.cancel)
    with scope, instrument(strike):
        await life(stage, story)
    try:
        await stage.check(base)
        await check_story(stage, story, life)
    except BaseException as error:
        error.add_note(f"cancelled at step {step}")
        raise
    return strike.left


async def check_story(stage: Stage, story: Story, life: Life) -> None:
    """Check that every entry is where its story ended, and counted as often as it failed."""
    ledger = await stage.ledger()
    buried = await buried_in(stage.backend, stage.dead_topic)
    assert len(ledger) == PUBLISHED
    assert set(buried) == story.rejected
    assert len(buried) == len(story.rejected), "each once"
    assert {spot.place for spot in ledger.values()} <= LEFT_ALONE
    assert not await stage.consumers(), "they are forgotten"
    done = {key for key, spot in ledger.items() if spot == Spot(DONE)}
    if life is at_most_once:
        assert done >= story.succeeded
    else:
        assert done == story.succeeded | story.rejected
    for key, spot in ledger.items():
        assert spot.count <= story.failed[key], "a cancellation does not count"
    for statistics in story.subscriptions:
        said = statistics()
        assert said.state is SubscriptionState.CLOSED
        assert (said.in_flight, said.pending_acks) == (0, 0)
