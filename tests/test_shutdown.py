"""How a subscription ends, on the memory backend and the mock clock: exact times, every path."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, config, open_world, publish
from trio_bus import (
    AckMode,
    Delivery,
    LeaseLost,
    Message,
    SubscriptionConfig,
    Transition,
    open_subscription,
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Give streams in memory, in virtual time."""
    async with open_world("memory:") as world:
        yield world


class Stopwatch:
    """Seconds of virtual time since it was made."""

    def __init__(self) -> None:
        self._start = trio.current_time()

    def __call__(self) -> object:
        """Return them, near enough to compare."""
        return pytest.approx(trio.current_time() - self._start, abs=0.1)


@pytest.fixture
async def elapsed(world: World) -> Stopwatch:
    """Give a stopwatch that starts with the test."""
    return Stopwatch()


def settings(drain_timeout: float = 30.0) -> SubscriptionConfig:
    """Return settings with four permits."""
    return attrs.evolve(config(), max_in_flight=4, drain_timeout=drain_timeout)


async def assert_handed_back(world: World, unfinished: int) -> None:
    """Nothing is pending, the unfinished are claimable at once, the consumer is gone."""
    group = await world.group()
    assert (group.pending, group.delayed, group.dead) == (0, 0, 0)
    assert group.released == unfinished
    assert group.consumers == ()
    seen: list[tuple[bytes, int]] = []

    async def finish(delivery: Delivery) -> None:
        seen.append((delivery.message.payload, delivery.state.attempt))

    started = trio.current_time()
    async with open_subscription(world.bus(), settings(), finish) as subscription:
        await trio.sleep(0.5)
        await subscription.wait_idle()
    assert trio.current_time() - started < 1, "at once, not after the lease of 60 s"
    assert {attempt for _, attempt in seen} <= {1}, "handing back does not count"


async def sleeper(seconds: float, delivery: Delivery) -> None:
    """Take that long."""
    await trio.sleep(seconds)


async def test_leaving_lets_started_handlers_finish(
    autojump_clock: MockClock, world: World
) -> None:
    """Step 2: as long as they take, up to the drain timeout."""
    started = trio.current_time()
    async with open_subscription(world.bus(), settings(), lambda d: sleeper(5, d)) as s:
        await publish(world.bus(), 6)
        await trio.sleep(1)
    assert trio.current_time() - started == pytest.approx(5, abs=0.1)
    assert s.statistics().handled == 4
    await assert_handed_back(world, 0)


@pytest.mark.guards("close has no deadline")
async def test_the_drain_timeout_bounds_handlers_that_hang(
    autojump_clock: MockClock, world: World
) -> None:
    """Then they are cancelled, and their entries given back."""
    started = trio.current_time()
    async with open_subscription(world.bus(), settings(7), lambda d: sleeper(1e6, d)):
        await publish(world.bus(), 4)
        await trio.sleep(1)
    assert trio.current_time() - started == pytest.approx(8, abs=0.1)
    await assert_handed_back(world, 4)


@pytest.mark.guards("close is not cancel-safe")
async def test_cancelling_the_block_does_not_drain(
    autojump_clock: MockClock, world: World, elapsed: Stopwatch
) -> None:
    """An outer timeout ends handlers at once."""
    with trio.move_on_after(2) as outer:
        async with open_subscription(world.bus(), settings(), lambda d: sleeper(1e6, d)):
            await publish(world.bus(), 4)
            await trio.sleep_forever()
    assert outer.cancelled_caught
    assert elapsed() == 2
    await assert_handed_back(world, 4)


async def test_cancelling_during_the_drain_shortens_it(
    autojump_clock: MockClock, world: World, elapsed: Stopwatch
) -> None:
    """Also a second time, on top of the first."""
    with trio.move_on_after(9) as outer, trio.move_on_after(3):
        async with open_subscription(world.bus(), settings(), lambda d: sleeper(1e6, d)):
            await publish(world.bus(), 4)
            await trio.sleep(1)
    assert not outer.cancelled_caught
    assert elapsed() == 3
    await assert_handed_back(world, 4)


@pytest.mark.guards("abort leaves tasks")
async def test_a_handler_that_ignores_its_cancellation_for_a_while_is_waited_for(
    autojump_clock: MockClock,
    world: World,
) -> None:
    """Trio cannot kill a task; what it finishes after all is acked."""

    async def stubborn(delivery: Delivery) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    started = trio.current_time()
    async with open_subscription(world.bus(), settings(2), stubborn) as s:
        await publish(world.bus(), 2)
        await trio.sleep(1)
    assert trio.current_time() - started == pytest.approx(10, abs=0.1)
    assert s.statistics().handled == 2
    await assert_handed_back(world, 0)


async def test_the_error_of_the_body_comes_out_as_itself(
    autojump_clock: MockClock, world: World
) -> None:
    """Not in a group, not copied."""
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_subscription(world.bus(), settings(1), lambda d: sleeper(1e6, d)):
            await publish(world.bus(), 3)
            await trio.sleep(1)
            raise error
    assert caught.value is error
    assert error.__context__ is None
    await assert_handed_back(world, 3)


