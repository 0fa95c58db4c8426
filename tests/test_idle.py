"""Who has nothing to do looks seldom, and finds what a dead one leaves as soon as ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, open_world, publish, until
from trio_bus import (
    Delivery,
    EntryId,
    Message,
    OrderingMode,
    Retention,
    SubscriptionConfig,
    open_subscription,
)
from trio_bus._backend import Membership
from trio_bus._redis import RedisBackend
from trio_bus._subscription.reclaimer import LONGEST

HOUR = 3600.0
LEASE = 8.0
TICK = 0.5
SETTINGS = attrs.evolve(config(), claim_idle_timeout=LEASE, reclaim_interval=TICK)
GHOST = Membership(topic="orders", group="billing", consumer="ghost", lease=LEASE, max_attempt=9)


async def ok(_: Delivery) -> None:
    """Handle."""
    await trio.lowlevel.checkpoint()


async def looks_in_an_hour(flaky: FlakyBackend) -> int:
    """Count the looks of one virtual hour."""
    before = flaky.calls["look"]
    await trio.sleep(HOUR)
    return flaky.calls["look"] - before


@pytest.mark.bulk
@pytest.mark.parametrize(("lease", "between"), [(LEASE, LEASE), (60.0, LONGEST)])
async def test_with_nothing_to_do_it_looks_once_a_lease(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, lease: float, between: float
) -> None:
    """Also while an entry waits that is due tomorrow."""

    async def put_off(delivery: Delivery) -> None:
        await delivery.release(delay=86_400)

    settings = attrs.evolve(SETTINGS, claim_idle_timeout=lease)
    async with open_subscription(world.bus(), settings, put_off):
        await trio.sleep(1)
        assert await looks_in_an_hour(flaky) <= HOUR / between + 1
        await publish(world.bus(), 1)
        await trio.sleep(1)
        assert (await world.group()).delayed == 1
        looks = await looks_in_an_hour(flaky)
        assert HOUR / (between + 3 * TICK) - 1 <= looks <= HOUR / between + 1
    assert "take_over" not in flaky.calls


@pytest.mark.bulk
async def test_members_of_a_group_keep_nobody_awake(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Though some of them hold entries all the time, whose leases they renew."""

    async def stick(_: Delivery) -> None:
        await trio.sleep_forever()

    busy = attrs.evolve(SETTINGS, max_in_flight=1, drain_timeout=0.0)
    async with (
        open_subscription(world.bus(), busy, stick),
        open_subscription(world.bus(), busy, stick),
    ):
        await publish(world.bus(), 2)
        async with (
            open_subscription(world.bus(), SETTINGS, ok),
            open_subscription(world.bus(), SETTINGS, ok),
        ):
            await trio.sleep(1)
            assert await looks_in_an_hour(flaky) <= 4 * HOUR / (LEASE / 2)


@pytest.mark.parametrize("wait", [0.0, 0.1, 3.0, 7.9, 8.1, 100.0])
async def test_what_a_dead_one_holds_is_found_when_its_lease_ends(
    autojump_clock: MockClock, world: World, wait: float
) -> None:
    """Whenever it was read, however long nobody has had a reason to look."""
    starts: list[float] = []

    async def note(_: Delivery) -> None:
        starts.append(trio.current_time())

    bus = world.bus()
    async with open_subscription(bus, attrs.evolve(SETTINGS, max_in_flight=1), note) as us:
        await trio.sleep(wait)
        us.pause()
        async with world.backend.join(GHOST) as ghost:
            await publish(bus, 1)
            assert len(await ghost.read(1, 1.0)) == 1
        read = trio.current_time()
        us.resume()
        await until(lambda: bool(starts), patience=100)
    assert LEASE <= starts[0] - read <= LEASE + TICK


async def test_two_that_die_one_after_another_are_both_found(
    autojump_clock: MockClock, world: World
) -> None:
    """What the first one leaves is found by whoever tends the group; so is what he leaves."""
    starts: list[float] = []

    async def note(_: Delivery) -> None:
        starts.append(trio.current_time())

    bus = world.bus()
    await world.backend.create_group("orders", "billing", EntryId(0))
    await publish(bus, 2)
    ends = list[float]()
    for name in ("one", "two"):
        async with world.backend.join(
            attrs.evolve(GHOST, consumer=name, tend_every=TICK / 2)
        ) as ghost:
            await ghost.look()
            assert len(await ghost.read(1, 1.0)) == 1
            ends.append(trio.current_time() + LEASE)
            await ghost.look()
        await trio.sleep(LEASE / 2)
    async with open_subscription(bus, SETTINGS, note):
        await until(lambda: len(starts) == 2, patience=100)
    assert all(0 <= start - end <= TICK + 0.01 for start, end in zip(starts, ends, strict=True)), (
        starts,
        ends,
    )


