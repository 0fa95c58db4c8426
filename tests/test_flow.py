"""How much a subscription takes in, and when: bytes, company, and pauses."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.faults import FlakyBackend
from tests.harness import World, config, numbered, open_world, publish, until
from trio_bus import (
    AckMode,
    Backoff,
    Bus,
    BusOptions,
    Delivery,
    EntryId,
    Message,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus._redis.group import Group
from trio_bus._subscription.permits import Permits
from trio_bus._subscription.valve import Valve
from trio_bus.abc import Membership, Release, Retry, TakeOver


async def ok(_: Delivery) -> None:
    """Handle."""
    await trio.lowlevel.checkpoint()


BIG = b"x" * 1000


async def publish_big(any_world: World, count: int) -> None:
    """Publish so many messages of 1,000 bytes and a little."""
    (await any_world.bus().publish_batch([Message("orders", BIG)] * count)).raise_errors()


async def test_no_more_is_read_while_so_many_bytes_are_held(any_world: World) -> None:
    """One read may go beyond it; then what is held has to end first."""
    settings = attrs.evolve(config(), max_in_flight=3, max_in_flight_bytes=2500)
    most, go_on = 0, trio.Semaphore(0)
    async with open_subscription(any_world.bus(), settings) as deliveries:

        async def handle(delivery: Delivery) -> None:
            nonlocal most
            async with delivery:
                most = max(most, deliveries.statistics().in_flight_bytes)
                await go_on.acquire()

        async with trio.open_nursery() as nursery:
            await publish_big(any_world, 3)
            for _ in range(3):
                nursery.start_soon(handle, await deliveries.receive())
            size = deliveries.statistics().in_flight_bytes // 3
            assert 1000 < size < 1500
            await publish_big(any_world, 9)
            go_on.release()  # two are held, and less than the bound
            for _ in range(9):
                nursery.start_soon(handle, await deliveries.receive())
                assert deliveries.statistics().in_flight_bytes < 2500 + 3 * size
                go_on.release()
            for _ in range(2):
                go_on.release()
        await deliveries.wait_idle()
        assert deliveries.statistics().in_flight_bytes == 0
    assert 2 * size < most < 2500 + 3 * size


async def test_with_enough_bytes_held_nothing_is_read(
    autojump_clock: MockClock, memory: World
) -> None:
    """However many permits are free; what is too large for the bound is handled, by itself."""
    settings = attrs.evolve(config(), max_in_flight=8, max_in_flight_bytes=1)
    async with open_subscription(memory.bus(), settings) as deliveries:
        await publish_big(memory, 1)
        first = await deliveries.receive()
        await publish_big(memory, 4)
        await trio.sleep(10)
        assert deliveries.statistics().received == 1
        await first.ack()
        await deliveries.receive()
        await trio.sleep(10)
        assert deliveries.statistics().received == 5  # one read


async def test_a_claim_gets_its_turn_where_bytes_are_bound(
    autojump_clock: MockClock, memory: World
) -> None:
    """One read or claim is under way at a time, and a read waits as long as nothing comes."""
    settings = attrs.evolve(
        config(), max_in_flight=2, max_in_flight_bytes=10**6, block_timeout=float("inf")
    )
    failed: list[float] = []

    async def handle(_: Delivery) -> None:
        if not failed:
            failed.append(trio.current_time())
            raise ValueError("no good")

    async with open_subscription(memory.bus(), settings, handle) as subscription:
        await publish(memory.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)
        assert trio.current_time() < failed[0] + 0.1


class Watched:
    """A bus in memory that notes when reads were sent and what they brought."""

    def __init__(self) -> None:
        self.backend = FlakyBackend()
        self.bus = Bus(self.backend, BusOptions())

    @property
    def reads(self) -> int:
        """How many there were."""
        return self.backend.calls.get("read", 0)


@pytest.mark.bulk
async def test_a_busy_subscription_reads_batches(autojump_clock: MockClock) -> None:
    """Its handlers end one after the other, and each read brings a quarter of all at least."""
    watched = Watched()
    settings = SubscriptionConfig("orders", "billing", max_in_flight=64)

    async def handle(delivery: Delivery) -> None:
        await trio.sleep(0.001 + 0.0001 * (int(delivery.message.payload) * 7 % 64))

    await publish(watched.bus, 6400)
    async with open_subscription(watched.bus, settings, handle) as subscription:
        await until(lambda: subscription.statistics().handled == 6400)
        assert watched.reads <= 6400 / 16 + 3


async def test_a_free_permit_waits_5_ms_for_company_at_most(autojump_clock: MockClock) -> None:
    """And not at all where nothing that runs ends soon: then one in ten tries to wait."""
    watched, starts = Watched(), list[float]()
    settings = SubscriptionConfig("orders", "billing", max_in_flight=8)
    ended = 0.0
    waits: list[float] = []

    async def handle(delivery: Delivery) -> None:
        nonlocal ended
        starts.append(trio.current_time())
        if len(starts) > 8:
            waits.append(starts[-1] - ended)
        if int(delivery.message.payload) < 7:
            await trio.sleep(1000)
        await trio.sleep(0.001)
        ended = trio.current_time()

    await publish(watched.bus, 40)
    async with open_subscription(watched.bus, settings, handle) as subscription:
        await until(lambda: subscription.statistics().handled == 33)
        await subscription.aclose()
    assert len(waits) == 32
    assert max(waits) == pytest.approx(0.005)
    assert sum(waits) == pytest.approx(0.005 * 3)


async def test_what_comes_to_an_idle_subscription_starts_at_once(
    autojump_clock: MockClock, memory: World
) -> None:
    """Also after it was busy: it waits on the server."""
    starts: list[float] = []

    async def handle(_: Delivery) -> None:
        starts.append(trio.current_time())
        await trio.lowlevel.checkpoint()

    settings = attrs.evolve(config(), max_in_flight=64)
    async with open_subscription(memory.bus(), settings, handle) as subscription:
        for count in (64, 1, 1, 200, 1):
            await publish(memory.bus(), count)
            began = trio.current_time()
            await trio.sleep(1)
            assert starts[-1] == began
    assert subscription.statistics().handled == 267


async def test_a_permit_that_is_refused_is_free_for_company(autojump_clock: MockClock) -> None:
    """Whoever waited for it may find that too many bytes are held by then; it wakes the reader."""
    valve = Valve(10)
    permits = Permits(8, 8, valve)
    assert await permits.take(8) == 8
    permits.give_back(0)  # the read has ended; what it brought has all of them
    async with trio.open_nursery() as nursery:
        nursery.start_soon(permits.take, 1)
        await wait_all_tasks_blocked()
        valve.hold(10)
        company = trio.Event()

        async def wait() -> None:
            assert await permits.wait_company(2, 0.005) == 1
            company.set()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        permits.dropped()
        with trio.fail_after(1):
            await company.wait()
        nursery.cancel_scope.cancel()


# -- pausing ----------------------------------------------------------------------------------


async def test_nothing_starts_while_it_is_paused(any_world: World) -> None:
    """What runs goes on; what comes, new or due, starts when it is resumed."""
    starts: list[bytes] = []
    go_on = trio.Event()

    async def handle(delivery: Delivery) -> None:
        starts.append(delivery.message.payload)
        if starts == [b"0"]:
            await go_on.wait()
            raise ValueError("try again")

    async with open_subscription(any_world.bus(), config(), handle) as subscription:
        await publish(any_world.bus(), 1)
        await until(lambda: starts == [b"0"])
        subscription.pause()
        subscription.pause()
        assert subscription.statistics().paused
        go_on.set()
        await subscription.wait_idle()
        await publish(any_world.bus(), 3)
        await trio.sleep(0.2)
        assert starts == [b"0"]
        subscription.resume()
        subscription.resume()
        assert not subscription.statistics().paused
        await until(lambda: subscription.statistics().handled == 4)
    assert sorted(starts) == [b"0", b"0", b"0", b"1", b"2"]
    for edge in (Transition.PAUSED, Transition.RESUMED):
        assert len(any_world.recorder.ids(edge)) == 1


async def test_a_paused_subscription_leaves_all_to_the_others(any_world: World) -> None:
    """Also what it has received and nobody has begun to handle."""
    settings = attrs.evolve(config(), max_in_flight=4)
    async with open_subscription(any_world.bus(), settings) as paused:
        await publish(any_world.bus(), 8)
        first = await paused.receive()
        await until(lambda: paused.statistics().in_flight == 4)
        paused.pause()
        await until(lambda: paused.statistics().in_flight == 1)
        async with open_subscription(any_world.bus(), settings, ok) as other:
            await until(lambda: other.statistics().handled == 7)
        await first.ack()
        assert paused.statistics().released == 3
        await publish(any_world.bus(), 1)
        paused.resume()
        async with await paused.receive() as delivery:
            assert delivery.state.attempt == 1


async def test_a_handler_that_has_not_started_does_not_start_once_it_is_paused(
    autojump_clock: MockClock, memory: World
) -> None:
    """From when `pause` returns."""
    starts: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        starts.append(delivery.message.payload)
        if len(starts) == 1:
            subscription.pause()
        await trio.lowlevel.checkpoint()

    async with open_subscription(memory.bus(), config(), handle) as subscription:
        await publish(memory.bus(), 10)
        await trio.sleep(5)
        assert len(starts) == 1
        subscription.resume()
        await until(lambda: subscription.statistics().handled == 10)
    assert sorted(starts) == numbered(10)


async def test_a_paused_subscription_can_be_drained_and_left(
    autojump_clock: MockClock, memory: World
) -> None:
    """And it stays what it is then."""
    async with open_subscription(memory.bus(), config(), ok) as subscription:
        subscription.pause()
        await publish(memory.bus(), 1)
        await subscription.drain()
        subscription.resume()
        assert subscription.statistics().paused
    async with open_subscription(memory.bus(), config(), ok) as subscription:
        await until(lambda: subscription.statistics().handled == 1)
        await subscription.drain()
        subscription.pause()
        assert not subscription.statistics().paused


async def test_a_paused_subscription_publishes_what_is_scheduled_and_stays_a_member(
    autojump_clock: MockClock, memory: World
) -> None:
    """It looks as ever, and whoever looks is not idle."""
    bus = memory.bus()
    async with open_subscription(bus, config(), ok) as subscription:
        subscription.pause()
        await bus.schedule(Message("orders", b"later"), delay=300.0)
        await trio.sleep(301)
        assert (await bus.info("orders")).length == 1
        subscription.resume()
        await until(lambda: subscription.statistics().handled == 1)


async def test_what_is_acked_on_arrival_starts_also_when_it_is_paused(
    autojump_clock: MockClock, memory: World
) -> None:
    """Or it would be lost."""
    starts: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        starts.append(delivery.message.payload)
        subscription.pause()
        await trio.lowlevel.checkpoint()

    settings = SubscriptionConfig(
        "orders", "billing", max_in_flight=4, ack_mode=AckMode.AUTO_ON_RECEIVE
    )
    async with open_subscription(memory.bus(), settings, handle) as subscription:
        await publish(memory.bus(), 8)
        await trio.sleep(5)
    assert sorted(starts) == numbered(4)


async def test_a_claim_that_is_under_way_when_it_is_paused_brings_nothing(
    autojump_clock: MockClock,
) -> None:
    """And it is made again when it is resumed."""
    backend = FlakyBackend()
    bus = Bus(backend, BusOptions())
    settings = attrs.evolve(config(), retry_backoff=Backoff(first=0.5, jitter=0.0))
    starts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        starts.append(delivery.state.attempt)
        if len(starts) == 1:
            backend.delay("take_over", 10)
            raise ValueError("try again")

    async with open_subscription(bus, settings, handle) as subscription:
        await publish(bus, 1)
        await until(lambda: backend.calls.get("take_over", 0) == 1)
        subscription.pause()
        await trio.sleep(30)
        assert starts == [1]
        subscription.resume()
        await until(lambda: subscription.statistics().handled == 1, 60)
    assert starts == [1, 2]


async def test_what_a_claim_found_is_told_although_it_was_paused_meanwhile(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer comes with the pause: what it buried is told, and what it took is given back."""
    really, paused = Group.take_over, list[Callable[[], None]]()

    async def take_over(
        group: Group, count: int, suspect: EntryId | None, *, book: bool
    ) -> TakeOver:
        taken = await really(group, count, suspect, book=book)
        for pause in paused:
            pause()
        paused.clear()
        return taken

    monkeypatch.setattr(Group, "take_over", take_over)
    settings, starts = attrs.evolve(config(), max_retry=0), list[bytes]()

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        starts.append(delivery.message.payload)

    async with open_world(server_url) as world:
        await world.backend.create_group("orders", "billing", None)
        await publish(world.bus(), 2)
        us = Membership(topic="orders", group="billing", consumer="us", lease=60.0, max_attempt=9)
        async with world.backend.join(us) as member:
            over, free = await member.read(2, 1.0)
            async with open_subscription(world.bus(), settings, handle) as subscription:
                paused.append(subscription.pause)
                await member.settle([Retry(over.receipt, 0.0), Release(free.receipt)])
                await until(lambda: not paused)
                await until(lambda: subscription.statistics().rejected == 1)
                assert starts == []
                assert world.recorder.ids(Transition.DEAD_LETTERED) == [over.id]
                subscription.resume()
                await until(lambda: subscription.statistics().handled == 1)
        assert starts == [b"1"]
