"""What goes on beside the end of a subscription: others who end it too, late entries, cleanups."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.cutting import Cut, Way, sweep
from tests.end_rows import WAYS
from tests.end_rows import Way as EndWay
from tests.ends import ACKED, FREED, AnySubscription, Conduct, Form, Scene, Times, our_tasks, run
from tests.faults import FlakyBackend
from tests.harness import Recorder, World, config, publish, until
from tests.watched import WatchedBackend, WatchedMember
from trio_bus import (
    AckMode,
    Backoff,
    Bus,
    BusOptions,
    ConnectionLost,
    Delivery,
    MemoryBackend,
    Message,
    PullSubscription,
    RemoteError,
    SubscriptionConfig,
    SubscriptionError,
    Transition,
    WrongType,
    open_subscription,
)
from trio_bus._connect import open_backend
from trio_bus._redis.last_words import see_through
from trio_bus.abc import Bury, Entry, GroupMember, Membership, Settled, Settlement

VIRTUAL = Times(work=2.0, drain=8.0, stubborn=11.0, soon=1.0)
PATIENT = attrs.evolve(config(), drain_timeout=100.0)


def at_most_once() -> SubscriptionConfig:
    """Return settings under which the ack comes first."""
    return attrs.evolve(config(), ack_mode=AckMode.AUTO_ON_RECEIVE, retry_backoff=Backoff())


async def hang(_: Delivery) -> None:
    """Hang."""
    await trio.sleep_forever()


async def held(subscription: AnySubscription, count: int) -> None:
    """Wait until it holds as many."""
    await until(lambda: subscription.statistics().in_flight == count)


@pytest.mark.parametrize("how", ["drain", "aclose"])
async def test_a_task_that_a_handler_started_does_not_wait_for_itself(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    """Its nursery ends with the handler, and the handler with its nursery."""
    returned: list[float] = []

    async def stop() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.drain if how == "drain" else subscription.aclose)
        returned.append(trio.current_time())

    async def handler(_: Delivery) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop)
            await trio.sleep(1)

    began = trio.current_time()
    async with open_subscription(world.bus(), PATIENT, handler) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: bool(returned))
    assert returned == [pytest.approx(began, abs=0.1)]
    assert subscription.statistics().handled == 1


@pytest.mark.parametrize("inside", ["delivery", "block"])
async def test_who_drains_beside_a_delivery_waits_for_it(
    autojump_clock: MockClock, world: World, inside: str
) -> None:
    """A nursery around the loop is none inside the delivery, though one task has both."""
    returned: list[float] = []
    began = trio.current_time()

    async def stop() -> None:
        await trio.sleep(1)
        await deliveries.drain()
        returned.append(trio.current_time() - began)

    async with (
        open_subscription(world.bus(), PATIENT) as deliveries,
        trio.open_nursery() as around,
    ):
        await publish(world.bus(), 1)
        async for delivery in deliveries:
            async with delivery, trio.open_nursery() as within:
                (within if inside == "delivery" else around).start_soon(stop)
                await trio.sleep(5)
    assert returned == [pytest.approx(1 if inside == "delivery" else 5, abs=0.1)]
    assert deliveries.statistics().handled == 1


@pytest.mark.parametrize("how", ["drain", "aclose"])
async def test_what_is_taken_away_is_started_elsewhere_only_when_it_has_ended(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    """Its task takes leases to clean up. It is no attempt, and no lost lease."""
    short = attrs.evolve(config(), claim_idle_timeout=3.0, drain_timeout=1.0)
    ended, starts = list[float](), list[tuple[float, int]]()

    async def other(delivery: Delivery) -> None:
        starts.append((trio.current_time(), delivery.state.attempt))

    async def work(deliveries: PullSubscription) -> None:
        async with await deliveries.receive():
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(8)
                ended.append(trio.current_time())

    async with (
        trio.open_nursery() as nursery,
        open_subscription(world.bus(), short) as deliveries,
    ):
        await publish(world.bus(), 1)
        nursery.start_soon(work, deliveries)
        await trio.sleep(1)
        async with open_subscription(world.bus(), short, other):
            await (deliveries.drain() if how == "drain" else deliveries.aclose())
            await until(lambda: bool(starts))
    assert ended[0] <= starts[0][0]
    assert [attempt for _, attempt in starts] == [1]
    assert deliveries.statistics().lost_leases == 0


@pytest.mark.parametrize("why", ["cancelled", "fatal"])
@pytest.mark.parametrize("form", ["handler", "at most once", "pull"])
async def test_nothing_is_taken_in_while_a_body_cleans_up(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, form: str, why: str
) -> None:
    """Nobody would start it; acked on arrival, it would be lost."""
    settings = at_most_once() if form == "at most once" else config()
    handler = None if form == "pull" else hang

    async def body(cancel: Callable[[], None]) -> None:
        try:
            if why == "cancelled":
                cancel()
            else:
                flaky.fail("look", WrongType("WRONGTYPE x"))
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                await publish(world.bus(), 20)
                await trio.sleep(5)

    with trio.CancelScope() as scope:
        try:
            if handler is None:
                async with open_subscription(world.bus(), settings):
                    await body(scope.cancel)
            else:
                async with open_subscription(world.bus(), settings, handler):
                    await body(scope.cancel)
        except WrongType:
            assert why == "fatal"
    group = await world.group()
    assert (group.lag, group.pending, group.released) == (20, 0, 0)


@attrs.define
class LateMember(WatchedMember):
    """A member whose read cannot be ended any more: its entries are here, and come a bit later."""

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Read, and be late."""
        entries = await self.inner.read(count, timeout)
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return entries


