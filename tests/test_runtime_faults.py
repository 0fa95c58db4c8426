"""What the runtime does when its backend fails, and when leases are lost; in virtual time."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder, World, config, publish, until
from trio_bus import (
    AckMode,
    ConnectionLost,
    Delivery,
    DeliveryFinalized,
    ErrorEvent,
    HandlerTimeout,
    LeaseLost,
    Message,
    OutcomeUnknown,
    PermissionDenied,
    PublishError,
    RemoteError,
    Scope,
    SubscriptionError,
    Transition,
    TransitionEvent,
    WrongType,
    open_subscription,
)
from trio_bus.abc import Membership
from trio_bus.testing import Done


async def ok(delivery: Delivery) -> None:
    """Handle."""
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("done", [Done.NOTHING, Done.EVERYTHING])
@pytest.mark.guards("a failed ack is forgotten")
async def test_a_failed_ack_is_tried_again_and_counts_once(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, done: Done
) -> None:
    """Whether or not the server had it: gone from the pending list means done."""
    error = ConnectionLost if done is Done.NOTHING else OutcomeUnknown
    flaky.fail("settle", error("one"), error("two"), done=done)
    async with open_subscription(world.bus(), config(), ok) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
        assert subscription.statistics().lost_leases == 0
    assert [event.scope for event in world.recorder.errors] == [Scope.SETTLE] * 2
    assert (await world.group()).pending == 0


@pytest.mark.bulk
async def test_reads_claims_and_renewals_go_on_after_a_loss(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Each loss is told, none ends the subscription, no loop runs hot."""
    settings = attrs.evolve(config(), claim_idle_timeout=30.0, reclaim_interval=1.0)
    lost = [ConnectionLost(f"loss {number}") for number in range(8)]

    async def long(delivery: Delivery) -> None:
        await trio.sleep(100)

    async with open_subscription(world.bus(), settings, long) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().in_flight == 1)
        for operation in ("read", "look", "renew"):
            flaky.fail(operation, *lost)
        before = trio.current_time()
        await trio.sleep(25)
        assert flaky.calls["read"] < 10 * (trio.current_time() - before)
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 2, patience=300)
        assert subscription.statistics().lost_leases == 0
    scopes = {event.scope for event in world.recorder.errors}
    assert scopes == {Scope.READ, Scope.CLAIM, Scope.RENEW}


