"""Handlers that run one after another in the same place, and know nothing of each other."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from contextvars import ContextVar

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.harness import World, config, publish, until
from trio_bus import AckMode, Delivery, HandlerTimeout, open_subscription
from trio_bus._subscription.dispatcher import Dispatcher

SINGLE = attrs.evolve(config(), max_in_flight=1, max_retry=9)
NOTE: ContextVar[str] = ContextVar("NOTE", default="nothing")


class Ended(BaseException):
    """What is no failure."""


async def test_what_cancelled_one_handler_does_not_cancel_the_next(
    autojump_clock: MockClock, world: World
) -> None:
    took: list[float] = []

    async def handle(delivery: Delivery) -> None:
        began = trio.current_time()
        try:
            await trio.sleep(10 if delivery.message.payload == b"0" else 0.5)
        finally:
            took.append(trio.current_time() - began)

    settings = attrs.evolve(SINGLE, handler_timeout=1.0, max_retry=0)
    async with open_subscription(world.bus(), settings, handle) as subscription:
        await publish(world.bus(), 4)
        await until(lambda: subscription.statistics().handled == 3)
    assert [round(seconds, 3) for seconds in took] == [1.0, 0.5, 0.5, 0.5]
    assert [type(event.error) for event in world.recorder.errors] == [HandlerTimeout]


async def test_a_handler_that_returns_too_late_has_succeeded(
    autojump_clock: MockClock, world: World
) -> None:
    """Nobody could interrupt it; the next one has its own time."""
    done: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2.0 if delivery.message.payload == b"0" else 0.5)
        done.append(delivery.message.payload)

    settings = attrs.evolve(SINGLE, handler_timeout=1.0)
    async with open_subscription(world.bus(), settings, handle) as subscription:
        await publish(world.bus(), 3)
        await until(lambda: subscription.statistics().handled == 3)
    assert done == [b"0", b"1", b"2"]
    assert world.recorder.errors == []


async def test_what_a_handler_sets_in_its_context_is_its_own(
    autojump_clock: MockClock, world: World
) -> None:
    """Each has a copy of the context in which the subscription was opened."""
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(NOTE.get())
        NOTE.set(str(delivery.entry_id))
        await trio.sleep(0.1)

    NOTE.set("opened")
    async with open_subscription(world.bus(), SINGLE, handle) as subscription:
        NOTE.set("later")
        await publish(world.bus(), 5)
        await until(lambda: subscription.statistics().handled == 5)
    assert seen == ["opened"] * 5


async def test_what_is_no_failure_leaves_from_a_cell_that_was_cancelled(
    autojump_clock: MockClock, world: World
) -> None:
    """It comes out as itself, without the groups of the nurseries that it passed."""

    async def handle(_: Delivery) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise Ended from None

    settings = attrs.evolve(SINGLE, handler_timeout=1.0)
    with pytest.raises(Ended):
        async with open_subscription(world.bus(), settings, handle):
            await publish(world.bus(), 1)
            await trio.sleep_forever()


async def test_what_is_no_failure_leaves_from_a_cell(
    autojump_clock: MockClock, world: World
) -> None:
    async def handle(_: Delivery) -> None:
        raise Ended

    with pytest.raises(Ended):
        async with open_subscription(world.bus(), SINGLE, handle):
            await publish(world.bus(), 1)
            await trio.sleep_forever()


async def test_a_handler_that_is_late_in_a_cancelled_block_gives_back(
    autojump_clock: MockClock, world: World
) -> None:
    """It is cancelled for both: nothing failed."""
    settings = attrs.evolve(SINGLE, handler_timeout=1.0, drain_timeout=9.0)

    async def handle(_: Delivery) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1.0)

    with trio.move_on_after(1.5) as scope:
        async with open_subscription(world.bus(), settings, handle):
            await publish(world.bus(), 1)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert world.recorder.errors == []


async def test_a_cell_that_has_ended_is_not_used_again(
    autojump_clock: MockClock, world: World
) -> None:
    """All around is cancelled, and something comes before anybody has told."""

    async def handle(_: Delivery) -> None:
        await trio.sleep(0.1)

    async with open_subscription(world.bus(), config(), handle) as subscription:
        await publish(world.bus(), 3)
        await until(lambda: subscription.statistics().handled == 3)
        outlet = subscription._life._outlet
        assert isinstance(outlet, Dispatcher)
        for cell in outlet._idle:
            cell.scope.cancel("all around is cancelled")
        await trio.testing.wait_all_tasks_blocked()
        await publish(world.bus(), 3)
        await until(lambda: subscription.statistics().handled == 6)


@pytest.mark.parametrize("mode", [AckMode.MANUAL, AckMode.AUTO_ON_HANDLER_SUCCESS])
async def test_more_handlers_than_ever_at_once_run_in_few_places(
    autojump_clock: MockClock, world: World, mode: AckMode
) -> None:
    """They are reused; when the last one has ended, nothing is left of them."""
    tasks: set[str] = set()

    async def handle(delivery: Delivery) -> None:
        task = trio.lowlevel.current_task()
        assert task.parent_nursery is not None
        tasks.add(repr(task.parent_nursery.parent_task))
        await trio.sleep(0.1)
        if mode is AckMode.MANUAL:
            await delivery.ack()

    settings = attrs.evolve(config(), max_in_flight=3, ack_mode=mode)
    async with open_subscription(world.bus(), settings, handle) as subscription:
        await publish(world.bus(), 60)
        await until(lambda: subscription.statistics().handled == 60)
    assert len(tasks) == 3
