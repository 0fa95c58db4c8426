"""Leases: what one tick renews, how long a handler may take, and what a lost one means."""

from __future__ import annotations

from collections.abc import Collection

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, open_world, publish, until
from tests.redis_world import US, command, receipts
from tests.redis_world import publish as append
from tests.verbs import VERBS
from trio_bus import (
    AckMode,
    ConnectionLost,
    Delivery,
    DeliveryFinalized,
    EntryId,
    HandlerTimeout,
    LeaseLost,
    RedisBackend,
    RemoteError,
    Scope,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus._memory.member import MemoryMember
from trio_bus.abc import Ack, Membership, Receipt, Settled

LEASE = 6.0
SETTINGS = attrs.evolve(config(), claim_idle_timeout=LEASE, reclaim_interval=1.0)
THIEF = Membership(topic="orders", group="billing", consumer="t", lease=0.1, max_attempt=9)
LONG = 300.0


# One call for all


@pytest.mark.bulk
async def test_one_call_per_tick_renews_everything(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs, what waits to be settled, what was left open: three calls per lease, no more."""
    sizes: list[int] = []
    really_renew = MemoryMember.renew

    async def renew(member: MemoryMember, asked: Collection[Receipt]) -> dict[EntryId, Settled]:
        sizes.append(len(asked))
        over = await really_renew(member, asked)
        assert over == {}
        return over

    monkeypatch.setattr(MemoryMember, "renew", renew)
    ready = trio.Event()

    async def handle(delivery: Delivery) -> None:
        await ready.wait()
        number = int(delivery.message.payload)
        if number < 300:
            await delivery.ack()  # refused, again and again
        elif number < 600:
            await trio.sleep_forever()

    wide = attrs.evolve(SETTINGS, ack_mode=AckMode.MANUAL, max_in_flight=1000, drain_timeout=0.0)
    async with open_subscription(world.bus(), wide, handle) as subscription:
        flaky.fail("settle", *[RemoteError("MISCONF")] * 100_000)
        await publish(world.bus(), 1000)
        await until(lambda: subscription.statistics().in_flight == 1000)
        ready.set()
        await until(lambda: subscription.statistics().pending_acks == 300)
        sizes.clear()
        await trio.sleep(10 * LEASE)
        assert set(sizes) == {1000}
        assert 29 <= len(sizes) <= 31
        assert subscription.statistics().lost_leases == 0
        flaky.heal()


async def test_nothing_is_renewed_where_nothing_is_held(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """An idle subscription sends no renewals."""
    async with open_subscription(world.bus(), SETTINGS):
        await trio.sleep(10 * LEASE)
    assert flaky.calls.get("renew", 0) == 0


async def test_a_renewal_of_a_thousand_does_not_hold_up_the_server(backend: RedisBackend) -> None:
    """It goes there in one write, cut in script calls that are short each."""
    await append(backend, 1000)
    async with backend.join(US) as us:
        held = receipts(await us.read(1000, 1))
        assert await us.renew(held[:1]) == {}  # the server knows the script now
        await command(backend, "CONFIG", "RESETSTAT")
        assert await us.renew(held) == {}
        stats = str(await command(backend, "INFO", "commandstats"))
    assert "cmdstat_evalsha:calls=10," in stats
    assert "cmdstat_eval:" not in stats


# Handlers that take longer than the lease


@pytest.mark.bulk
@pytest.mark.any_python
@pytest.mark.parametrize("seconds", [1.0, 5.0, 20.0, 3 * 3600.0])
async def test_a_handler_may_run_for_hours(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, seconds: float
) -> None:
    """Another consumer with free permits looks for abandoned entries all the while."""
    lease = 1.0 if seconds < 60 else 60.0
    starts: list[tuple[int, float]] = []

    async def work(delivery: Delivery) -> None:
        starts.append((delivery.state.attempt, trio.current_time()))
        await trio.sleep(seconds)

    slow = attrs.evolve(SETTINGS, claim_idle_timeout=lease, reclaim_interval=lease / 4)
    other = World("memory:", flaky.inner)
    async with (
        open_subscription(world.bus(), slow, work) as one,
        open_subscription(other.bus(), slow, work) as two,
    ):
        await publish(world.bus(), 3)
        await trio.sleep(seconds)  # to look every few milliseconds would take longer than that
        await until(lambda: one.statistics().handled + two.statistics().handled == 3)
        assert [attempt for attempt, _ in starts] == [1, 1, 1]
        assert one.statistics().lost_leases == two.statistics().lost_leases == 0


@pytest.mark.long
async def test_handlers_of_1_5_and_20_seconds_run_once_with_a_lease_of_1(
    server_url: str,
) -> None:
    """In real time, on a real server, beside a consumer that would take over."""
    durations = {b"0": 1.0, b"1": 5.0, b"2": 20.0}
    runs: list[tuple[bytes, int, float]] = []

    async def work(delivery: Delivery) -> None:
        began = trio.current_time()
        await trio.sleep(durations[delivery.message.payload])
        took = trio.current_time() - began
        runs.append((delivery.message.payload, delivery.state.attempt, took))

    short = attrs.evolve(config(), claim_idle_timeout=1.0, reclaim_interval=0.1)
    async with (
        open_world(server_url) as world,
        open_subscription(world.bus(), short, work) as busy,
    ):
        await publish(world.bus(), 3)
        await until(lambda: busy.statistics().in_flight == 3)
        async with open_subscription(world.bus(), short, work) as idle:
            await until(lambda: busy.statistics().handled == 3, 60)
            assert idle.statistics().handled == 0
        assert [(payload, attempt) for payload, attempt, _ in runs] == [
            (b"0", 1),
            (b"1", 1),
            (b"2", 1),
        ]
        assert world.recorder.ids(Transition.LEASE_LOST) == []
        assert len(world.recorder.ids(Transition.STARTED)) == 3
        assert (await world.group()).pending == 0


# Lost leases


async def steal(flaky: FlakyBackend) -> None:
    """Take over what the subscription has."""
    async with flaky.inner.join(THIEF) as thief:
        await thief.look()
        assert len((await thief.take_over(10)).entries) == 1


async def try_verbs(delivery: Delivery) -> list[str]:
    """Return the verbs that raise `LeaseLost`."""
    raised: list[str] = []
    for name, verb in VERBS.items():
        try:
            await verb(delivery)
        except LeaseLost:
            raised.append(name)
    return raised


HOW = ["told by a renewal", "told by our clock"]


async def lose(world: World, flaky: FlakyBackend, how: str) -> None:
    """Let the lease be lost, and let that be noticed; and no other one."""
    await trio.sleep(0.5)
    if how == "told by a renewal":
        await steal(flaky)
    else:
        flaky.fail("renew", *[ConnectionLost("away")] * 1000)
    await until(lambda: bool(world.recorder.ids(Transition.LEASE_LOST)))
    flaky.heal()


@pytest.mark.parametrize("how", HOW)
async def test_verbs_after_a_lost_lease_raise_in_a_handler(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, how: str
) -> None:
    """Its scope is cancelled; what it does in a shield settles nothing."""
    raised: list[str] = []

    async def work(delivery: Delivery) -> None:
        if delivery.state.attempt > 1 or raised:
            return
        with trio.CancelScope(shield=True):
            await lose(world, flaky, how)
            raised.extend(await try_verbs(delivery))
        await trio.lowlevel.checkpoint()
        raised.append("not cancelled")

    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: len(raised) >= len(VERBS), LONG)
        await trio.sleep(1)
        assert raised == list(VERBS)
        statistics = subscription.statistics()
        assert statistics.lost_leases == 1
        assert (statistics.retried, statistics.rejected) == (0, 0)
    assert len(world.recorder.ids(Transition.LEASE_LOST)) == 1


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("form", ["pull", "left open by a handler"])
async def test_verbs_after_a_lost_lease_raise_on_an_open_delivery(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, form: str, how: str
) -> None:
    """No handler runs with it: it was received, or a handler in MANUAL mode left it open."""
    kept: list[Delivery] = []

    async def keep(delivery: Delivery) -> None:
        kept.append(delivery)

    async def lose_and_try() -> None:
        await lose(world, flaky, how)
        assert repr(kept[0]) == f"<Delivery {kept[0].entry_id} of 'orders': lost>"
        assert await try_verbs(kept[0]) == list(VERBS)

    manual = attrs.evolve(SETTINGS, ack_mode=AckMode.MANUAL)
    await publish(world.bus(), 1)
    if form == "pull":
        async with open_subscription(world.bus(), manual) as deliveries:
            kept.append(await deliveries.receive())
            await lose_and_try()
    else:
        async with open_subscription(world.bus(), manual, keep):
            await until(lambda: bool(kept))
            await lose_and_try()
    assert len(world.recorder.ids(Transition.LEASE_LOST)) == 1


async def test_a_lost_lease_ends_the_block_of_that_delivery_alone(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """In the pull form: the block of another task goes on, and so does what stands around it."""
    told: list[str] = []

    async def hold(delivery: Delivery, name: str) -> None:
        async with delivery:
            await trio.sleep(4 * LEASE)
            told.append(f"{name} finished")
        told.append(f"{name} left")

    async with open_subscription(world.bus(), SETTINGS) as deliveries:
        await publish(world.bus(), 1)
        first = await deliveries.receive()
        await trio.sleep(0.5)
        await steal(flaky)
        await publish(world.bus(), 1)
        second = await deliveries.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, first, "first")
            nursery.start_soon(hold, second, "second")
        assert told == ["first left", "second finished", "second left"]
        assert deliveries.statistics().lost_leases == 1
        await until(lambda: deliveries.statistics().handled == 1)


async def test_a_verb_hears_from_the_server_what_nobody_told_us_before(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Between two renewals another consumer took it over."""
    for name, verb in VERBS.items():
        async with open_subscription(world.bus(), SETTINGS) as deliveries:
            await publish(world.bus(), 1, "orders")
            delivery = await deliveries.receive()
            await trio.sleep(0.3)
            await steal(flaky)
            with pytest.raises(LeaseLost):
                await verb(delivery)
            assert deliveries.statistics().lost_leases == 1, name
        async with flaky.inner.join(THIEF) as thief:
            await thief.settle([Ack(Receipt(delivery.entry_id, 2))])


# Handlers that take longer than their time


IMPATIENT = attrs.evolve(SETTINGS, handler_timeout=2.0, max_retry=1)


@pytest.mark.parametrize("dead_letters", ["retried", "buried"])
async def test_a_handler_that_ignores_its_timeout_for_a_while_has_failed_all_the_same(
    autojump_clock: MockClock, world: World, dead_letters: str
) -> None:
    """For longer than the lease: it stays ours until it has ended, and starts again only then."""
    spans: list[tuple[float, float]] = []

    async def stubborn(_: Delivery) -> None:
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3 * LEASE)
            spans.append((began, trio.current_time()))

    retries = 1 if dead_letters == "retried" else 0
    settings = attrs.evolve(IMPATIENT, max_retry=retries)
    async with (
        open_subscription(world.bus(), settings, stubborn) as subscription,
        open_subscription(world.bus(), settings, stubborn) as other,
    ):
        await publish(world.bus(), 1)
        await trio.sleep((retries + 1) * (2 + 3 * LEASE))
        await until(lambda: subscription.statistics().rejected + other.statistics().rejected == 1)
    assert len(spans) == retries + 1
    assert all(end - began == pytest.approx(2 + 3 * LEASE, abs=0.1) for began, end in spans)
    assert spans == sorted(spans, key=lambda span: span[1])
    assert all(spans[at][1] <= spans[at + 1][0] for at in range(retries))
    assert [type(event.error) for event in world.recorder.errors] == [HandlerTimeout] * len(spans)
    assert world.recorder.ids(Transition.LEASE_LOST) == []


async def test_an_error_of_a_handler_whose_time_is_over_is_its_failure(
    autojump_clock: MockClock, world: World
) -> None:
    """It is told and kept instead of the timeout: it says more."""

    async def clumsy(_: Delivery) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("cannot tidy up")

    settings = attrs.evolve(IMPATIENT, max_retry=0)
    async with open_subscription(world.bus(), settings, clumsy) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
    assert [type(event.error) for event in world.recorder.errors] == [OSError]


async def test_handler_timeout_ends_the_block_around_a_delivery(
    autojump_clock: MockClock, world: World
) -> None:
    """In the pull form it is retried, then dead-lettered; the loop goes on."""
    attempts: list[int] = []
    async with open_subscription(world.bus(), IMPATIENT) as deliveries:
        await publish(world.bus(), 1)
        async for delivery in deliveries:
            began = trio.current_time()
            async with delivery:
                attempts.append(delivery.state.attempt)
                await trio.sleep_forever()
            assert trio.current_time() - began == pytest.approx(2, abs=0.1)
            if len(attempts) == 2:
                break
        await until(lambda: deliveries.statistics().rejected == 1)
        assert deliveries.statistics().retried == 1
    assert attempts == [1, 2]
    assert [type(event.error) for event in world.recorder.errors] == [HandlerTimeout] * 2


async def test_a_manual_delivery_that_was_settled_in_time_does_not_time_out(
    autojump_clock: MockClock, world: World
) -> None:
    """Whether its handler, or somebody else, settled it; later verbs are refused."""
    kept: list[Delivery] = []

    async def keep(delivery: Delivery) -> None:
        kept.append(delivery)

    manual = attrs.evolve(IMPATIENT, ack_mode=AckMode.MANUAL)
    async with open_subscription(world.bus(), manual, keep) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: len(kept) == 2)
        await trio.sleep(1.5)
        await kept[0].ack()
        await trio.sleep(1.0)
        assert subscription.statistics().handled == 1
        assert subscription.statistics().retried == 1
        with pytest.raises(DeliveryFinalized):
            await kept[1].ack()
    assert [type(event.error) for event in world.recorder.errors] == [HandlerTimeout]