async def test_a_lease_that_ran_out_by_our_clock_is_lost(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """No renewal got through for a whole lease: the handler is cancelled, its verbs say why."""
    ended: list[float] = []
    caught: list[type[BaseException]] = []

    async def long(delivery: Delivery) -> None:
        started = trio.current_time()
        try:
            await trio.sleep(1000)
        finally:
            ended.append(trio.current_time() - started)
            with trio.CancelScope(shield=True):
                for verb in (delivery.ack, delivery.release, delivery.renew):
                    try:
                        await verb()
                    except LeaseLost as error:
                        caught.append(type(error))

    settings = attrs.evolve(config(), claim_idle_timeout=9.0)
    async with open_subscription(world.bus(), settings, long) as subscription:
        flaky.fail("renew", *[ConnectionLost("gone")] * 1000)
        await publish(world.bus(), 1)
        await until(lambda: bool(ended))
        assert subscription.statistics().lost_leases == 1
        flaky.heal()
    assert 9.0 <= ended[0] <= 12.5
    assert caught == [LeaseLost] * 3
    assert world.recorder.ids(Transition.LEASE_LOST)


@pytest.mark.guards("a lost lease goes unnoticed")
async def test_a_lease_taken_by_another_cancels_that_handler_alone(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The renewal reports it; the other handlers go on."""
    ends: dict[bytes, float] = {}
    bus = world.bus()

    async def long(delivery: Delivery) -> None:
        try:
            await trio.sleep(50)
        finally:
            ends.setdefault(delivery.message.payload, trio.current_time())

    thief = Membership(topic="orders", group="billing", consumer="t", lease=0.1, max_attempt=9)
    settings = attrs.evolve(config(), claim_idle_timeout=6.0, reclaim_interval=1.0)
    started = trio.current_time()
    async with open_subscription(bus, settings, long) as subscription:
        await publish(bus, 1)
        await until(lambda: subscription.statistics().in_flight == 1)
        await trio.sleep(0.5)
        await bus.publish(Message("orders", b"1"))
        await until(lambda: subscription.statistics().in_flight == 2)
        async with flaky.inner.join(thief) as member:
            assert (await member.look()).claimable
            assert len((await member.take_over(1)).entries) == 1
        await until(lambda: len(ends) == 2, patience=100)
    assert ends[b"0"] - started < 6
    assert ends[b"1"] - started >= 50
    assert subscription.statistics().lost_leases == 1


async def test_handler_timeout_ends_a_handler_and_counts_as_a_failure(
    autojump_clock: MockClock, world: World
) -> None:
    """It is retried, then dead-lettered, with `HandlerTimeout` as the reason."""
    attempts: list[int] = []

    async def hanging(delivery: Delivery) -> None:
        attempts.append(delivery.state.attempt)
        await trio.sleep_forever()

    settings = attrs.evolve(config(), handler_timeout=2.0, max_retry=1)
    async with open_subscription(world.bus(), settings, hanging) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
    assert attempts == [1, 2]
    assert [type(event.error) for event in world.recorder.errors] == [HandlerTimeout] * 2


async def test_handler_timeout_ends_a_manual_delivery_that_was_left_open(
    autojump_clock: MockClock, world: World
) -> None:
    """Its handler has returned, so the renewal task watches the time."""
    starts: list[float] = []

    async def keep(delivery: Delivery) -> None:
        starts.append(trio.current_time())

    settings = attrs.evolve(config(), handler_timeout=2.0, max_retry=1, ack_mode=AckMode.MANUAL)
    async with open_subscription(world.bus(), settings, keep) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
    assert starts[1] - starts[0] == pytest.approx(2, abs=0.1)
    assert [type(event.error) for event in world.recorder.errors] == [HandlerTimeout] * 2


async def test_a_mixed_group_counts_as_failure_and_its_cancelled_part_goes_on(
    autojump_clock: MockClock, world: World
) -> None:
    """A nursery inside a handler may raise both at once."""
    finished = trio.Event()

    async def crash() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("while being cancelled")

    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        with trio.CancelScope() as scope:
            async with delivery, trio.open_nursery() as nursery:
                nursery.start_soon(crash)
                nursery.start_soon(trio.sleep_forever)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
            finished.set()
        assert scope.cancelled_caught
        assert not finished.is_set()
        await until(lambda: deliveries.statistics().retried == 1)


async def test_a_delivery_is_settled_once(autojump_clock: MockClock, world: World) -> None:
    """What the body settled itself is not settled again; a second verb is refused."""
    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        async with delivery:
            await delivery.reject("bad")
            with pytest.raises(DeliveryFinalized):
                await delivery.retry("again")
            raise ValueError("this is observed, and settles nothing")
    assert deliveries.statistics().rejected == 1
    assert deliveries.statistics().retried == 0
    assert [type(event.error) for event in world.recorder.errors] == [ValueError]


async def test_two_tasks_cannot_be_inside_one_delivery(
    autojump_clock: MockClock, world: World
) -> None:
    """That would be two handlers of one entry."""
    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 1)
        async with await deliveries.receive() as delivery:
            with pytest.raises(trio.BusyResourceError):
                async with delivery:
                    raise AssertionError("unreachable")


@pytest.mark.parametrize("error", [WrongType("WRONGTYPE x"), PermissionDenied("NOPERM x")])
async def test_what_cannot_heal_ends_the_subscription_with_that_error(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, error: RemoteError
) -> None:
    """The body is cancelled, and the block raises the error alone."""
    flaky.fail("read", error)
    with pytest.raises(type(error)) as caught:
        async with open_subscription(world.bus(), config(), ok):
            await trio.sleep_forever()
    assert caught.value is error


async def test_the_error_of_the_body_beats_the_fatal_one(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The body's own comes first."""
    flaky.fail("read", WrongType("WRONGTYPE x"))
    with pytest.raises(ValueError, match="mine"):
        async with open_subscription(world.bus(), config(), ok):
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")


@pytest.mark.guards("close has no deadline")
async def test_settlements_that_stay_unconfirmed_leave_as_one_group(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """After `shutdown_timeout`; every original is inside, and the time is bounded."""
    settings = attrs.evolve(config(), shutdown_timeout=3.0)
    left = 0.0
    with pytest.raises(SubscriptionError) as caught:
        async with open_subscription(world.bus(), settings, ok) as subscription:
            flaky.fail("settle", *[ConnectionLost("down")] * 100_000)
            await publish(world.bus(), 3)
            await until(lambda: subscription.statistics().pending_acks == 3)
            left = trio.current_time()
    assert trio.current_time() - left <= 3.0 + 10.0 + 0.1
    assert len(caught.value.exceptions) == 3
    assert all(isinstance(e.__cause__, ConnectionLost) for e in caught.value.exceptions)


async def test_a_refused_settlement_does_not_hold_up_the_others(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """A server out of memory refuses the dead letter, and still takes acks."""

    async def sort(delivery: Delivery) -> None:
        if delivery.message.payload == b"0":
            await delivery.reject("bad")

    async with open_subscription(world.bus(), config(), sort) as subscription:
        flaky.fail("settle", *[RemoteError("OOM command not allowed")] * 3)
        await publish(world.bus(), 1)
        await until(lambda: flaky.calls.get("settle", 0) >= 1)
        await publish(world.bus(), 4)
        await until(lambda: subscription.statistics().handled == 3)
        await until(lambda: subscription.statistics().rejected == 2)
    assert {type(event.error) for event in world.recorder.errors} == {RemoteError}


async def test_publish_tells_what_is_known(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """An error reaches the caller with its type, and the observer with its scope."""
    bus = world.bus()
    flaky.fail("append", OutcomeUnknown("no reply"))
    with pytest.raises(OutcomeUnknown):
        await bus.publish(Message("orders", b"x"))
    outcome = await bus.publish_batch(
        [Message("orders", b"1"), Message("orders", bytes(5_000_000)), Message("other", b"2")]
    )
    assert [isinstance(result, Exception) for result in outcome.results] == [False, True, False]
    with pytest.raises(PublishError, match="1 of 3") as caught:
        outcome.raise_errors()
    assert len(caught.value.exceptions) == 1


async def test_an_observer_that_raises_is_logged_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It must not break the bus."""

    class Broken:
        def on_error(self, _: ErrorEvent, /) -> None:
            raise RuntimeError("broken observer")

        def on_transition(self, _: TransitionEvent, /) -> None:
            raise RuntimeError("broken observer")

    world = World("memory:", FlakyBackend(), Recorder())
    bus = world.bus()
    bus.notifier.observer = Broken()
    async with open_subscription(bus, config(), ok) as subscription:
        await publish(bus, 3)
        await until(lambda: subscription.statistics().handled == 3)
    assert [record.message for record in caplog.records].count(
        "the observer raised; its errors are not logged again"
    ) == 1
