"""How long a retry waits: from a millisecond to days, whoever dies meanwhile."""

from __future__ import annotations

import random
import time
from datetime import timedelta

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import Recorder, World, config, open_world, publish, until
from tests.restartable import running
from tests.servers import command
from trio_bus import Backoff, Bus, BusOptions, Delivery, EntryId, open_subscription
from trio_bus._connect import open_backend
from trio_bus._names import own_key

DAY = timedelta(days=1).total_seconds()
DUE = own_key("orders", "due", "billing")


@attrs.define
class Twice:
    """A handler that asks for a second attempt, and notes when it was started."""

    delay: float
    starts: list[float] = attrs.field(factory=list[float])
    attempts: list[int] = attrs.field(factory=list[int])

    async def __call__(self, delivery: Delivery) -> None:
        """Ask once for each entry."""
        self.starts.append(trio.current_time())
        self.attempts.append(delivery.state.attempt)
        if delivery.state.attempt == 1:
            await delivery.retry("later", self.delay)


async def test_a_millisecond(any_world: World) -> None:
    """It is waited for, and not rounded away."""
    twice = Twice(0.001)
    async with open_subscription(any_world.bus(), config(), twice) as subscription:
        await publish(any_world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
    assert twice.attempts == [1, 2]
    assert twice.starts[1] - twice.starts[0] >= 0.0009


async def test_longer_than_the_lease(autojump_clock: MockClock, world: World) -> None:
    """Nobody takes for abandoned what waits for its time, and each attempt is started once."""
    await check_longer_than_the_lease(world)


@pytest.mark.long
async def test_longer_than_the_lease_on_a_server(server_url: str) -> None:
    """By the clock of the server."""
    async with open_world(server_url) as real:
        await check_longer_than_the_lease(real)


async def check_longer_than_the_lease(world: World) -> None:
    """Let three entries wait for longer than a lease, in sight of another consumer."""
    twice = Twice(3.0)
    settings = attrs.evolve(config(), claim_idle_timeout=2.0)
    async with (
        open_subscription(world.bus(), settings, twice) as one,
        open_subscription(world.bus(), settings, twice) as two,
    ):
        await publish(world.bus(), 3)
        await until(lambda: one.statistics().handled + two.statistics().handled == 3)
        lost = one.statistics().lost_leases + two.statistics().lost_leases
    assert (twice.attempts, lost) == ([1, 1, 1, 2, 2, 2], 0)
    assert min(twice.starts[3:]) - min(twice.starts[:3]) > 2.9


async def test_days(autojump_clock: MockClock, world: World) -> None:
    """To the second, with a lease of an hour."""
    twice = Twice(3 * DAY)
    settings = attrs.evolve(
        config(), claim_idle_timeout=3600.0, reclaim_interval=3600.0, block_timeout=float("inf")
    )
    async with open_subscription(world.bus(), settings, twice) as subscription:
        await publish(world.bus(), 1)
        await trio.sleep(2.99 * DAY)
        assert subscription.statistics().handled == 0
        await trio.sleep(0.02 * DAY)
        assert subscription.statistics().handled == 1
    assert twice.starts[1] - twice.starts[0] == pytest.approx(3 * DAY, abs=1)


def server_ms(url: str) -> float:
    """Return the time of the server."""
    seconds, micros = (int(command(url, "TIME", reply_line=line)) for line in (3, 5))
    return seconds * 1000 + micros / 1000


@pytest.mark.parametrize("delay", [60.0, 3 * DAY, 1e9])
async def test_what_the_server_keeps_is_when_it_is_due(server_url: str, delay: float) -> None:
    """In its own time, in a sorted set that outlives all of us."""
    async with (
        open_world(server_url) as world,
        open_subscription(world.bus(), config()) as deliveries,
    ):
        (entry_id,) = await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        before = server_ms(server_url)
        await delivery.retry("later", delay)
        score = float(command(server_url, f"ZSCORE {DUE} {entry_id}", reply_line=2))
        after = server_ms(server_url)
    # The two reads of TIME are not one: a second may have begun between them.
    assert before - 1001 + delay * 1000 <= score <= after + 1001 + delay * 1000


async def test_a_delay_outlives_the_server_and_whoever_asked(server_kind: str) -> None:
    """Both are killed; the entry starts again, with its count, and not before it is due."""
    impatient = BusOptions(observer=Recorder(), command_timeout=1.5, connect_timeout=20.0)
    with running(server_kind) as server:
        url = f"{server.url}?socket_timeout=1.5&socket_connect_timeout=1"
        async with open_backend(url, impatient) as backend:
            bus = Bus(backend, impatient)
            async with open_subscription(bus, config()) as deliveries:
                (entry_id,) = await publish(bus, 1)
                delivery = await deliveries.receive()
                asked = time.monotonic()
                await delivery.retry("later", 1.5)
                server.kill()
        server.start()
        async with (
            open_world(server.url) as world,
            open_subscription(world.bus(), config()) as deliveries,
        ):
            with trio.fail_after(30):
                delivery = await deliveries.receive()
            assert time.monotonic() - asked >= 1.49
            assert delivery.entry_id == entry_id
            assert delivery.state.attempt >= 2
            await delivery.ack()


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff(first=0.0, factor=1e9, jitter=0.0), [0.0, 0.0, 0.0]),
        (Backoff(first=1.0, cap=0.0, jitter=0.0), [0.0, 0.0, 0.0]),
        (Backoff(first=1e-9, factor=1e9, cap=1e9, jitter=0.0), [1e-9, 1.0, 1e9]),
        (Backoff(first=1e9, factor=1e9, cap=1e9, jitter=0.0), [1e9, 1e9, 1e9]),
        (Backoff(first=7.0, factor=1.0, jitter=0.0), [7.0, 7.0, 7.0]),
        (Backoff(first=7, factor=2, cap=13, jitter=0), [7.0, 13.0, 13.0]),
    ],
    ids=str,
)
def test_backoff_at_its_edges(backoff: Backoff, delays: list[float]) -> None:
    """No overflow, no surprise, for any attempt."""
    assert [backoff.delay_after(n, lambda: 0.5) for n in (1, 2, 3)] == pytest.approx(delays)
    assert backoff.delay_after(2**31, lambda: 0.5) == delays[2]