async def test_keyboard_interrupt_in_a_handler_leaves_the_block_as_itself(
    autojump_clock: MockClock, world: World
) -> None:
    """It releases its entry, and cancels the rest."""

    async def interrupted(delivery: Delivery) -> None:
        await trio.sleep(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_subscription(world.bus(), settings(), interrupted):
            await publish(world.bus(), 1)
            await trio.sleep_forever()
    await assert_handed_back(world, 1)


async def test_the_finally_of_a_cancelled_body_and_handler_can_settle_and_publish(
    autojump_clock: MockClock,
    world: World,
) -> None:
    """The services outlive the cancellation of what uses them."""
    bus = world.bus()

    async def tidy(delivery: Delivery) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await bus.publish(Message("journal", delivery.message.payload))
            with pytest.raises(trio.Cancelled):
                await delivery.ack()

    with trio.move_on_after(1):
        async with open_subscription(bus, settings(), tidy):
            await publish(bus, 4)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await bus.publish(Message("journal", b"body"))
    assert len(world.recorder.ids(Transition.ACKED)) == 4
    assert (await bus.info("journal")).length == 5
    await assert_handed_back(world, 0)


async def test_a_pulled_delivery_can_be_settled_in_the_finally_of_the_body(
    autojump_clock: MockClock, world: World
) -> None:
    """Handed over before the first checkpoint of the verb."""
    held: list[Delivery] = []
    with trio.move_on_after(1):
        async with open_subscription(world.bus(), settings()) as deliveries:
            await publish(world.bus(), 2)
            held = [await deliveries.receive() for _ in range(2)]
            try:
                await trio.sleep_forever()
            finally:
                with pytest.raises(trio.Cancelled):
                    await held[0].ack()
    assert world.recorder.ids(Transition.ACKED) == [held[0].entry_id]
    with pytest.raises(LeaseLost):
        await held[1].ack()
    await assert_handed_back(world, 1)


@pytest.mark.guards("a release is forgotten")
async def test_drain_ends_iteration_and_returns_when_nothing_is_in_flight(
    autojump_clock: MockClock, world: World, elapsed: Stopwatch
) -> None:
    """Buffered deliveries go back at once; the one in hand may be finished."""
    handled: list[bytes] = []
    async with open_subscription(world.bus(), settings()) as deliveries, trio.open_nursery() as n:
        await publish(world.bus(), 4)

        async def work() -> None:
            async for delivery in deliveries:
                async with delivery:
                    await trio.sleep(3)
                    handled.append(delivery.message.payload)

        n.start_soon(work)
        await trio.sleep(1)
        await deliveries.drain()
        assert elapsed() == 3
        assert handled == [b"0"]
    await assert_handed_back(world, 3)


async def test_drain_after_its_timeout_takes_the_deliveries_away(
    autojump_clock: MockClock, world: World, elapsed: Stopwatch
) -> None:
    """The block of a delivery that is given back is cancelled, quietly."""
    cancelled: list[object] = []
    async with (
        open_subscription(world.bus(), settings(5)) as deliveries,
        trio.open_nursery() as nursery,
    ):
        await publish(world.bus(), 1)

        async def work() -> None:
            async for delivery in deliveries:
                async with delivery:
                    await trio.sleep_forever()
                cancelled.append(elapsed())

        nursery.start_soon(work)
        await trio.sleep(1)
        await deliveries.drain()
    assert cancelled == [6]
    await assert_handed_back(world, 1)


async def test_drain_and_aclose_are_idempotent_and_concurrent(
    autojump_clock: MockClock, world: World, elapsed: Stopwatch
) -> None:
    """Any number of tasks, before and during leaving, and a cancelled one in between."""
    async with open_subscription(world.bus(), settings(), lambda d: sleeper(4, d)) as s:
        await publish(world.bus(), 4)
        await trio.sleep(1)
        with trio.move_on_after(1):
            await s.drain()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.drain)
            nursery.start_soon(s.drain)
        assert elapsed() == 4
        await s.aclose()
        await s.aclose()
    await s.aclose()
    await s.drain()
    closed = [event.transition for event in world.recorder.transitions]
    assert closed.count(Transition.CLOSED) == 1
    await assert_handed_back(world, 0)


async def test_aclose_cancels_handlers_at_once(
    autojump_clock: MockClock, world: World, elapsed: Stopwatch
) -> None:
    """A drain without patience."""
    async with open_subscription(world.bus(), settings(), lambda d: sleeper(1e6, d)) as s:
        await publish(world.bus(), 2)
        await trio.sleep(1)
        await s.aclose()
        assert elapsed() == 1
        assert s.statistics().in_flight == 0
    await assert_handed_back(world, 2)


@pytest.mark.guards("close hands nothing back", "close waits for a kept delivery")
async def test_a_manual_delivery_left_open_does_not_hold_up_leaving(
    autojump_clock: MockClock, world: World, elapsed: Stopwatch
) -> None:
    """Its handler has ended: it is released, not waited for."""

    async def keep(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()

    manual = attrs.evolve(settings(), ack_mode=AckMode.MANUAL)
    with trio.fail_after(100):
        async with open_subscription(world.bus(), manual, keep):
            await publish(world.bus(), 3)
            await trio.sleep(1)
    assert elapsed() == 1
    await assert_handed_back(world, 3)


async def test_what_was_read_and_not_started_is_given_back(
    autojump_clock: MockClock, world: World
) -> None:
    """Cancelled between the read and the first step of the handlers."""
    bus = world.bus()
    await publish(bus, 4)
    for steps in range(30):
        with trio.CancelScope() as scope:
            async with open_subscription(bus, settings(), lambda d: sleeper(1e6, d)):
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
                await trio.lowlevel.checkpoint()
        group = await world.group()
        assert (group.pending, group.consumers) == (0, ())
    await assert_handed_back(world, (await world.group()).released)
