"""Waking: what becomes claimable starts at once, and when nothing does nobody looks."""

from __future__ import annotations

import itertools
import math

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, open_world, publish, until
from trio_bus import Backoff, ConnectionLost, Delivery, open_subscription
from trio_bus._wake import Alarm, Alarms

PROMPT = 0.1
"""Seconds: five times what is promised, for a loaded machine; the best of some keeps to it."""

SLOW = attrs.evolve(config(), reclaim_interval=30.0, block_timeout=60.0)
"""Settings with which a tick cannot be taken for a wake-up."""


async def ok(_: Delivery) -> None:
    """Handle."""
    await trio.lowlevel.checkpoint()


async def handed_over(world: World) -> float:
    """Let one consumer hand back what another one starts; return how long that took."""
    with trio.fail_after(20):
        return await _hand_over(world)


async def _hand_over(world: World) -> float:
    async with open_subscription(world.bus(), SLOW) as us:
        await publish(world.bus(), 1)
        await us.receive()
        async with open_subscription(world.bus(), SLOW) as them:
            await trio.sleep(0.1)  # its read is blocked, and it listens
            began = trio.current_time()
            await us.aclose()
            async with await them.receive():
                return trio.current_time() - began
    raise AssertionError


@pytest.mark.guards("a wake-up is lost")
async def test_a_released_entry_starts_elsewhere_at_once(backend_url: str) -> None:
    """Not at the next tick, which is half a minute away."""
    async with open_world(backend_url) as world:
        took = sorted([await handed_over(world) for _ in range(9)])
    assert took[0] < PROMPT, took


async def test_a_retry_starts_when_it_is_due(backend_url: str) -> None:
    """Not before, and not at the next tick; the consumer's own retry wakes it too."""
    starts: list[float] = []

    async def fail_thrice(delivery: Delivery) -> None:
        starts.append(trio.current_time())
        if delivery.state.attempt <= 3:
            await delivery.retry("later", delay=0.2)

    async with open_world(backend_url) as world, open_subscription(world.bus(), SLOW, fail_thrice):
        await publish(world.bus(), 1)
        await until(lambda: len(starts) == 4)
    waits = sorted(after - before for before, after in itertools.pairwise(starts))
    assert 0.2 <= waits[0] < 0.2 + PROMPT, waits


async def test_in_virtual_time_a_retry_starts_exactly_when_it_is_due(
    autojump_clock: MockClock, world: World
) -> None:
    """The jitter of the tick delays nothing, whatever comes first."""
    starts: list[float] = []
    backoff = Backoff(first=7.0, factor=3.0, jitter=0.0)

    async def fail_twice(delivery: Delivery) -> None:
        starts.append(trio.current_time())
        if delivery.state.attempt <= 2:
            raise OSError("later")

    settings = attrs.evolve(SLOW, retry_backoff=backoff, reclaim_interval=5.0)
    async with open_subscription(world.bus(), settings, fail_twice):
        await publish(world.bus(), 1)
        await until(lambda: len(starts) == 3, patience=60)
    waits = [after - before for before, after in itertools.pairwise(starts)]
    assert waits == pytest.approx([7.0, 21.0], abs=0.0021)  # the server counts whole milliseconds


async def looks_in_a_minute(flaky: FlakyBackend) -> int:
    """Count the looks of one virtual minute."""
    before = flaky.calls["look"]
    await trio.sleep(60)
    return flaky.calls["look"] - before


MOST = 60 / 0.8 + 1
"""Ticks of a minute with an interval of a second, less its jitter."""


async def test_what_nobody_has_a_permit_for_makes_nobody_spin(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """There is something to take all the time: looks are ticks, and one claim waits."""
    settings = attrs.evolve(SLOW, reclaim_interval=1.0, max_in_flight=1, drain_timeout=0.0)

    async def stick(_: Delivery) -> None:
        await trio.sleep_forever()

    async with open_subscription(world.bus(), settings, stick) as busy:
        await publish(world.bus(), 1)
        await until(lambda: busy.statistics().in_flight == 1)
        async with open_subscription(world.bus(), SLOW) as other:
            await publish(world.bus(), 3)
            await until(lambda: other.statistics().in_flight == 3)
        assert (await world.group()).released == 3
        await trio.sleep(1)
        assert 59 <= await looks_in_a_minute(flaky) <= MOST
        assert "take_over" not in flaky.calls


async def test_many_wakes_are_one_look(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """However often it is woken, a consumer looks at most once in 20 milliseconds."""
    began = trio.current_time()

    async def release(delivery: Delivery) -> None:
        await trio.sleep(0.001)
        await delivery.release(delay=0.0005)

    async with open_subscription(world.bus(), attrs.evolve(SLOW, max_in_flight=1), release):
        await publish(world.bus(), 1)
        async with open_subscription(world.bus(), SLOW) as idle:
            del idle
            await trio.sleep(10)
    assert flaky.calls["look"] <= 3 * 50 * (trio.current_time() - began) + 10


async def test_a_wake_of_one_group_leaves_the_others_asleep(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """A hand-back concerns its own group; what is scheduled concerns all."""
    other = attrs.evolve(SLOW, group="shipping")
    async with open_subscription(world.bus(), other, ok):
        await trio.sleep(1)
        before = flaky.calls["look"]
        async with open_subscription(world.bus(), SLOW) as us:
            await publish(world.bus(), 1)
            await (await us.receive()).retry("now", delay=0)
            await us.receive()
            await trio.sleep(1)
            mine = flaky.calls["look"] - before
            await flaky.schedule("orders", ((b"n", b"1"),), "x", 0.0)
            await trio.sleep(1)
            assert flaky.calls["look"] - before == mine + 2
    assert mine <= 3


async def test_a_look_that_fails_is_tried_again_with_growing_pauses(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """A loss does not cost a whole tick, and no loop runs hot."""
    async with open_subscription(world.bus(), SLOW, ok):
        await trio.sleep(1)
        flaky.fail("look", *[ConnectionLost("gone")] * 6)
        before = flaky.calls["look"]
        await flaky.schedule("orders", ((b"n", b"1"),), "x", 0.0)
        await trio.sleep(10)
        assert flaky.calls["look"] - before >= 7
        assert flaky.calls["look"] - before < 30


@pytest.mark.guards("a wake-up is lost")
async def test_an_alarm_keeps_the_earliest_time(autojump_clock: MockClock) -> None:
    """Until it is asked for; a cancelled wait takes nothing away."""
    alarm = Alarm()
    with trio.move_on_after(1):
        await alarm.wait()
        pytest.fail("nobody rang")
    alarm.ring(5)
    alarm.ring(3)
    alarm.ring(9)
    await trio.sleep(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await alarm.wait()
    assert await alarm.wait() == pytest.approx(2)
    alarm.ring(1)
    await trio.sleep(4)
    assert await alarm.wait() == 0.0
    with trio.move_on_after(1) as waited:
        await alarm.wait()
    assert waited.cancelled_caught


async def test_alarms_go_with_their_members() -> None:
    """Who left is not told, and leaves nothing behind."""
    alarms = Alarms()
    one, two = alarms.add("orders", "billing"), alarms.add("orders", "shipping")
    alarms.ring("orders", 0, "billing")
    assert await one.wait() == 0
    alarms.remove("orders", one)
    assert list(alarms) == ["orders"]
    alarms.ring("orders", math.inf)
    assert await two.wait() == math.inf
    alarms.remove("orders", two)
    assert not list(alarms)
    alarms.ring("orders", 0)