@pytest.mark.parametrize(("jitter", "least"), [(1.0, 0.0), (0.5, 4.0), (0.25, 6.0)])
def test_jitter_spreads_evenly(jitter: float, least: float) -> None:
    """Full jitter gives each part of the whole the same chance."""
    draw = random.Random(20).random  # noqa: S311 - the same each time
    backoff = Backoff(first=2.0, factor=2.0, cap=8.0, jitter=jitter)
    delays = [backoff.delay_after(5, draw) for _ in range(20_000)]
    assert least <= min(delays) < least + 0.01
    assert 8.0 - 0.01 < max(delays) <= 8.0
    tenth = (8.0 - least) / 10
    for part in range(10):
        low = least + part * tenth
        share = sum(low <= delay < low + tenth for delay in delays) / len(delays)
        assert share == pytest.approx(0.1, abs=0.01)


async def test_what_failed_together_does_not_come_back_together(
    autojump_clock: MockClock, world: World
) -> None:
    """Each delivery draws for itself."""

    async def fail(_: Delivery) -> None:
        raise OSError("the bank is down")

    settings = attrs.evolve(
        config(), max_in_flight=50, retry_backoff=Backoff(first=10.0, jitter=1.0), max_retry=1
    )
    async with open_subscription(world.bus(), settings, fail) as subscription:
        ids = await publish(world.bus(), 50)
        await until(lambda: subscription.statistics().retried == 50)
    drawn: dict[EntryId | None, float | None] = {
        event.entry_id: event.delay
        for event in world.recorder.transitions
        if event.delay is not None
    }
    assert set(drawn) == set(ids)
    delays = sorted(delay for delay in drawn.values() if delay is not None)
    assert len(set(delays)) == 50
    assert 0 <= delays[0] < 3
    assert 7 < delays[-1] <= 10
