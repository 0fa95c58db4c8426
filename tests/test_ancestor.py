"""Faults that the ancestor had and no other test here would notice: see `tests.put_back`."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, config, open_world, publish, until
from tests.redis_world import TOPIC, US, options, until_blocked
from trio_bus import (
    AckMode,
    Delivery,
    EntryId,
    EnvelopeCodec,
    FieldsCodec,
    Message,
    RedisBackend,
    ValidationError,
    open_bus,
    open_subscription,
)
from trio_bus.abc import Codec, Membership

HEADERS: tuple[str, ...] = (
    "attempt",
    "attempts",
    "x-attempt",
    "retry-count",
    "delivery-attempt",
    "trio_bus-attempt",
)


@pytest.fixture
async def real(backend_url: str) -> AsyncIterator[World]:
    """Give streams on the backend of this run."""
    async with open_world(backend_url) as world:
        yield world


async def hold(world: World, name: str, count: int) -> None:
    """Let a consumer take so many entries, and vanish."""
    ghost = Membership(topic="orders", group="billing", consumer=name, lease=0.1, max_attempt=9)
    async with world.backend.join(ghost) as member:
        assert len(await member.read(count, 1.0)) == count


@pytest.mark.guards("more is claimed than can start")
async def test_a_claim_takes_no_more_than_there_are_permits(
    autojump_clock: MockClock, world: World
) -> None:
    """What is left is left for others: released, due, or with whom it was."""
    await world.backend.create_group("orders", "billing", EntryId(0))
    await publish(world.bus(), 12)
    await hold(world, "ghost", 12)
    await trio.sleep(1)
    narrow = attrs.evolve(config(), max_in_flight=3, claim_idle_timeout=0.5)
    async with open_subscription(world.bus(), narrow) as subscription:
        for _ in range(3):
            await subscription.receive()
        await trio.sleep(1)
        assert subscription.statistics().in_flight == 3
        group = await world.group()
        assert (group.pending, group.released) == (3, 9)


@pytest.mark.guards("more is claimed than can start")
async def test_what_a_claim_leaves_can_be_claimed_at_once(real: World) -> None:
    """Its idle time goes on: nobody waits for a lease that somebody else began for nothing."""
    await real.backend.create_group("orders", "billing", EntryId(0))
    await publish(real.bus(), 5)
    await hold(real, "ghost", 5)
    await trio.sleep(0.15)
    one = Membership(topic="orders", group="billing", consumer="one", lease=0.1, max_attempt=9)
    other = attrs.evolve(one, consumer="two")
    async with real.backend.join(one) as first, real.backend.join(other) as second:
        await first.look()
        taken = await first.take_over(1)
        rest = await second.take_over(9)
        assert len(taken.entries) == 1
        assert len(rest.entries) == 4


@pytest.mark.guards("attempts can be forged")
async def test_a_publisher_cannot_set_the_attempt(autojump_clock: MockClock, world: World) -> None:
    """Neither what a handler is told, nor when a message is given up."""
    seen: list[int] = []

    async def failing(delivery: Delivery) -> None:
        seen.append(delivery.state.attempt)
        raise OSError("try again")

    async with open_subscription(world.bus(), config(), failing) as subscription:
        headers = dict.fromkeys(HEADERS, "77")
        await world.bus().publish(Message("orders", b"1", headers=headers))
        await until(lambda: subscription.statistics().rejected == 1)
    assert seen == [1, 2, 3, 4]


@pytest.mark.guards("a delay is a sleep")
async def test_scheduling_takes_no_time(autojump_clock: MockClock, world: World) -> None:
    """Whoever schedules goes on at once, and may end: the message comes all the same."""
    began = trio.current_time()
    await world.bus().schedule(Message("orders", b"1"), delay=3600.0)
    assert trio.current_time() == began
    calm = attrs.evolve(config(), reclaim_interval=300.0)
    async with open_subscription(world.bus(), calm) as subscription:
        await subscription.receive()
    assert trio.current_time() - began == pytest.approx(3600.0, abs=1.0)


@pytest.mark.guards("reads hold up publishes")
async def test_a_read_that_waits_holds_up_nobody(backend: RedisBackend) -> None:
    """It has a connection of its own: others publish, look and settle meanwhile."""
    async with backend.join(US) as us, trio.open_nursery() as nursery:
        nursery.start_soon(us.read, 1, 60.0)
        with trio.fail_after(10):
            await until_blocked(backend)
            (entry_id,) = await backend.append(TOPIC, [((b"n", b"1"),)])
            assert isinstance(entry_id, EntryId)
            assert not (await us.look()).claimable


@pytest.mark.guards("a limit that nobody sees")
@pytest.mark.parametrize("codec", [FieldsCodec(), EnvelopeCodec()], ids=["fields", "envelope"])
async def test_the_largest_payload_is_handled(
    autojump_clock: MockClock, world: World, codec: Codec
) -> None:
    """What may be published can be received, with headers too; one byte more is refused."""
    most = 300_000
    payload = random.Random(7).randbytes(most)  # noqa: S311 - it only must not be compressible
    settings = attrs.evolve(options(), max_payload_bytes=most, codec=codec)
    async with open_bus("memory:", settings) as bus:
        async with open_subscription(bus, config()) as subscription:
            await bus.publish(Message("orders", payload, headers={"tenant": "acme" * 100}))
            assert (await subscription.receive()).message.payload == payload
        with pytest.raises(ValidationError, match="300001 bytes, max_payload_bytes is 300000"):
            await bus.publish(Message("orders", payload + b"."))


@pytest.mark.guards("a batch loses its order")
async def test_a_batch_is_stored_in_the_order_of_the_list(real: World) -> None:
    """Whatever is in it; and so it is received."""
    payloads = [str(number * 7919 % 200).encode() for number in range(200)]
    one_by_one = attrs.evolve(config(), max_in_flight=1)
    async with open_subscription(real.bus(), one_by_one) as subscription:
        outcome = await real.bus().publish_batch([Message("orders", it) for it in payloads])
        ids = [it for it in outcome.results if isinstance(it, EntryId)]
        assert ids == sorted(ids)
        assert len(set(ids)) == 200
        seen: list[bytes] = []
        for _ in payloads:
            async with await subscription.receive() as delivery:
                seen.append(delivery.message.payload)
    assert seen == payloads


@pytest.mark.guards("zeros become defaults")
async def test_a_retry_without_delay_is_due_at_once(
    autojump_clock: MockClock, world: World
) -> None:
    """A delay of zero is one, and not the lack of one."""
    starts: list[float] = []

    async def again(delivery: Delivery) -> None:
        starts.append(trio.current_time())
        if len(starts) == 1:
            await delivery.retry("at once", delay=0)

    slow = attrs.evolve(
        config(),
        retry_backoff=attrs.evolve(config().retry_backoff, first=50.0),
        reclaim_interval=0.1,
    )
    async with open_subscription(world.bus(), slow, again) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1, patience=200.0)
    assert starts[1] - starts[0] < 1.0


@pytest.mark.guards("the flusher waits when idle")
async def test_a_settlement_waits_for_no_company(autojump_clock: MockClock, world: World) -> None:
    """With nothing under way it is sent in the moment in which it is asked for."""
    manual = attrs.evolve(config(), ack_mode=AckMode.MANUAL)
    async with open_subscription(world.bus(), manual) as subscription:
        await publish(world.bus(), 3)
        for _ in range(3):
            delivery = await subscription.receive()
            began = trio.current_time()
            await delivery.ack()
            assert trio.current_time() == began
