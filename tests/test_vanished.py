"""Entries that somebody deletes or trims while they are being handled."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, open_world, publish, until
from tests.redis_world import DEATH, GROUP, THEM, TOPIC, US, command, raw_pending, receipts
from tests.redis_world import publish as append
from tests.servers import command as server_command
from tests.verbs import SETTLING
from trio_bus import (
    AckMode,
    ConnectionLost,
    Delivery,
    EntryId,
    MemoryBackend,
    PullSubscription,
    RedisBackend,
    Subscription,
    Transition,
    open_subscription,
)
from trio_bus._redis.resp import ErrorReply
from trio_bus.abc import Ack, Bury, Membership, Receipt, Release, Retry, Settled, Settlement
from trio_bus.testing import Done

pytestmark = pytest.mark.every_server

THIEF = Membership(topic="orders", group="billing", consumer="t", lease=0.1, max_attempt=9)
SHORT = attrs.evolve(config(), claim_idle_timeout=1.0)


# On servers


async def test_a_renewal_ends_the_wait_for_a_deleted_entry_and_says_so_once(
    backend: RedisBackend,
) -> None:
    """Whether the server keeps what is deleted pending or not; later it is nowhere."""
    deleted, trimmed, kept = await append(backend, 3)
    async with backend.join(US) as us:
        held = receipts(await us.read(3, 1))
        await command(backend, "XDEL", TOPIC, str(deleted))
        await command(backend, "XTRIM", TOPIC, "MAXLEN", 1)
        assert set(await raw_pending(backend)) == {deleted, trimmed, kept}
        assert await us.renew(held) == {deleted: Settled.GONE, trimmed: Settled.GONE}
        assert set(await raw_pending(backend)) == {kept}
        assert await us.renew(held) == {deleted: Settled.ABSENT, trimmed: Settled.ABSENT}


async def test_what_another_consumer_has_is_lost_though_it_was_deleted(
    backend: RedisBackend,
) -> None:
    """Its handler may run there: ours must not go on."""
    (entry_id,) = await append(backend, 1)
    async with backend.join(US) as us, backend.join(attrs.evolve(THEM, lease=0.1)) as them:
        held = receipts(await us.read(1, 1))
        await trio.sleep(0.11)
        await them.look()
        assert len((await them.take_over(1)).entries) == 1
        await command(backend, "XDEL", TOPIC, str(entry_id))
        assert await us.renew(held) == {entry_id: Settled.LOST}
        assert await us.settle([Ack(held[0])]) == [Settled.LOST]


def _bury(receipt: Receipt) -> Bury:
    return Bury(receipt, DEATH)


@pytest.mark.parametrize("make", [Ack, Release, Retry, _bury])
async def test_a_settlement_of_what_is_nowhere_is_absent(
    backend: RedisBackend, make: Callable[[Receipt], Settlement]
) -> None:
    """Nothing happens; and what is in the stream is lost, not absent."""
    entry_id, finished = await append(backend, 2)
    async with backend.join(US) as us:
        held = receipts(await us.read(2, 1))
        await command(backend, "XACK", TOPIC, GROUP, str(entry_id), str(finished))
        await command(backend, "XDEL", TOPIC, str(entry_id))
        answers = [await us.settle([make(receipt)]) for receipt in held]
        assert answers == [[Settled.ABSENT], [Settled.LOST]]
        assert await raw_pending(backend) == {}


async def test_what_is_deleted_with_its_references_is_absent(
    backend: RedisBackend, server_kind: str
) -> None:
    """Redis 8.2 can take an entry out of the pending lists, too."""
    (entry_id,) = await append(backend, 1)
    async with backend.join(US) as us:
        held = receipts(await us.read(1, 1))
        deletion = await command(backend, "XDELEX", TOPIC, "DELREF", "IDS", 1, str(entry_id))
        if server_kind == "redis-8.2":
            assert await us.renew(held) == {entry_id: Settled.ABSENT}
        else:
            assert isinstance(deletion, ErrorReply)  # when it knows this, it is to be tested
            assert await us.renew(held) == {}


# In the life of a subscription


@pytest.fixture
async def everywhere(backend_url: str) -> AsyncGenerator[World]:
    """Give streams in memory, then on each server."""
    async with open_world(backend_url) as world:
        yield world


def delete(world: World, entry_id: EntryId) -> None:
    """Do what an operator would do."""
    backend = world.backend.inner if isinstance(world.backend, FlakyBackend) else world.backend
    if isinstance(backend, MemoryBackend):
        assert backend.delete_entry("orders", entry_id)
    else:
        assert server_command(world.url, f"XDEL orders {entry_id}") == ":1"


async def vanish(world: World, subscription: Subscription | PullSubscription) -> None:
    """Publish one message, let it be received, and delete its entry."""
    (entry_id,) = await publish(world.bus(), 1)
    await until(lambda: subscription.statistics().in_flight == 1)
    delete(world, entry_id)


async def test_the_handler_of_a_deleted_entry_finishes(everywhere: World) -> None:
    """Nobody else can have it. It is told once, as vanished, and not as a lost lease."""
    world = everywhere
    finished: list[float] = []

    async def long(delivery: Delivery) -> None:
        began = trio.current_time()
        await trio.sleep(1.5)
        await delivery.renew()
        finished.append(trio.current_time() - began)

    async with open_subscription(world.bus(), SHORT, long) as subscription:
        await vanish(world, subscription)
        await until(lambda: bool(finished))
        await subscription.wait_idle()
        statistics = subscription.statistics()
    assert (statistics.lost_leases, statistics.handled) == (0, 0)
    assert len(world.recorder.ids(Transition.VANISHED)) == 1
    assert world.recorder.ids(Transition.LEASE_LOST) == []
    assert world.recorder.errors == []
    assert (await world.group()).pending == 0


@pytest.mark.parametrize("verb", SETTLING)
@pytest.mark.parametrize("seen", [True, False])
async def test_verbs_on_a_deleted_entry_raise_nothing(
    autojump_clock: MockClock, world: World, verb: str, *, seen: bool
) -> None:
    """Whether a renewal has seen it before or not, it is told once; an ack is simply done."""
    async with open_subscription(world.bus(), SHORT) as deliveries:
        await vanish(world, deliveries)
        delivery = await deliveries.receive()
        if seen:
            await trio.sleep(3)
        await SETTLING[verb](delivery)
        statistics = deliveries.statistics()
        assert (statistics.in_flight, statistics.lost_leases) == (0, 0)
        acked = verb == "ack" and not seen
        assert statistics.handled == int(acked)
        assert statistics.retried + statistics.rejected + statistics.released == 0
    assert len(world.recorder.ids(Transition.VANISHED)) == int(not acked)


async def test_a_failure_of_the_handler_of_a_deleted_entry_settles_nothing(
    autojump_clock: MockClock, world: World
) -> None:
    """Its error is told all the same."""

    async def fail(_: Delivery) -> None:
        await trio.sleep(2)
        raise ValueError("no")

    async with open_subscription(world.bus(), SHORT, fail) as subscription:
        await vanish(world, subscription)
        await until(lambda: bool(world.recorder.errors))
        await subscription.wait_idle()
    assert len(world.recorder.ids(Transition.VANISHED)) == 1
    assert world.recorder.ids(Transition.RETRIED) == []


async def test_it_is_told_though_the_answer_of_the_renewal_was_lost(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The next one finds it nowhere, and our lease still holds."""
    ended: list[bool] = []

    async def long(_: Delivery) -> None:
        await trio.sleep(3)
        ended.append(True)

    flaky.fail("renew", ConnectionLost("no answer"), done=Done.EVERYTHING)
    async with open_subscription(world.bus(), SHORT, long) as subscription:
        await vanish(world, subscription)
        await until(lambda: bool(ended))
    assert len(world.recorder.ids(Transition.VANISHED)) == 1
    assert subscription.statistics().lost_leases == 0


