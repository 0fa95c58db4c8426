"""Moments of subscriptions that other tests come to by chance only, each brought about."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, publish, until
from tests.test_gaps import Stop
from tests.test_ordered_settings import suspects
from tests.test_ordering import BRIEF, LEASE, ORDERED, Work, member
from tests.test_ordering import publish as publish_keys
from trio_bus import (
    AckMode,
    Backoff,
    BusOptions,
    ConnectionLost,
    DeathCause,
    Delivery,
    EntryId,
    MemoryBackend,
    Redriven,
    RemoteError,
    Scope,
    SubscriptionError,
    Transition,
    open_subscription,
)
from trio_bus._graves import Grave
from trio_bus._memory.custody import Custody
from trio_bus._redis import graves
from trio_bus._redis.resp import ErrorReply
from trio_bus.testing import plugin


async def _fail_late() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("too late")


async def test_a_batch_that_fails_while_it_is_cancelled_is_both(
    autojump_clock: MockClock, world: World
) -> None:
    """What is a failure is settled as one; the cancellation goes on."""
    await publish(world.bus(), 2)
    async with open_subscription(world.bus(), config()) as deliveries:
        with trio.move_on_after(1.0) as patience:
            async with await anext(deliveries.batches(2, 1.0)), trio.open_nursery() as nursery:
                nursery.start_soon(_fail_late)
                nursery.start_soon(trio.sleep_forever)
        assert patience.cancelled_caught
        await until(lambda: len(world.recorder.ids(Transition.RETRIED)) == 2)
    told = [event.error for event in world.recorder.errors]
    assert all(pytest.RaisesGroup(ValueError).matches(error) for error in told)
    assert len(told) == 2


async def test_two_may_wait_until_one_lease_is_renewed(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """One of them gets the delivery; the other is told that it is being handled."""
    settings = attrs.evolve(config(), claim_idle_timeout=6.0)
    entered: list[float] = []
    busy: list[Exception] = []

    async def handle(delivery: Delivery) -> None:
        try:
            async with delivery:
                entered.append(trio.current_time())
                await trio.sleep(1.0)
        except trio.BusyResourceError as error:
            busy.append(error)

    await publish(world.bus(), 1)
    async with open_subscription(world.bus(), settings) as deliveries:
        delivery = await deliveries.receive()
        received = trio.current_time()
        flaky.fail("renew", *[ConnectionLost("cut")] * 100)
        await trio.sleep(4.0)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(handle, delivery)
            await trio.sleep(0.5)
            assert not entered
            flaky.heal()
    assert len(entered) == len(busy) == 1
    assert entered[0] >= received + 4.5


async def test_what_could_not_be_acked_on_arrival_is_not_handled(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Somebody else had it when its ack came: at most once."""
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(delivery.message.payload)

    receiving = attrs.evolve(config(), ack_mode=AckMode.AUTO_ON_RECEIVE, retry_backoff=Backoff())
    stop = Stop(autojump_clock, flaky, seconds=2 * receiving.claim_idle_timeout, steal=1)
    flaky.when_done("read", stop)
    async with open_subscription(world.bus(), receiving, handle) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().lost_leases == 1, 200.0)
        await publish(world.bus(), 1)
        await until(lambda: bool(handled), 200.0)
        await stop.check_untouched()
    assert handled == [b"0"]


