"""What happens when this process stood still for longer than its leases allow; in virtual time.

The clock jumps between the moment where the server did something and the one where we hear of it,
or while a handler blocks the loop: that is what a process sees that was stopped.
"""

# pyright: reportPrivateUsage=false
# A thief that takes over without a checkpoint, so that nothing of ours runs meanwhile.

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, publish, until
from trio_bus import (
    AckMode,
    ConnectionLost,
    Delivery,
    EntryId,
    LeaseLost,
    Scope,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus._memory.custody import Custody, move
from trio_bus.abc import Ack, Membership, Receipt, Settled

LEASE = 6.0
SETTINGS = attrs.evolve(config(), claim_idle_timeout=LEASE, reclaim_interval=1.0)
THIEF = Membership(topic="orders", group="billing", consumer="t", lease=LEASE, max_attempt=9)
LONG = 200.0


@attrs.define
class Stop:
    """A stop of this process, in which another consumer may take over what it had."""

    clock: MockClock
    flaky: FlakyBackend
    seconds: float = 2 * LEASE
    steal: int = 0
    stolen: list[EntryId] = attrs.field(factory=list[EntryId])
    ended: float = 0.0

    def __call__(self) -> None:
        """Stand still."""
        self.clock.jump(self.seconds)
        self.ended = trio.current_time()
        if self.steal:
            server = self.flaky.inner._server
            with server.step() as now_ms:
                # A member that takes over takes all it finds abandoned, now or later; this one not.
                group = Custody(server.store, THIEF).place().group
                taken = {it: group.pending[it].count for it in list(group.pending)[: self.steal]}
                for entry_id, count in taken.items():
                    move(group, entry_id, THIEF.consumer, count + 1, now_ms)
            assert len(taken) == self.steal
            self.stolen += taken

    async def check_untouched(self) -> None:
        """The thief still has all of it, as it was."""
        async with self.flaky.inner.join(THIEF) as thief:
            acks = [Ack(Receipt(entry_id, 2)) for entry_id in self.stolen]
            assert await thief.settle(acks) == [Settled.DONE] * self.steal


@attrs.define
class Work:
    """A handler that remembers what it started, and takes a while."""

    takes: float = 1.0
    starts: list[tuple[bytes, int]] = attrs.field(factory=list[tuple[bytes, int]])
    finished: list[bytes] = attrs.field(factory=list[bytes])

    async def __call__(self, delivery: Delivery) -> None:
        """Remember, and work."""
        self.starts.append((delivery.message.payload, delivery.state.attempt))
        await trio.sleep(self.takes)
        self.finished.append(delivery.message.payload)


@pytest.fixture
def stop(autojump_clock: MockClock, flaky: FlakyBackend) -> Stop:
    """Give a stop of two leases; nobody takes over anything meanwhile."""
    return Stop(autojump_clock, flaky)


# What was on its way to us


async def test_what_was_taken_over_while_its_read_was_on_its_way_is_not_started(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """The answer waited in our socket: the server had given the entry to another consumer."""
    work, stop.steal = Work(), 2
    flaky.when_done("read", stop)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().lost_leases == 2, LONG)
        await trio.sleep(1)
        assert work.starts == []
        assert subscription.statistics().in_flight == 0
        await stop.check_untouched()
        await publish(world.bus(), 1)
        await until(lambda: len(work.finished) == 1)
    assert world.recorder.ids(Transition.LEASE_LOST) == stop.stolen
    assert len(world.recorder.ids(Transition.STARTED)) == 1


async def test_what_nobody_took_over_is_started_when_that_is_known(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """It is renewed first; it need not be given back and read again."""
    work = Work()
    flaky.when_done("read", stop)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().handled == 2, LONG)
        assert flaky.calls["renew"] == 1
        assert subscription.statistics().lost_leases == 0
    assert sorted(work.starts) == [(b"0", 1), (b"1", 1)]


@pytest.mark.parametrize(("part", "waits"), [(0.3, 0.0), (0.55, 0.3), (0.95, 0.3)])
async def test_only_what_is_older_than_half_a_lease_is_renewed_before_it_starts(
    autojump_clock: MockClock, world: World, stop: Stop, part: float, waits: float
) -> None:
    """Else it costs nothing: it waits for no round trip."""
    flaky, since = stop.flaky, list[float]()

    async def handle(_: Delivery) -> None:
        since.append(trio.current_time() - stop.ended)

    async with open_subscription(world.bus(), SETTINGS, handle) as subscription:
        await trio.sleep(LEASE / 3 + 0.05)  # the next renewal is almost a third of a lease away
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)  # and a read begins
        stop.seconds = part * LEASE
        flaky.when_done("read", stop)
        flaky.delay("renew", 0.3)
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 2)
    assert since[1] == pytest.approx(waits, abs=0.1)


