"""A message that kills its process, in processes that are started again each time."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.harness import World, numbered, open_world
from tests.ledger import Spot, buried_in, ledger_of
from tests.poison_process import MAX_RETRY, POISON
from tests.unmeasured import unmeasured
from trio_bus import DeathCause, Message, SubscriptionConfig, open_subscription
from trio_bus._names import DEAD

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parent.parent
INNOCENTS = 20
MOST_PROCESSES = 12
PATIENCE = 60.0
DEAD_TOPIC = "{orders}.dead"


@attrs.frozen
class Start:
    """One start of a handler, as its process told it."""

    attempt: int
    alone: bool
    others: int


@pytest.mark.bulk
async def test_a_poison_dies_alone_and_its_companions_live(server_url: str) -> None:
    """It is dead-lettered after ``max_retry + 1`` starts, with its bytes; the rest is handled."""
    async with open_world(server_url) as world:
        starts = await live_through_it(world, DEAD_TOPIC)
        check(starts)
        async with open_subscription(
            world.bus(), SubscriptionConfig(DEAD_TOPIC, "desk")
        ) as letters:
            delivery = await letters.receive()
            await delivery.ack()
        letter = delivery.dead_letter
        assert letter is not None
        assert delivery.message.payload == POISON
        assert (letter.attempts, letter.cause) == (MAX_RETRY + 1, DeathCause.EXHAUSTED)
        assert len(await buried_in(world.backend, DEAD_TOPIC)) == 1


@pytest.mark.bulk
@pytest.mark.long
async def test_a_poison_without_a_dead_letter_topic_stays_in_its_group(server_url: str) -> None:
    """Out of the way, with its count."""
    async with open_world(server_url) as world:
        check(await live_through_it(world, None))
        ledger = await ledger_of(world.backend, "orders", "billing")
        dead = [spot for spot in ledger.values() if spot.place == DEAD]
        assert dead == [Spot(DEAD, MAX_RETRY + 1)]


def check(starts: dict[bytes, list[Start]]) -> None:
    """Check that nobody suffered but the poison, and that nothing ran beside a suspect."""
    assert [start.attempt for start in starts.pop(POISON)] == list(range(1, MAX_RETRY + 2))
    assert sorted(starts) == sorted(numbered(INNOCENTS))
    every = [start for them in starts.values() for start in them]
    assert max(start.attempt for start in every) == MAX_RETRY, "the last one was not needed"
    assert all(start.alone == (start.attempt > 2) for start in every)
    assert {start.others for start in every if start.alone} == {0}


async def live_through_it(world: World, dead_topic: str | None) -> dict[bytes, list[Start]]:
    """Publish the poison among innocents; start processes until all is done."""
    await world.backend.create_group("orders", "billing", None)
    payloads = numbered(INNOCENTS)
    payloads.insert(INNOCENTS // 2, POISON)
    outcome = await world.bus().publish_batch([Message("orders", it) for it in payloads])
    outcome.raise_errors()
    newest = outcome.results[-1]
    starts: dict[bytes, list[Start]] = defaultdict(list)
    for _ in range(MOST_PROCESSES):
        if not await _live(world, dead_topic, newest, starts):
            return starts
    raise AssertionError(f"still dying after {MOST_PROCESSES} processes: {starts}")


async def _live(
    world: World, dead_topic: str | None, newest: object, starts: dict[bytes, list[Start]]
) -> bool:
    """Run one process until it dies or all is done; say whether it died."""
    async with _process(world.url, dead_topic) as process:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_when_done, world, newest, process)
                assert process.stdout is not None
                text = b""
                async for chunk in process.stdout:
                    text += chunk
                died = await process.wait() == -9
                nursery.cancel_scope.cancel()
    for line in text.splitlines():
        payload, attempt, how, others = line.split()
        starts[payload].append(Start(int(attempt), how == b"alone", int(others)))
    return died


async def _end_when_done(world: World, newest: object, process: trio.Process) -> None:
    """End the process, in another way than the poison does, when nothing is left to do."""
    while True:
        group = await world.group()
        left = (group.pending, group.released, group.delayed, group.suspects)
        if group.last_delivered == newest and left == (0, 0, 0, 0):
            process.terminate()
            return
        await trio.sleep(0.02)


@asynccontextmanager
async def _process(url: str, dead_topic: str | None) -> AsyncGenerator[trio.Process, None]:
    arguments = [url] if dead_topic is None else [url, dead_topic]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.poison_process", *arguments],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**unmeasured(), "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