async def test_handler_timeout_where_the_ack_came_first(
    autojump_clock: MockClock, world: World
) -> None:
    """In AUTO_ON_RECEIVE it ends the handler and is told; nothing is started again."""
    starts: list[float] = []

    async def hang(_: Delivery) -> None:
        starts.append(trio.current_time())
        await trio.sleep_forever()

    settings = SubscriptionConfig(
        "orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE, handler_timeout=2.0
    )
    async with open_subscription(world.bus(), settings, hang) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: bool(world.recorder.errors))
        assert trio.current_time() - starts[0] == pytest.approx(2, abs=0.1)
        await subscription.wait_idle()
        await trio.sleep(3 * LEASE)
        assert (subscription.statistics().handled, subscription.statistics().retried) == (1, 0)
    assert len(starts) == 1
    assert [(it.scope, type(it.error)) for it in world.recorder.errors] == [
        (Scope.HANDLER, HandlerTimeout)
    ]
    assert (await world.group()).pending == 0


async def test_no_time_at_all_ends_a_handler_at_its_first_checkpoint(
    autojump_clock: MockClock, world: World
) -> None:
    """Zero means zero; a handler that needs no checkpoint succeeds."""
    seen: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        if delivery.message.payload == b"0":
            await trio.lowlevel.checkpoint()
        seen.append(delivery.message.payload)

    hasty = attrs.evolve(IMPATIENT, handler_timeout=0.0, max_retry=0)
    async with open_subscription(world.bus(), hasty, handle) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().in_flight == 0 and bool(seen))
        await until(lambda: subscription.statistics().rejected == 1)
    assert seen == [b"1"]