async def test_what_was_finished_elsewhere_and_trimmed_is_a_lost_lease(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Our lease had run out when we asked: somebody had it, so our handler must not go on."""
    ended: list[float] = []

    async def long(_: Delivery) -> None:
        try:
            await trio.sleep(60)
        finally:
            ended.append(trio.current_time())

    async with open_subscription(world.bus(), SHORT, long) as subscription:
        flaky.fail("renew", *[ConnectionLost("away")] * 1000)
        (entry_id,) = await publish(world.bus(), 1)
        await trio.sleep(0.5)
        async with flaky.inner.join(THIEF) as thief:
            await thief.look()
            (taken,) = (await thief.take_over(1)).entries
            assert await thief.settle([Ack(taken.receipt)]) == [Settled.DONE]
        delete(world, entry_id)
        await until(lambda: bool(ended))
        flaky.heal()
        await subscription.wait_idle()
    assert world.recorder.ids(Transition.LEASE_LOST) == [entry_id]
    assert world.recorder.ids(Transition.VANISHED) == []


async def test_a_delivery_left_open_whose_entry_was_deleted_can_be_settled(
    autojump_clock: MockClock, world: World
) -> None:
    """In MANUAL mode it keeps its permit until then."""
    kept: list[Delivery] = []

    async def keep(delivery: Delivery) -> None:
        kept.append(delivery)

    manual = attrs.evolve(SHORT, ack_mode=AckMode.MANUAL)
    async with open_subscription(world.bus(), manual, keep) as subscription:
        await vanish(world, subscription)
        await trio.sleep(5)
        assert subscription.statistics().in_flight == 1
        await kept[0].ack()
        assert subscription.statistics().in_flight == 0
    assert len(world.recorder.ids(Transition.VANISHED)) == 1
