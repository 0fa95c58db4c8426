"""Batches: many deliveries at a time, each with an outcome of its own."""

# pyright: reportPrivateUsage=false
# What happens between two steps of a subscription is brought about inside.

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder, World, config, numbered, publish, until
from trio_bus import (
    AckMode,
    Backoff,
    Batch,
    Bus,
    BusOptions,
    DeathCause,
    Delivery,
    EventInvalid,
    Scope,
    SubscriptionConfig,
    Transition,
    ValidationError,
    open_subscription,
    run_subscription,
)
from trio_bus.testing._tasks import all_tasks


def payloads(batch: Batch) -> list[bytes]:
    """Return what is in a batch."""
    return [delivery.message.payload for delivery in batch]


async def test_a_batch_handler_gets_what_a_read_brought(any_world: World) -> None:
    """And all of it is acked when it returns."""
    batches: list[list[bytes]] = []

    async def write(batch: Batch) -> None:
        batches.append(payloads(batch))
        await trio.lowlevel.checkpoint()

    await publish(any_world.bus(), 100)
    async with open_subscription(any_world.bus(), config(), batch_handler=write) as subscription:
        await until(lambda: subscription.statistics().handled == 100)
    assert sorted((it for batch in batches for it in batch), key=int) == numbered(100)
    assert len(batches[0]) == 16
    assert max(map(len, batches)) <= 16


async def test_each_of_a_batch_has_an_outcome_of_its_own(any_world: World) -> None:
    """What the body settled is not settled again; the rest is acked, together."""
    settings = attrs.evolve(config(), retry_backoff=Backoff(first=60.0))
    async with open_subscription(any_world.bus(), settings) as deliveries:
        await publish(any_world.bus(), 6)
        async for batch in deliveries.batches(6, 20.0):
            async with batch:
                assert len(batch) == len(batch.deliveries) == 6
                ack, retry, reject, release, *_ = batch
                await batch.ack(ack)
                await batch.retry(retry, "later")
                await batch.reject(reject, "never")
                await batch.release(release, 60.0)
            break
        await deliveries.wait_idle()
        figures = deliveries.statistics()
    assert (figures.handled, figures.retried, figures.rejected, figures.released) == (3, 1, 1, 1)
    assert figures.failed == 0


async def test_a_failed_batch_is_a_failure_of_each_that_is_open(any_world: World) -> None:
    """Told for each, and tried again; the loop goes on."""
    attempts: list[list[int]] = []
    async with open_subscription(any_world.bus(), config()) as deliveries:
        await publish(any_world.bus(), 3)
        async for batch in deliveries.batches(3, 20.0):
            async with batch:
                attempts.append([it.state.attempt for it in batch])
                await batch.ack(next(iter(batch)))
                raise ValueError("no good")
            break
        async for batch in deliveries.batches(2, 20.0):
            async with batch:
                attempts.append([it.state.attempt for it in batch])
            break
        await deliveries.wait_idle()
        assert deliveries.statistics().failed == 2
        assert deliveries.statistics().retried == 2
    assert attempts == [[1, 1, 1], [2, 2]]


async def test_the_settings_are_asked_for_each(autojump_clock: MockClock, memory: World) -> None:
    """At the limit it is dead-lettered; with an error that rejects, all are."""
    errors: list[Exception] = [OSError("again"), KeyError("no good")]

    async def write(_: Batch) -> None:
        raise errors[0]

    settings = attrs.evolve(config(), max_retry=2, reject_on=(KeyError,))
    async with open_subscription(memory.bus(), settings, batch_handler=write) as subscription:
        await publish(memory.bus(), 4)
        await until(lambda: subscription.statistics().rejected == 4)
        assert subscription.statistics().retried == 8
        errors.pop(0)
        await publish(memory.bus(), 4)
        await until(lambda: subscription.statistics().rejected == 8)
    causes = [it.cause for it in memory.recorder.transitions if it.cause is not None]
    assert causes == [DeathCause.EXHAUSTED] * 4 + [DeathCause.REJECTED] * 4


