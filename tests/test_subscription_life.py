"""What must hold whatever handlers, codecs and users do; in virtual time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder, World, config, publish, until
from trio_bus import (
    AckMode,
    Backoff,
    Bus,
    BusClosed,
    BusOptions,
    ConnectionLost,
    Delivery,
    FieldsCodec,
    LeaseLost,
    Message,
    OutcomeUnknown,
    RemoteError,
    Scope,
    SubscriptionError,
    Transition,
    ValidationError,
    open_subscription,
)
from trio_bus.abc import Membership, Record
from trio_bus.testing import Done

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parent.parent


async def ok(delivery: Delivery) -> None:
    """Handle."""
    await trio.lowlevel.checkpoint()


async def test_a_claim_that_waits_for_a_permit_comes_before_the_next_read(
    autojump_clock: MockClock, world: World
) -> None:
    """Or a blocked read takes each permit that is freed, and what is due waits for ever."""
    starts: list[tuple[bytes, int, float]] = []
    began = trio.current_time()

    async def handler(delivery: Delivery) -> None:
        attempt = delivery.state.attempt
        starts.append((delivery.message.payload, attempt, trio.current_time() - began))
        if delivery.message.payload == b"0" and attempt == 1:
            raise OSError("again, in 10 ms")
        await trio.sleep(1)

    settings = attrs.evolve(config(), max_in_flight=1, block_timeout=float("inf"))
    async with open_subscription(world.bus(), settings, handler):
        await publish(world.bus(), 2)
        await until(lambda: len(starts) == 3)
    assert starts[2][:2] == (b"0", 2)
    assert starts[2][2] < 1.5


async def test_an_entry_lost_by_our_own_clock_is_started_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """It is still pending for us, and no other consumer is there to take it over."""
    starts: list[int] = []

    async def handler(delivery: Delivery) -> None:
        starts.append(delivery.state.attempt)
        if len(starts) == 1:
            await trio.sleep_forever()

    settings = attrs.evolve(config(), claim_idle_timeout=3.0)
    async with open_subscription(world.bus(), settings, handler) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: len(starts) == 1)
        flaky.fail("renew", *[ConnectionLost("away")] * 1000)
        await until(lambda: subscription.statistics().lost_leases == 1)
        flaky.heal()
        await until(lambda: subscription.statistics().handled == 1)
    assert starts == [1, 1]
    assert (await world.group()).pending == 0


async def test_settlements_given_up_at_the_end_leave_nothing_behind(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Their entries are given back, and nobody waits for them any more."""
    returned: list[str] = []
    hasty = attrs.evolve(config(), shutdown_timeout=0.0)
    async with trio.open_nursery() as nursery:
        with pytest.raises(SubscriptionError):
            async with open_subscription(world.bus(), hasty, ok) as subscription:
                flaky.fail("settle", RemoteError("OOM"))
                await publish(world.bus(), 1)
                await until(lambda: flaky.calls.get("settle", 0) == 1)

                async def wait(name: str, waiting: Callable[[], Awaitable[None]]) -> None:
                    await waiting()
                    returned.append(name)

                nursery.start_soon(wait, "drain", subscription.drain)
                nursery.start_soon(wait, "wait_idle", subscription.wait_idle)
                nursery.start_soon(wait, "aclose", subscription.aclose)
    assert sorted(returned) == ["aclose", "drain", "wait_idle"]
    group = await world.group()
    assert (group.pending, group.released, group.consumers) == (0, 1, ())