@attrs.define
class LateBackend(WatchedBackend):
    """A backend whose reads are late."""

    @asynccontextmanager
    async def _join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        async with self.inner.join(membership) as member:
            yield LateMember(member, self.faults)


@pytest.mark.parametrize("form", ["handler", "at most once", "pull"])
@pytest.mark.parametrize("how", ["leave", "drain", "cancel"])
async def test_what_a_read_brings_after_the_stop_goes_back(
    autojump_clock: MockClock, form: str, how: str
) -> None:
    """It is neither started nor acked."""
    bus = Bus(LateBackend(MemoryBackend()), BusOptions(observer=Recorder()))
    settings = at_most_once() if form == "at most once" else config()
    started: list[Delivery] = []

    async def handler(delivery: Delivery) -> None:
        started.append(delivery)

    async def body(subscription: AnySubscription, cancel: Callable[[], None]) -> None:
        await publish(bus, 2)
        await trio.sleep(0.5)
        if how == "drain":
            await subscription.drain()
        elif how == "cancel":
            cancel()

    with trio.CancelScope() as scope:
        if form == "pull":
            async with open_subscription(bus, settings) as deliveries:
                await body(deliveries, scope.cancel)
        else:
            async with open_subscription(bus, settings, handler) as subscription:
                await body(subscription, scope.cancel)
    assert not started
    (group,) = (await bus.info("orders")).groups
    assert (group.pending, group.released, group.consumers) == (0, 2, ())


@pytest.mark.parametrize("form", ["handler", "pull"])
@pytest.mark.parametrize("how", ["drain", "aclose"])
async def test_ended_by_several_tasks_of_which_one_is_cancelled_at_any_step(
    autojump_clock: MockClock, how: str, form: str
) -> None:
    """While others drain it and close it, and its block is left: it ends once, and whole."""
    settings = attrs.evolve(config(), drain_timeout=2.0, max_in_flight=3)
    before = our_tasks()

    async def once(cut: Cut) -> None:
        recorder = Recorder()
        bus = Bus(MemoryBackend(), BusOptions(observer=recorder))
        await publish(bus, 3)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            async with _opened(bus, settings, nursery, pull=form == "pull") as subscription:
                await held(subscription, 3)
                nursery.start_soon(subscription.drain)
                nursery.start_soon(subscription.wait_idle)
                nursery.start_soon(cut, getattr(subscription, how))
                await trio.sleep(1)
                nursery.start_soon(subscription.aclose)
                nursery.start_soon(subscription.drain)
            await subscription.aclose()
            await subscription.drain()
        assert trio.current_time() - began < 3
        assert our_tasks() == before
        (group,) = (await bus.info("orders")).groups
        assert (group.pending, group.released, group.consumers) == (0, 3, ())
        life = [it.transition for it in recorder.transitions if it.entry_id is None]
        assert life == [Transition.OPENED, Transition.DRAINING, Transition.CLOSED]

    assert await sweep(once) > len(Way)


@asynccontextmanager
async def _opened(
    bus: Bus, settings: SubscriptionConfig, nursery: trio.Nursery, *, pull: bool
) -> AsyncGenerator[AnySubscription, None]:
    """Open one with three handlers that hang, or with three tasks that do."""
    if not pull:
        async with open_subscription(bus, settings, hang) as subscription:
            yield subscription
        return
    async with open_subscription(bus, settings) as deliveries:
        for _ in range(3):
            nursery.start_soon(_work, deliveries)
        yield deliveries


async def _work(deliveries: PullSubscription) -> None:
    async for delivery in deliveries:
        async with delivery:
            await trio.sleep_forever()


@attrs.define(eq=False, kw_only=True, slots=False)
class TidyScene(Scene):
    """The body holds two deliveries; in its ``finally`` it acks one and publishes."""

    async def all_started(self) -> None:
        """Wait for nobody."""

    def _start_workers(self, nursery: trio.Nursery, deliveries: PullSubscription) -> None:
        """Start none."""

    @asynccontextmanager
    async def block(self) -> AsyncGenerator[AnySubscription, None]:
        """Be subscribed, and tidy up."""
        async with super().block() as deliveries:
            assert isinstance(deliveries, PullSubscription)
            first, _ = await deliveries.receive(), await deliveries.receive()
            await self._until_reserved()
            try:
                yield deliveries
            finally:
                with trio.CancelScope(shield=True):
                    await self.bus.publish(Message("journal", b"body"))
                await first.ack()