async def test_on_a_server_too(server_url: str) -> None:
    """A look says how long it is quiet, by what is pending; nobody hears before they listen."""
    lease, waited = 4.0, 3.0
    settings = attrs.evolve(SETTINGS, claim_idle_timeout=lease, reclaim_interval=0.1)
    starts: list[float] = []

    async def note(_: Delivery) -> None:
        starts.append(trio.current_time())

    async with open_world(server_url) as world:
        await world.backend.create_group("orders", "billing", EntryId(0))
        async with world.backend.join(attrs.evolve(GHOST, lease=lease)) as ghost:
            await publish(world.bus(), 1)
            assert len(await ghost.read(1, 1.0)) == 1
            read = trio.current_time()
        await trio.sleep(waited)
        async with open_subscription(world.bus(), settings, note):
            await until(lambda: bool(starts))
    assert lease - 0.1 <= starts[0] - read < waited + lease, "not a lease after it looked first"


async def test_how_long_it_is_quiet(server_url: str) -> None:
    """A lease from now on, or until the lease of what another holds ends; with suspects never."""
    async with open_world(server_url) as world:
        backend = world.backend
        assert isinstance(backend, RedisBackend)
        await backend.create_group("orders", "billing", EntryId(0))
        us, them = attrs.evolve(GHOST, consumer="us"), attrs.evolve(GHOST, consumer="them")
        async with backend.join(us) as me, backend.join(them) as other:
            await until_heard(me.woken)
            assert (await me.look()).quiet_for == pytest.approx(LEASE, abs=0.01)
            await publish(world.bus(), 2)
            asked = trio.current_time()
            await other.read(1, 1.0)
            read = trio.current_time()
            await trio.sleep(0.2)
            await me.read(1, 1.0)
            await trio.sleep(0.2)
            for member in me, other:
                least_gone = trio.current_time() - read
                quiet_for = (await member.look()).quiet_for
                most_gone = trio.current_time() - asked
                assert LEASE - most_gone - 0.01 <= quiet_for <= LEASE - least_gone + 0.01


async def until_heard(woken: Callable[[], Awaitable[float]]) -> None:
    """Wait until whoever has just joined listens: it is woken then."""
    with trio.fail_after(5):
        await woken()


async def test_who_looks_between_two_that_tend_is_told_by_the_last(server_url: str) -> None:
    """Nothing is searched; but what a member with longer leases knows is not believed."""
    patient = attrs.evolve(GHOST, consumer="patient", lease=100.0, tend_every=30.0)
    async with open_world(server_url) as world:
        backend = world.backend
        await backend.create_group("orders", "billing", EntryId(0))
        async with backend.join(patient) as long:
            await until_heard(long.woken)
            began = trio.current_time()
            assert (await long.look()).quiet_for == pytest.approx(100.0, abs=0.01)
            assert (await long.look()).quiet_for == pytest.approx(100.0, abs=0.01)
            async with backend.join(attrs.evolve(patient, consumer="brief", lease=1.0)) as brief:
                await brief.look()
                quiet_for = (await brief.look()).quiet_for
                assert 29.99 - (trio.current_time() - began) <= quiet_for <= 30.0


@pytest.mark.bulk
async def test_a_private_group_is_kept_in_time(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Though its expiry is over as soon as a lease; and what another one leaves is removed."""
    settings = attrs.evolve(
        SubscriptionConfig.fan_out("orders"),
        claim_idle_timeout=LEASE,
        reclaim_interval=TICK,
        fan_out_expiry=LEASE,
    )
    async with open_subscription(world.bus(), settings, ok) as us:
        await world.backend.create_private("orders", "~fan_out~gone", None, 3 * LEASE)
        assert len((await world.backend.info("orders")).groups) == 2
        assert await looks_in_an_hour(flaky) <= 4 * HOUR / LEASE + 1
        await publish(world.bus(), 1)
        await until(lambda: us.statistics().handled == 1)
        assert len((await world.backend.info("orders")).groups) == 1


async def test_a_standby_goes_on_when_the_lease_of_the_active_one_ends(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """It looks then, and about as often as that is renewed until then."""
    settings = attrs.evolve(SETTINGS, ordering_mode=OrderingMode.KEY)
    await world.backend.create_group("orders", "billing", EntryId(0))
    async with world.backend.join(GHOST) as ghost:
        token = await ghost.lead(None)
        async with open_subscription(world.bus(), settings, ok) as us:
            before = flaky.calls["look"]
            for _ in range(30):
                await trio.sleep(LEASE / 3)
                assert await ghost.lead(token) == token
            assert flaky.calls["look"] - before <= 20
            assert not us.statistics().active
            began = trio.current_time()
            await until(lambda: us.statistics().active, patience=100)
            assert trio.current_time() - began <= LEASE + TICK


@pytest.mark.bulk
async def test_a_retention_is_still_looked_after(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Once in ten ticks."""
    settings = attrs.evolve(SETTINGS, retention=Retention(max_age=60.0))
    async with open_subscription(world.bus(), settings, ok) as us:
        await world.bus().publish(Message("orders", b"old"))
        await until(lambda: us.statistics().handled == 1)
        await trio.sleep(60 + 12 * TICK)
        assert us.statistics().trimmed == 1
        looks = await looks_in_an_hour(flaky)
        assert HOUR / (11 * TICK) - 1 <= looks <= HOUR / (10 * TICK) + 1