async def test_at_most_once_cancelled_before_its_handler_leaves_nothing(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The ack was under way: it is neither handled nor held."""
    once = attrs.evolve(
        config(), ack_mode=AckMode.AUTO_ON_RECEIVE, retry_backoff=Backoff(), drain_timeout=0.0
    )
    async with open_subscription(world.bus(), once, ok) as subscription:
        flaky.fail("settle", *[ConnectionLost("away")] * 3)
        await publish(world.bus(), 3)
        await until(lambda: subscription.statistics().in_flight == 3)
        await subscription.aclose()
        assert subscription.statistics().in_flight == 0
    assert subscription.statistics().in_flight == 0


async def test_a_codec_that_raises_what_it_must_not_delays_only_its_entry(
    autojump_clock: MockClock, flaky: FlakyBackend
) -> None:
    """The entry is dead-lettered like any that cannot be decoded."""

    class Broken(FieldsCodec):
        def decode(self, record: Record, /) -> Message:
            message = super().decode(record)
            if message.payload == b"1":
                raise KeyError("bug")
            return message

    recorder = Recorder()
    bus = Bus(flaky, BusOptions(codec=Broken(), observer=recorder))
    async with open_subscription(bus, config(), ok) as subscription:
        await publish(bus, 3)
        await until(lambda: subscription.statistics().handled == 2)
        await until(lambda: subscription.statistics().rejected == 1)
    assert [event.scope for event in recorder.errors] == [Scope.DECODE]


async def test_an_error_without_a_text_is_an_error_like_any(
    autojump_clock: MockClock, world: World
) -> None:
    """What is broken about it is its text."""

    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def failing(_: Delivery) -> None:
        raise UnspeakableError

    async with open_subscription(
        world.bus(), attrs.evolve(config(), max_retry=1), failing
    ) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)


@pytest.mark.parametrize("delay", [-1.0, 1e306, float("inf"), float("nan"), 10**400, True, "1"])
async def test_a_delay_that_cannot_work_is_refused_and_settles_nothing(
    autojump_clock: MockClock, world: World, delay: float
) -> None:
    """The text names the value; the delivery is still open."""
    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        with pytest.raises(ValidationError, match="delay"):
            await delivery.retry("later", delay=delay)
        with pytest.raises(ValidationError, match="delay"):
            await delivery.release(delay=delay)
        await delivery.ack()


@pytest.mark.parametrize("delay", [None, 0, 0.0])
async def test_releasing_in_a_loop_does_not_run_hot(
    autojump_clock: MockClock, world: World, delay: float | None
) -> None:
    """Released again, an entry waits for a tick; here there are twenty ticks for twenty entries."""
    starts = 0
    hot = trio.Event()

    async def refuse(delivery: Delivery) -> None:
        nonlocal starts
        starts += 1
        if starts > 1000:
            hot.set()
            await trio.sleep_forever()
        await delivery.release(delay)

    settings = attrs.evolve(config(), reclaim_interval=0.5, max_in_flight=4, drain_timeout=0.0)
    async with open_subscription(world.bus(), settings, refuse):
        await publish(world.bus(), 20)
        with trio.move_on_after(10):
            await hot.wait()
    assert not hot.is_set()
    assert starts >= 100


async def test_drain_in_a_handler_does_not_wait_for_itself(
    autojump_clock: MockClock, world: World
) -> None:
    """To stop after this one is a natural wish; the handler goes on and is acked."""
    handled: list[bytes] = []

    async def last(delivery: Delivery) -> None:
        await subscription.drain()
        handled.append(delivery.message.payload)

    began = trio.current_time()
    endless = attrs.evolve(config(), drain_timeout=float("inf"), max_in_flight=1)
    async with open_subscription(world.bus(), endless, last) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: bool(handled))
    assert trio.current_time() - began < 1
    assert handled == [b"0"]
    assert subscription.statistics().handled == 1


async def test_aclose_in_a_cancelled_scope_still_cancels_handlers(
    autojump_clock: MockClock, world: World
) -> None:
    """As trio demands of every `aclose`."""
    began = trio.current_time()

    async def long(delivery: Delivery) -> None:
        await trio.sleep(1000)

    async with open_subscription(world.bus(), config(), long) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().in_flight == 1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await subscription.aclose()
    assert trio.current_time() - began < 1
    assert (await world.group()).released == 1


async def test_aclose_is_bounded_while_the_server_is_away(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """By `shutdown_timeout` and the command timeout."""
    with pytest.raises(SubscriptionError):
        async with open_subscription(world.bus(), config(), ok) as subscription:
            flaky.fail("settle", *[ConnectionLost("away")] * 10_000)
            await publish(world.bus(), 1)
            await until(lambda: subscription.statistics().pending_acks == 1)
            began = trio.current_time()
            await subscription.aclose()
            assert trio.current_time() - began <= 5 + 10 + 0.1


async def test_an_unsent_ack_that_comes_too_late_is_a_lost_lease(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Only an outcome that is unknown makes 'not ours' look like success."""
    thief = Membership(topic="orders", group="billing", consumer="t", lease=0.1, max_attempt=9)
    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        await trio.sleep(0.5)
        async with flaky.inner.join(thief) as member:
            assert (await member.look()).claimable
            assert len((await member.take_over(1)).entries) == 1
        flaky.fail("settle", ConnectionLost("never sent"))
        with pytest.raises(LeaseLost):
            await delivery.ack()
    assert deliveries.statistics().handled == 0


async def test_leases_of_what_waits_to_be_settled_are_renewed(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """A refused ack does not hand its entry to another consumer."""
    handled: list[bytes] = []

    async def handler(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)

    short = attrs.evolve(config(), claim_idle_timeout=1.0)
    other = World("memory:", flaky.inner)
    async with (
        open_subscription(world.bus(), short, handler) as first,
        open_subscription(other.bus(), short, handler) as second,
    ):
        flaky.fail("settle", *[RemoteError("MISCONF")] * 8)
        await publish(world.bus(), 1)
        await until(
            lambda: first.statistics().handled + second.statistics().handled == 1, patience=100
        )
    assert len(handled) == 1


async def test_an_entry_that_comes_again_waits_for_its_earlier_handler(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The group was deleted and begins anew: same id, same attempt, one handler at a time."""
    running, most, ends = 0, 0, 0

    async def stubborn(delivery: Delivery) -> None:
        nonlocal running, most, ends
        running += 1
        most = max(most, running)
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        running -= 1
        ends += 1
        if ends == 1:
            raise OSError("of the earlier delivery: it must not touch the later one")

    async with open_subscription(world.bus(), config(), stubborn) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: running == 1)
        flaky.inner.destroy_group("orders", "billing")
        await until(lambda: subscription.statistics().handled == 1, patience=60)
    assert (most, ends) == (1, 2)
    assert subscription.statistics().retried == 0


async def test_an_entry_whose_second_delivery_was_lost_is_started_the_third_time(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The second waited for the first, which outlasts it; the third waits for nobody."""
    starts: list[float] = []

    async def stubborn(_: Delivery) -> None:
        starts.append(trio.current_time())
        if len(starts) == 1:
            with trio.CancelScope(shield=True):
                await trio.sleep(12)

    short = attrs.evolve(config(), claim_idle_timeout=3.0, drain_timeout=1.0)
    async with open_subscription(world.bus(), short, stubborn) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: len(starts) == 1)
        flaky.inner.destroy_group("orders", "billing")
        await until(lambda: subscription.statistics().in_flight == 2)
        for operation in ("renew", "settle"):
            flaky.fail(operation, *[ConnectionLost("away")] * 2000)
        await trio.sleep(14)
        flaky.heal()
        await until(lambda: len(starts) == 2, patience=100)
        await subscription.wait_idle()


@pytest.mark.parametrize("how", ["release", "retry"])
async def test_an_entry_that_comes_back_before_its_settlement_is_confirmed_is_started(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, how: str
) -> None:
    """The server has done it, and gives the entry to us again while its answer is on the way."""
    starts: list[int] = []

    async def handler(delivery: Delivery) -> None:
        starts.append(delivery.state.attempt)
        if len(starts) == 1:
            flaky.delay("settle", 0.3)
            await (delivery.release() if how == "release" else delivery.retry("again", delay=0))

    async with open_subscription(world.bus(), config(), handler) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
        assert subscription.statistics().in_flight == 0
    assert starts == [1, 1 if how == "release" else 2]
    assert (await world.group()).pending == 0


async def test_a_renewal_speaks_of_the_latest_delivery(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The answer of a retry is lost, the entry is ours again: both deliveries have its id."""
    starts: list[int] = []

    async def handler(delivery: Delivery) -> None:
        starts.append(delivery.state.attempt)
        if len(starts) == 1:
            flaky.fail("settle", *[OutcomeUnknown("no answer")] * 12, done=Done.EVERYTHING)
            await delivery.retry("again", delay=0)

    short = attrs.evolve(config(), claim_idle_timeout=0.5)
    async with open_subscription(world.bus(), short, handler) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1, patience=200)
        assert subscription.statistics().lost_leases == 0
    assert starts == [1, 2]


async def test_drain_does_not_wait_for_a_delivery_that_waits_for_another(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """It has not started, so it goes back."""

    async def stubborn(_: Delivery) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    async with open_subscription(world.bus(), config(), stubborn) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().in_flight == 1)
        flaky.inner.destroy_group("orders", "billing")
        await until(lambda: subscription.statistics().in_flight == 2)
        began = trio.current_time()
        await subscription.drain()
    assert trio.current_time() - began < 4
    assert (await world.group()).released == 1


async def test_an_entry_that_is_always_released_holds_up_no_other(
    autojump_clock: MockClock, world: World
) -> None:
    """Even with one permit, and others released behind it by a consumer that left."""
    handled: list[bytes] = []

    async def picky(delivery: Delivery) -> None:
        if delivery.message.payload == b"0":
            await delivery.release()
        else:
            handled.append(delivery.message.payload)

    async with open_subscription(world.bus(), attrs.evolve(config(), max_in_flight=20)) as first:
        await publish(world.bus(), 20)
        await until(lambda: first.statistics().in_flight == 20)
    assert (await world.group()).released == 20
    async with open_subscription(world.bus(), attrs.evolve(config(), max_in_flight=1), picky):
        await until(lambda: len(handled) == 19)


async def test_a_lease_ends_while_its_renewal_is_unanswered(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The connection is silent for longer than the lease: the handler must not outlive it."""
    ended: list[float] = []

    async def long(_: Delivery) -> None:
        began = trio.current_time()
        try:
            await trio.sleep(60)
        finally:
            ended.append(trio.current_time() - began)

    short = attrs.evolve(config(), claim_idle_timeout=3.0)
    async with open_subscription(world.bus(), short, long) as subscription:
        flaky.delay("renew", 30)
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().lost_leases == 1)
    assert ended[0] == pytest.approx(3, abs=0.2)


async def test_drain_gives_back_what_runs_only_when_it_has_ended(
    autojump_clock: MockClock, world: World
) -> None:
    """Or two handlers would run one entry."""
    spans: list[tuple[float, float]] = []

    async def span(seconds: float) -> None:
        began = trio.current_time()
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        spans.append((began, trio.current_time()))

    async def second(_: Delivery) -> None:
        await span(0.1)

    async with (
        open_subscription(world.bus(), attrs.evolve(config(), drain_timeout=1.0)) as deliveries,
        trio.open_nursery() as nursery,
    ):
        await publish(world.bus(), 1)

        async def first() -> None:
            async for delivery in deliveries:
                async with delivery:
                    await span(5)

        nursery.start_soon(first)
        await until(lambda: deliveries.statistics().in_flight == 1)
        async with open_subscription(world.bus(), config(), second):
            await deliveries.drain()
            await until(lambda: len(spans) == 2)
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end <= second_start


async def test_one_delivery_is_not_entered_twice(autojump_clock: MockClock, world: World) -> None:
    """A handler is inside its delivery already."""
    errors: list[str] = []

    async def nested(delivery: Delivery) -> None:
        try:
            async with delivery:
                raise AssertionError("unreachable")
        except trio.BusyResourceError as error:
            errors.append(str(error))

    async with open_subscription(world.bus(), config(), nested) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
    assert "being handled" in errors[0]


async def test_a_cancellation_is_not_replaced_by_unconfirmed_settlements(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Under cancellation, `Cancelled` leaves the block."""
    with trio.move_on_after(2) as scope:
        async with open_subscription(world.bus(), config(), ok) as subscription:
            flaky.fail("settle", *[OutcomeUnknown("away")] * 10_000)
            await publish(world.bus(), 1)
            await until(lambda: subscription.statistics().pending_acks == 1)
            await trio.sleep(1)
    assert scope.cancelled_caught


async def test_a_subscription_on_a_closed_bus_ends(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Nothing heals that."""
    flaky.fail("read", BusClosed("the backend was closed"))
    with pytest.raises(BusClosed):
        async with open_subscription(world.bus(), config(), ok):
            await trio.sleep_forever()


CTRL_C = """
import os, signal, sys
import trio
sys.path.insert(0, {root!r})
from tests.faults import FlakyBackend
from tests.harness import Recorder, World, config, publish, until
from trio_bus import ConnectionLost, open_subscription

async def ok(delivery):
    pass

async def press(times):
    for _ in range(times):
        await trio.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

async def main():
    flaky = FlakyBackend()
    world = World("memory:", flaky, Recorder())
    flaky.fail("settle", *[ConnectionLost("away")] * 100_000)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope(shield=True):
            trio.lowlevel.spawn_system_task(press, {times})
        async with open_subscription(world.bus(), config(), ok):
            await publish(world.bus(), 3)
            await trio.sleep({stay})

try:
    trio.run(main)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
except BaseExceptionGroup as group:
    print(sorted(type(error).__name__ for error in group.exceptions))
"""


@pytest.mark.parametrize(("times", "stay"), [(1, 0.1), (2, 60), (3, 0.1)])
def test_ctrl_c_while_leaving_skips_nothing_and_hangs_nowhere(times: int, stay: float) -> None:
    """Trio raises it in the main task, shielded or not: the five steps have a task of their own."""
    program = CTRL_C.format(root=str(ROOT), times=times, stay=stay)
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    assert "KeyboardInterrupt" in ran.stdout
    assert signal.SIGINT.name not in ran.stderr


async def test_observers_hear_what_is_released(autojump_clock: MockClock, world: World) -> None:
    """By leaving, too."""
    async with open_subscription(world.bus(), config()) as deliveries:
        (entry_id,) = await publish(world.bus(), 1)
        await deliveries.receive()
    assert world.recorder.ids(Transition.RELEASED) == [entry_id]