async def test_a_probe_that_comes_too_late_takes_nothing(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """It waited for a permit until the outage was over."""
    settings = attrs.evolve(config(), failure_threshold=2, max_in_flight=4, max_pending_acks=1)
    await publish(world.bus(), 5)
    flaky.delay("settle", 5.0)
    async with open_subscription(world.bus(), settings) as deliveries:
        first, *others = [await deliveries.receive() for _ in range(4)]
        with trio.move_on_after(0.0):
            await first.ack()
        others.append(await deliveries.receive())
        for delivery in others[:2]:
            async with delivery:
                raise OSError("the database is down")
        assert deliveries.statistics().outage
        await trio.sleep(2.0)
        async with others[2]:
            pass
        assert not deliveries.statistics().outage
        async with others[3]:
            pass
        for _ in range(2):
            async with await deliveries.receive():
                pass
        await until(lambda: deliveries.statistics().handled == 5)
    assert len(world.recorder.ids(Transition.OUTAGE_ENDED)) == 1


async def test_what_cannot_be_read_stands_in_no_line(
    autojump_clock: MockClock, world: World
) -> None:
    """Where an order is kept it has no key, and is buried; the others go on."""
    await world.backend.append("orders", [((b"\xff", b"\xff"),)])
    await publish_keys(world.bus(), "a1", "a2")
    work = Work()
    async with open_subscription(world.bus(), ORDERED, work) as subscription:
        await until(lambda: subscription.statistics().handled == 2)
    assert work.started == ["a1", "a2"]
    dead = [it for it in world.recorder.transitions if it.cause is not None]
    assert [it.cause for it in dead] == [DeathCause.UNDECODABLE]


async def test_whoever_stands_by_leaves_others_a_tick_after_it_stood_still(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The one that is active may have stood still as well."""
    stop = Stop(autojump_clock, flaky)
    settings = attrs.evolve(BRIEF, reclaim_interval=1.0)
    await world.backend.create_group("orders", "billing", EntryId(0))
    asked: list[float] = []
    async with flaky.inner.join(member("active", 3 * LEASE)) as active:
        assert await active.lead(None) is not None
        async with open_subscription(world.bus(), settings, Work()):
            await trio.sleep(1.5)
            flaky.when_done("look", stop)
            await until(lambda: stop.ended > 0.0)
            flaky.when_done("lead", lambda: asked.append(trio.current_time()))
            await until(lambda: bool(asked))
    assert asked[0] >= stop.ended + 1.0


async def test_whoever_is_active_starts_nothing_for_a_tick_after_it_stood_still(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    stop = Stop(autojump_clock, flaky, seconds=LEASE)
    settings = attrs.evolve(BRIEF, reclaim_interval=1.0)
    asked: list[float] = []

    async def handle(_: Delivery) -> None:
        await trio.sleep(0.1)
        if not stop.ended:
            flaky.when_done("start", lambda: asked.append(trio.current_time()))
            stop()

    await publish_keys(world.bus(), "a1", "a2")
    async with open_subscription(world.bus(), settings, handle) as subscription:
        await until(lambda: subscription.statistics().handled == 2)
    assert asked[0] >= stop.ended + 1.0


async def test_whoever_is_replaced_while_it_can_start_nothing_notices_that(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """By trying to stay active: it asks for nothing else."""
    settings = attrs.evolve(BRIEF, max_in_flight=1, max_parked=1)
    work = Work({"a1": 100.0})
    await publish_keys(world.bus(), "a1", "a2", "a3")
    async with open_subscription(world.bus(), settings, work) as subscription:
        await until(lambda: work.started == ["a1"])
        flaky.fail("lead", *[ConnectionLost("cut")] * 100)
        async with flaky.inner.join(member("thief", 20.0)) as thief:
            await trio.sleep(LEASE + 0.1)
            assert await thief.lead(None) is not None
            asked = flaky.calls["draw"]
            flaky.heal()
            await until(lambda: not subscription.statistics().active)
            assert flaky.calls["draw"] == asked
    assert work.started == ["a1"]


async def test_a_suspect_does_not_start_where_the_lead_was_lost_meanwhile(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Its turn comes with the next term."""
    work = Work({"c1": 2 * LEASE})
    (one,) = await publish_keys(world.bus(), "a1")
    await suspects(world, one)
    await publish_keys(world.bus(), "c1")

    def take_lead_away() -> None:
        Custody(flaky.inner._server.store, member("admin")).place().group.lead = None

    async with open_subscription(world.bus(), BRIEF, work) as subscription:
        await until(lambda: work.started == ["c1"])
        flaky.when_done("settle", take_lead_away)
        await until(lambda: subscription.statistics().handled == 2)
    assert work.started == ["c1", "a1"]
    assert len(world.recorder.ids(Transition.STANDBY)) == 2


async def test_what_waited_for_its_key_may_be_deleted_when_nobody_keeps_the_order(
    autojump_clock: MockClock,
) -> None:
    """It is told as gone; the rest is anybody's."""
    backend = MemoryBackend()
    await backend.create_group("orders", "billing", EntryId(0))
    ids = await backend.append("orders", [((b"a", b"b"),)] * 2)
    one, two = (it for it in ids if isinstance(it, EntryId))
    async with backend.join(member("active", 1.0)) as active:
        token = await active.lead(None)
        assert token is not None
        await active.draw(token, 2)
    backend.delete_entry("orders", one)
    await trio.sleep(10.0)
    async with backend.join(member("heir", 1.0)) as heir:
        look = await heir.look()
        assert look.gone == (one,)
        assert [it.id for it in (await heir.take_over(2)).entries] == [two]


async def test_whoever_waits_for_growth_waits_though_there_is_no_stream(
    autojump_clock: MockClock,
) -> None:
    backend, began = MemoryBackend(), trio.current_time()
    await backend.create_group("orders", "billing", EntryId(0))
    async with backend.join(member("us")) as us:
        backend.delete_topic("orders")
        await us.grown(EntryId(0), 2.0)
        assert trio.current_time() == began + 2.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(us.grown, EntryId(0), 60.0)
            await trio.sleep(1.0)
            await backend.append("orders", [((b"a", b"b"),)])
        assert trio.current_time() == began + 3.0


async def test_what_cannot_be_sent_back_is_answered_one_by_one() -> None:
    """What a server stores by that name may be something else."""
    backend = MemoryBackend()
    backend._server.store.sorted_set("orders").add("m", 1)
    lost = Grave(topic="orders", group="billing", entry_id=EntryId(1))
    other = attrs.evolve(lost, topic="bills")
    refusal, missing = await backend.redrive([lost, other])
    assert isinstance(refusal, RemoteError)
    assert "WRONGTYPE" in str(refusal)
    assert missing is Redriven.GROUP_MISSING


def test_a_redrive_may_be_refused_as_a_whole_or_one_by_one() -> None:
    assert [str(it) for it in graves._results(ErrorReply("OOM full"), 2)] == ["OOM full"] * 2
    one, two = graves._results([b"-WRONGTYPE no", 0], 2)
    assert "WRONGTYPE no" in str(one)
    assert isinstance(two, Redriven)


async def test_a_server_has_no_mock_clock(autojump_clock: MockClock) -> None:
    with pytest.raises(pytest.UsageError, match="it has no mock clock"):
        await anext(plugin.embedded(BusOptions()))


async def test_what_was_given_up_is_not_settled_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Whoever was to try it again when its pause is over finds nothing to do."""
    settings = attrs.evolve(config(), shutdown_timeout=8.0)
    (entry_id,) = await publish(world.bus(), 1)
    with pytest.raises(SubscriptionError):
        async with open_subscription(world.bus(), settings) as deliveries:
            delivery = await deliveries.receive()
            flaky.fail("settle", *[ConnectionLost("cut")] * 1000)
            with trio.move_on_after(0.0):
                await delivery.ack()
    tried = [it for it in world.recorder.errors if it.scope is Scope.SETTLE]
    given_up = [it for it in world.recorder.errors if it.scope is Scope.RELEASE]
    assert tried[-1].entry_id == entry_id
    assert given_up
    assert (await world.group()).pending == 1