@pytest.mark.parametrize(
    "way",
    [way for way in WAYS if Form.PULL_OUTSIDE in way.forms and not way.takes],
    ids=str,
)
def test_the_finally_of_the_body_settles_and_publishes(backend_url: str, way: EndWay) -> None:
    """Whatever ends the block: what it acks is acked, and the rest goes back."""

    async def main() -> None:
        options = BusOptions(observer=Recorder())
        async with (
            open_backend(backend_url, options) as backend,
            trio.open_nursery() as nursery,
        ):
            scene = TidyScene(
                backend=WatchedBackend(backend),
                form=Form.PULL_OUTSIDE,
                conducts=(Conduct.HANGS, Conduct.HANGS),
                times=attrs.evolve(VIRTUAL, soon=0.05),
                nursery=nursery,
            )
            await scene.publish()
            await way.act(scene)
            await scene.check_left([ACKED, FREED, FREED])
            assert (await scene.bus.info("journal")).length == 1
            assert type(scene.error) is (way.error or type(None))

    run(main, virtual=backend_url == "memory:")


async def test_a_delivery_waits_for_the_earliest_that_still_runs(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The second one, which waited, is lost before it began: the third must not begin beside."""
    running, most, ends = 0, 0, 0

    async def stubborn(_: Delivery) -> None:
        nonlocal running, most, ends
        running += 1
        most = max(most, running)
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
        running -= 1
        ends += 1

    short = attrs.evolve(config(), claim_idle_timeout=3.0)
    bus = world.bus()
    async with open_subscription(bus, short, stubborn) as subscription:
        await publish(bus, 1)
        await until(lambda: running == 1)
        flaky.inner.destroy_group("orders", "billing")
        await held(subscription, 2)
        flaky.inner.destroy_group("orders", "billing")
        # Begun behind the entry, the group does not have it: the renewal says so.
        await flaky.inner.create_group("orders", "billing", None)
        await held(subscription, 1)
        assert running == 1
        flaky.inner.destroy_group("orders", "billing")
        await held(subscription, 2)
        await trio.sleep(1)
        assert running == 1
        await until(lambda: ends == 2, patience=60)
    assert most == 1


@attrs.define
class RefusingMember(WatchedMember):
    """A member that takes a second for each call, and is refused what it buries."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle, or refuse."""
        await trio.sleep(1)
        if any(isinstance(it, Bury) for it in settlements):
            return [RemoteError("OOM") for _ in settlements]
        return await self.inner.settle(settlements)


@attrs.define
class RefusingBackend(WatchedBackend):
    """A backend with such members."""

    @asynccontextmanager
    async def _join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        async with self.inner.join(membership) as member:
            yield RefusingMember(member, self.faults)


async def test_one_by_one_refused_settlements_do_not_hold_up_new_ones(
    autojump_clock: MockClock,
) -> None:
    """Ten of them are always due, and there is room for one in a batch."""
    bus = Bus(RefusingBackend(MemoryBackend()), BusOptions(observer=Recorder()))

    async def reject(delivery: Delivery) -> None:
        if subscription.statistics().in_flight <= 10:
            await delivery.reject("bad")

    single = attrs.evolve(config(), ack_batch_size=1, shutdown_timeout=0.0, drain_timeout=0.0)
    with pytest.raises(SubscriptionError):
        async with open_subscription(bus, single, reject) as subscription:
            await publish(bus, 10)
            await trio.sleep(30)
            began = trio.current_time()
            await publish(bus, 1)
            await until(lambda: subscription.statistics().handled == 1)
            assert trio.current_time() - began < 2.5


@pytest.mark.parametrize(
    ("takes", "cancelled_at", "ends_at"), [(3.0, 1.0, 3.0), (9.0, 1.0, 6.0), (3.0, 9.0, 3.0)]
)
async def test_what_is_seen_through_gets_its_seconds_after_a_cancellation(
    autojump_clock: MockClock, takes: float, cancelled_at: float, ends_at: float
) -> None:
    """Its result is returned if it comes in time, cancelled or not."""
    began = trio.current_time()

    async def act() -> str:
        await trio.sleep(takes)
        return "done"

    result = None
    with trio.move_on_after(cancelled_at):
        result = await see_through(act, 5.0)
    assert trio.current_time() - began == pytest.approx(ends_at)
    if ends_at < takes:
        assert result is None
    else:
        end = began + cancelled_at + 5.0 if cancelled_at < takes else float("inf")
        assert result is not None
        assert result == ("done", end)


async def test_what_is_seen_through_fails_as_itself(autojump_clock: MockClock) -> None:
    error = ConnectionLost("away")

    async def act() -> str:
        await trio.sleep(1)
        raise error

    with pytest.raises(ConnectionLost) as caught:
        await see_through(act, 5.0)
    assert caught.value is error


async def test_a_bug_of_a_backend_comes_out_and_keeps_no_block_from_ending(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not expected, so nothing but itself tells of it."""

    async def broken(_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("trio_bus.testing._faulty_backend._FaultyMember.forget", broken)
    with trio.fail_after(5), pytest.raises(ZeroDivisionError):
        async with open_subscription(world.bus(), config(), hang):
            pass
    assert world.recorder.transitions[-1].transition is Transition.CLOSED