async def test_a_read_that_waited_for_long_brings_nothing_old(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """No read waits for as long as that: a quiet topic costs no renewal for each message."""
    starts: list[float] = []

    async def handle(_: Delivery) -> None:
        starts.append(trio.current_time())

    patient = attrs.evolve(SETTINGS, block_timeout=float("inf"))
    async with open_subscription(world.bus(), patient, handle):
        for number in range(10):
            await trio.sleep(0.8 * LEASE)
            published = trio.current_time()
            await publish(world.bus(), 1)
            await until(lambda: len(starts) > number)  # noqa: B023 - it is awaited here
            assert starts[-1] - published < 0.1
    assert flaky.calls.get("renew", 0) == 0


async def test_what_we_took_over_and_heard_of_too_late_is_not_started(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """A claim is like a read: its lease runs from when it was sent."""
    work = Work()
    async with open_subscription(world.bus(), SETTINGS) as first:
        await publish(world.bus(), 1)
        await (await first.receive()).release()
    stop.steal = 1
    flaky.when_done("take_over", stop)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await until(lambda: subscription.statistics().lost_leases == 1, LONG)
        assert work.starts == []
        async with flaky.inner.join(THIEF) as thief:
            assert await thief.settle([Ack(Receipt(stop.stolen[0], 2))]) == [Settled.DONE]


async def test_a_slow_answer_is_no_reason_to_start_nothing(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Each read and each renewal takes more than half a lease: what is still ours goes on."""
    work = Work(takes=0.0)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        for _ in range(100):
            flaky.delay("read", 0.9 * LEASE)
            flaky.delay("renew", 0.6 * LEASE)
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1, LONG)
        assert subscription.statistics().lost_leases == 0
    assert work.starts == [(b"0", 1)]


async def test_at_most_once_stays_at_most_once(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """In AUTO_ON_RECEIVE the ack says whether it is ours."""
    work, stop.steal = Work(), 1
    at_most_once = attrs.evolve(
        SETTINGS,
        ack_mode=AckMode.AUTO_ON_RECEIVE,
        max_retry=SubscriptionConfig("orders", "billing").max_retry,
        retry_backoff=attrs.fields(type(SETTINGS)).retry_backoff.default,
        dead_letter_topic=None,
    )
    flaky.when_done("read", stop)
    async with open_subscription(world.bus(), at_most_once, work) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().handled == 1, LONG)
        await until(lambda: subscription.statistics().in_flight == 0)
        assert subscription.statistics().lost_leases == 1
    assert work.starts == [(b"1", 1)]


async def test_one_that_waits_for_its_renewal_is_given_back_when_we_leave(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """It has not started, and does not any more."""
    work = Work()
    flaky.when_done("read", stop)
    flaky.delay("renew", 3.0)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: flaky.calls.get("renew", 0) == 1, LONG)
        began = trio.current_time()
        await subscription.drain()
        assert trio.current_time() - began < 1
    assert work.starts == []
    assert (await world.group()).released == 1


# What waited in our process


async def test_what_waits_behind_a_handler_that_blocks_the_loop_is_not_started(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """One read brought both. Whichever starts first stands still for two leases."""
    starts: list[bytes] = []
    ends: list[bytes] = []
    stop.steal = 2

    async def block(delivery: Delivery) -> None:
        starts.append(delivery.message.payload)
        if len(starts) == 1:
            stop()
        try:
            await trio.sleep(1)
        finally:
            ends.append(delivery.message.payload)

    bus = world.bus()
    await bus.backend.create_group("orders", "billing", EntryId(0))
    await publish(bus, 2)
    async with open_subscription(bus, SETTINGS, block) as subscription:
        await until(lambda: subscription.statistics().lost_leases == 2, LONG)
        assert starts == ends
        assert len(starts) == 1
        assert trio.current_time() - stop.ended < 0.1  # it was cancelled, not waited for
        await trio.sleep(1)
        assert subscription.statistics().in_flight == 0
        await stop.check_untouched()


async def test_deliveries_that_waited_past_their_lease_are_passed_over(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """Also in the pull form; those that nobody took over come."""
    stop.steal = 2
    async with open_subscription(world.bus(), SETTINGS) as deliveries:
        await publish(world.bus(), 3)
        await until(lambda: deliveries.statistics().in_flight == 3)
        stop()
        delivery = await deliveries.receive()
        assert delivery.message.payload == b"2"
        async with delivery:
            pass
        await until(lambda: deliveries.statistics().handled == 1)
        assert deliveries.statistics().lost_leases == 2
        await stop.check_untouched()


async def test_a_receive_that_is_cancelled_while_it_asks_gives_the_delivery_back(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """It would be stuck with us otherwise: nobody would receive it again."""
    async with open_subscription(world.bus(), SETTINGS) as deliveries:
        await publish(world.bus(), 1)
        await until(lambda: deliveries.statistics().in_flight == 1)
        flaky.delay("renew", 2.0)
        stop()
        with trio.move_on_after(1) as scope:
            await deliveries.receive()
        assert scope.cancelled_caught
        with trio.fail_after(LONG):
            async with await deliveries.receive() as delivery:
                assert delivery.state.attempt == 1


async def test_a_block_around_a_delivery_asks_first(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """It was received before the stop and is entered after it."""
    done: list[str] = []
    stop.steal = 1
    async with open_subscription(world.bus(), SETTINGS) as deliveries:
        await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        stop()
        async with delivery:
            await trio.lowlevel.checkpoint()
            done.append("what only the owner may do")
        assert done == []
        with pytest.raises(LeaseLost):
            await delivery.ack()
        await stop.check_untouched()


async def test_who_settles_a_delivery_ends_the_wait_of_a_block_around_it(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """Another task does, while the block waits for a renewal."""
    async with open_subscription(world.bus(), SETTINGS) as deliveries:
        await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        flaky.delay("renew", 1.0)
        stop()

        async def enter() -> None:
            async with delivery:
                pass

        with trio.fail_after(0.5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(enter)
                await until(lambda: flaky.calls.get("renew", 0) == 1)
                await delivery.ack()
        assert deliveries.statistics().handled == 1


# What was being handled


async def test_handlers_whose_entries_were_taken_over_are_cancelled_at_once(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """They settle nothing; those whose entries are still ours go on."""
    work, stop.steal = Work(takes=20), 2
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 3)
        await until(lambda: len(work.starts) == 3)
        await trio.sleep(0.5)
        stop()
        await until(lambda: subscription.statistics().lost_leases == 2, 1)
        assert trio.current_time() - stop.ended < 0.1
        await stop.check_untouched()
        await until(lambda: subscription.statistics().handled == 1, LONG)
    assert work.finished == [b"2"]
    assert sorted(work.starts) == [(b"0", 1), (b"1", 1), (b"2", 1)]
    assert world.recorder.ids(Transition.LEASE_LOST) == stop.stolen


async def test_nothing_is_looked_for_before_others_could_renew(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """A look takes away leases that have run out, also those of who stood still with us."""
    patient = attrs.evolve(SETTINGS, reclaim_interval=1.0)
    async with open_subscription(world.bus(), patient, Work(takes=20)) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().in_flight == 1)
        stop()
        looks = flaky.calls["look"]
        await trio.sleep(0.99)
        assert flaky.calls["look"] == looks
        assert flaky.calls["renew"] >= 1
        await trio.sleep(0.02)
        assert flaky.calls["look"] == looks + 1


async def test_consumers_that_stood_still_together_take_nothing_from_each_other(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """A suspended machine. Each renews first and claims one tick later: nothing runs twice."""
    one, two = Work(takes=40), Work(takes=40)
    single = attrs.evolve(SETTINGS, max_in_flight=3, reclaim_interval=0.1)
    async with (
        open_subscription(world.bus(), single, one) as first,
        open_subscription(world.bus(), single, two) as second,
    ):
        await publish(world.bus(), 4)
        await until(lambda: len(one.starts) + len(two.starts) == 4)
        for _ in range(5):
            await trio.sleep(0.7)
            stop()
        await until(lambda: first.statistics().handled + second.statistics().handled == 4, LONG)
        assert first.statistics().lost_leases == second.statistics().lost_leases == 0
    assert len(one.starts) + len(two.starts) == 4


async def test_a_claim_waits_a_tick_after_a_gap(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """What another consumer abandoned meanwhile is claimed then, and not before."""
    starts: list[float] = []

    async def handle(_: Delivery) -> None:
        starts.append(trio.current_time())

    bus = world.bus()
    await bus.backend.create_group("orders", "billing", EntryId(0))
    await publish(bus, 1)
    async with flaky.inner.join(THIEF) as thief:
        assert len(await thief.read(1, 0)) == 1
    async with open_subscription(bus, SETTINGS, handle):
        await trio.sleep(0.3)
        stop()
        await until(lambda: bool(starts), LONG)
    assert 1.0 <= starts[0] - stop.ended <= 2.5


async def test_gaps_that_follow_each_other_do_not_keep_us_from_claiming(
    autojump_clock: MockClock, world: World, stop: Stop
) -> None:
    """Handlers that block the loop again and again, and fail: their retries start all the same."""
    stop.seconds = 0.6 * LEASE
    attempts: list[int] = []

    async def block(delivery: Delivery) -> None:
        stop()
        attempts.append(delivery.state.attempt)
        await trio.sleep(0.5)
        raise OSError("again")

    async with (
        open_subscription(world.bus(), SETTINGS, block) as subscription,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(keep_blocking, stop)
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1, LONG)
        nursery.cancel_scope.cancel()
    assert attempts == [1, 2, 3, 4]


async def keep_blocking(stop: Stop) -> None:
    """Block the loop for half a lease, several times in each tick."""
    while True:
        await trio.sleep(0.3)
        stop()


@pytest.mark.parametrize("late", [0.0, 0.5])
async def test_a_renewal_that_was_under_way_is_asked_for_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop, late: float
) -> None:
    """Its answer is as old as the stop, whether it is there at once or not."""
    work = Work(takes=30)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: len(work.starts) == 1)
        flaky.when_done("renew", stop)
        flaky.delay("renew", late)
        await until(lambda: subscription.statistics().handled == 1, LONG)
        assert subscription.statistics().lost_leases == 0
    assert stop.ended > 0
    assert world.recorder.errors == []


async def test_after_a_gap_too_a_lease_ends_while_its_renewal_is_unanswered(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """We ask for a quarter of a lease, and no longer: another consumer may be at work."""
    work = Work(takes=100)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: len(work.starts) == 1)
        flaky.delay("renew", 60)
        stop()
        await until(lambda: subscription.statistics().lost_leases == 1)
        assert trio.current_time() - stop.ended == pytest.approx(LEASE / 4, abs=0.1)
    assert {event.scope for event in world.recorder.errors} == {Scope.RENEW}


async def test_after_a_gap_a_renewal_that_fails_is_tried_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, stop: Stop
) -> None:
    """The connection may have been given up meanwhile."""
    work = Work(takes=30)
    async with open_subscription(world.bus(), SETTINGS, work) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: len(work.starts) == 1)
        flaky.fail("renew", *[ConnectionLost("timed out meanwhile")] * 2)
        stop()
        await until(lambda: subscription.statistics().handled == 1, LONG)
        assert subscription.statistics().lost_leases == 0