async def test_what_is_no_event_rejects_nothing_but_itself(
    autojump_clock: MockClock, memory: World
) -> None:
    """Which of the batch it is cannot be known; in a batch of one it can."""

    async def write(batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        if b"0" in payloads(batch):
            raise EventInvalid("no event")

    settings = attrs.evolve(config(), max_retry=1)
    async with open_subscription(memory.bus(), settings, batch_handler=write) as subscription:
        await publish(memory.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
        assert subscription.statistics().retried == 0
        await publish(memory.bus(), 4)
        await until(lambda: subscription.statistics().retried == 4)
        await subscription.wait_idle()


async def test_the_last_of_a_settled_batch_that_fails_is_told(
    autojump_clock: MockClock, memory: World
) -> None:
    """Once, for the first."""
    async with open_subscription(memory.bus(), config()) as deliveries:
        await publish(memory.bus(), 2)
        async for batch in deliveries.batches():
            async with batch:
                for delivery in batch:
                    await delivery.ack()
                raise ValueError("after all")
            break
        assert deliveries.statistics().failed == 1
    assert [it.scope for it in memory.recorder.errors] == [Scope.HANDLER]


async def test_a_batch_that_takes_too_long_has_failed(
    autojump_clock: MockClock, memory: World
) -> None:
    settings = attrs.evolve(config(), handler_timeout=5.0)
    began = trio.current_time()
    async with open_subscription(memory.bus(), settings) as deliveries:
        await publish(memory.bus(), 3)
        async for batch in deliveries.batches(3):
            async with batch:
                await trio.sleep_forever()
            break
        assert trio.current_time() == began + 5
        assert deliveries.statistics().failed == 3


async def test_a_cancelled_batch_is_released(autojump_clock: MockClock, memory: World) -> None:
    """Uncounted; its cancellation goes on."""
    async with open_subscription(memory.bus(), config()) as deliveries:
        await publish(memory.bus(), 3)
        with trio.move_on_after(1) as scope:
            async for batch in deliveries.batches(3):
                async with batch:
                    await trio.sleep_forever()
        assert scope.cancelled_caught
        await until(lambda: deliveries.statistics().released == 3)
        async for batch in deliveries.batches(3, 1.0):
            assert [it.state.attempt for it in batch] == [1, 1, 1]
            with pytest.raises(BaseExceptionGroup):
                async with batch, trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep, 0)
                    raise BaseExceptionGroup("of two", [SystemExit(), ValueError()])
            break


async def test_a_lost_lease_ends_the_block_and_the_others_are_given_back(
    autojump_clock: MockClock,
) -> None:
    """Nobody works on what somebody else has."""
    backend = FlakyBackend()
    bus = Bus(backend, BusOptions(observer=Recorder()))
    settings = attrs.evolve(config(), claim_idle_timeout=3.0)
    async with open_subscription(bus, settings) as deliveries:
        await publish(bus, 2)
        async for batch in deliveries.batches(2, 1.0):
            async with batch:
                deliveries._core.lose(deliveries._core.open_holdings()[0])
                await trio.sleep_forever()
            break
        await until(lambda: deliveries.statistics().released == 1)
        assert deliveries.statistics().lost_leases == 1
        assert deliveries.statistics().failed == 0


async def test_what_was_lost_before_the_block_is_left_out(
    autojump_clock: MockClock, memory: World
) -> None:
    """Also all of it; and a delivery that somebody else is inside refuses."""
    async with open_subscription(memory.bus(), config()) as deliveries:
        await publish(memory.bus(), 2)
        async for batch in deliveries.batches(2):
            first, second = batch
            async with first:
                with pytest.raises(trio.BusyResourceError):
                    async with batch:
                        pytest.fail("it is busy")
            async with batch:
                assert batch.deliveries == (second,)
            async with batch:
                assert len(batch) == 0
            break
        await deliveries.wait_idle()
        assert deliveries.statistics().handled == 2


async def test_a_batch_is_complete_by_its_size_or_in_time(
    autojump_clock: MockClock, memory: World
) -> None:
    """Counted from its first."""
    sizes: list[tuple[int, float]] = []
    began = trio.current_time()
    async with (
        open_subscription(memory.bus(), config()) as deliveries,
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            async for batch in deliveries.batches(4, 2.0):
                async with batch:
                    sizes.append((len(batch), round(trio.current_time() - began)))

        nursery.start_soon(receive)
        await publish(memory.bus(), 10)
        await trio.sleep(1)
        await publish(memory.bus(), 1)
        await trio.sleep(9)
        await publish(memory.bus(), 1)
        await trio.sleep(1)
        await deliveries.drain()
        assert deliveries.statistics().released == 1
    assert sizes == [(4, 0), (4, 0), (3, 2)]


async def test_whoever_is_cancelled_while_a_batch_fills_gives_it_back(
    autojump_clock: MockClock, memory: World
) -> None:
    async with open_subscription(memory.bus(), config()) as deliveries:
        await publish(memory.bus(), 2)
        with trio.move_on_after(1):
            async for _ in deliveries.batches(4, 60.0):
                pytest.fail("it is not complete")
        await until(lambda: deliveries.statistics().released == 2)


async def test_what_expires_or_is_doubtful_is_passed_over(
    autojump_clock: MockClock, memory: World
) -> None:
    """A doubtful one is given back rather than waited for."""
    settings = attrs.evolve(config(), max_in_flight=3)
    async with open_subscription(memory.bus(), settings) as deliveries:
        await publish(memory.bus(), 3)
        await until(lambda: deliveries.statistics().in_flight == 3)
        holdings = deliveries._core.open_holdings()
        holdings[1].lease_until = trio.current_time()
        deliveries._core.hand_back(holdings[2])
        async for batch in deliveries.batches(3):
            assert payloads(batch) == [b"0"]
            async with batch:
                pass
            break
        await until(lambda: deliveries.statistics().released == 2)


async def test_manual_batch_handlers_settle_themselves(
    autojump_clock: MockClock, memory: World
) -> None:
    """What they leave open stays open."""

    async def write(batch: Batch) -> None:
        await batch.ack(next(iter(batch)))

    settings = attrs.evolve(config(), ack_mode=AckMode.MANUAL)
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[object]) -> None:
            await run_subscription(
                memory.bus(), settings, batch_handler=write, task_status=task_status
            )

        await nursery.start(run)
        await publish(memory.bus(), 3)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(memory.recorder.ids(Transition.UNSETTLED)) == 2
    assert all_tasks()


async def test_a_batch_handler_may_leave_by_its_own_way(
    autojump_clock: MockClock, memory: World
) -> None:
    """What is no Exception leaves the subscription; what has not started is given back."""

    async def write(_: Batch) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        async with open_subscription(memory.bus(), config(), batch_handler=write):
            await publish(memory.bus(), 3)
            await trio.sleep_forever()
    assert (await memory.group()).pending == 0


async def test_what_is_paused_before_a_batch_starts_is_left_out(
    autojump_clock: MockClock, memory: World
) -> None:
    """All of it: then there is no batch."""
    batches: list[int] = []

    async def write(batch: Batch) -> None:
        batches.append(len(batch))
        subscription.pause()
        await trio.lowlevel.checkpoint()

    settings = attrs.evolve(config(), max_in_flight=4)
    async with open_subscription(memory.bus(), settings, batch_handler=write) as subscription:
        core = subscription._core
        deliver = core.deliver

        def deliver_and_give_back(holdings: list[object]) -> None:
            deliver(holdings)  # type: ignore[arg-type]
            core.hand_back_unstarted()
            core.deliver = deliver

        core.deliver = deliver_and_give_back  # type: ignore[assignment]
        await publish(memory.bus(), 2)
        await until(lambda: subscription.statistics().handled == 2)
    assert batches in ([2], [1, 1])


async def test_a_batch_that_fails_counts_once_for_an_outage(
    autojump_clock: MockClock, memory: World
) -> None:
    """One of its entries may be to blame."""

    async def write(batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        if b"0" in payloads(batch):
            raise ValueError("poison")

    settings = attrs.evolve(config(), failure_threshold=3, max_retry=1)
    async with open_subscription(memory.bus(), settings, batch_handler=write) as subscription:
        await publish(memory.bus(), 8)
        await until(lambda: subscription.statistics().retried == 8)
        assert not subscription.statistics().outage


async def test_what_cannot_be_is_refused(autojump_clock: MockClock, memory: World) -> None:
    async def write(_: Batch) -> None:
        await trio.lowlevel.checkpoint()

    async def handle(_: Delivery) -> None:
        await trio.lowlevel.checkpoint()

    bus = memory.bus()
    async with open_subscription(bus, attrs.evolve(config(), max_in_flight=4)) as deliveries:
        for size in (5, 0, True, "4"):
            with pytest.raises(ValidationError, match=r"max_size: .* is not 1 to 4"):
                deliveries.batches(size)  # type: ignore[arg-type]
        for wait in (-1, "1"):
            with pytest.raises(ValidationError, match=r"max_wait: .* is not 0 to 1e"):
                deliveries.batches(4, wait)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="batch_handler: there is a handler"):
        async with open_subscription(bus, config(), handle, batch_handler=write):  # type: ignore[call-overload]
            pass
    at_most_once = SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE)
    with pytest.raises(ValidationError, match="AUTO_ON_RECEIVE is for single deliveries"):
        async with open_subscription(bus, at_most_once, batch_handler=write):
            pass
    with pytest.raises(ValidationError, match="handler: None, and there is no batch_handler"):
        await run_subscription(bus, config())
