"""``expires_at`` is honoured when an entry would start, wherever it has waited until then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import PATIENCE, Recorder, World, config, until
from trio_bus import (
    AckMode,
    Batch,
    Bus,
    BusOptions,
    ConnectionLost,
    DeadMessage,
    DeathCause,
    Delivery,
    EntryId,
    Message,
    Redriven,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus.testing import Done

pytestmark = pytest.mark.every_server

DEAD = "{orders}.dead"
LIFE = 0.4
LONGER = 2.0  # for what is started before
SINGLE = attrs.evolve(config(), max_in_flight=1)


async def old(world: World, seconds: float = LIFE) -> EntryId:
    """Publish a message that expires so soon."""
    expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    return await world.bus().publish(Message("orders", b"old", expires_at=expires_at))


async def until_expired(world: World, *ids: EntryId) -> None:
    """Wait until exactly these are dead because they have expired."""
    recorder = world.recorder
    await until(lambda: len(recorder.ids(Transition.DEAD_LETTERED)) == len(ids))
    assert recorder.ids(Transition.EXPIRED) == list(ids)
    ends = [it for it in recorder.transitions if it.transition is Transition.DEAD_LETTERED]
    assert [(it.entry_id, it.cause) for it in ends] == [(it, DeathCause.EXPIRED) for it in ids]


class Seen(list[bytes]):
    """A handler that notes what it gets, and may fail at first."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self._fails = fails

    async def __call__(self, delivery: Delivery) -> None:
        """Note it."""
        self.append(delivery.message.payload)
        if self._fails:
            raise ValueError("not now")


async def test_while_it_waits_for_another_attempt(any_world: World) -> None:
    """It is not started again."""
    seen = Seen()

    async def later(delivery: Delivery) -> None:
        await seen(delivery)
        await delivery.retry("not now", delay=LONGER + 0.2)

    async with open_subscription(any_world.bus(), config(), later):
        await until_expired(any_world, await old(any_world, LONGER))
    assert seen == [b"old"]


async def test_while_it_is_paused(any_world: World) -> None:
    """When it goes on, it is over."""
    seen = Seen()
    async with open_subscription(any_world.bus(), config(), seen) as subscription:
        subscription.pause()
        entry_id = await old(any_world)
        await trio.sleep(LIFE + 0.1)
        assert any_world.recorder.ids(Transition.EXPIRED) == []
        subscription.resume()
        await until_expired(any_world, entry_id)
    assert seen == []


async def test_while_it_waits_to_be_received(any_world: World) -> None:
    """In the subscription's own queue."""
    async with open_subscription(any_world.bus(), config()) as deliveries:
        entry_id = await old(any_world)
        await until(lambda: deliveries.statistics().received == 1)
        await trio.sleep(LIFE + 0.1)
        with trio.move_on_after(0.1):
            await deliveries.receive()
        await until_expired(any_world, entry_id)


async def test_while_it_waits_for_a_batch(any_world: World) -> None:
    """It waits for company until it is over: it is not in the batch; and what is empty is none."""
    bus = any_world.bus()
    async with open_subscription(bus, config()) as deliveries:
        first = await old(any_world)
        await bus.publish(Message("orders", b"new"))
        batches = deliveries.batches(max_size=3, max_wait=LIFE + 0.2)
        batch = await anext(batches)
        async with batch:
            assert [it.message.payload for it in batch] == [b"new"]
        second = await old(any_world)
        with trio.move_on_after(2 * LIFE + 0.4):
            await anext(batches)
        await until_expired(any_world, first, second)


async def test_when_a_batch_handler_would_start(any_world: World) -> None:
    """As for one alone."""
    seen: list[bytes] = []

    async def note(batch: Batch) -> None:
        seen.extend(it.message.payload for it in batch)

    entry_id = await old(any_world, -1.0)
    await any_world.bus().publish(Message("orders", b"new"))
    async with open_subscription(any_world.bus(), config(), batch_handler=note):
        await until_expired(any_world, entry_id)
        await until(lambda: seen == [b"new"])


async def test_when_it_was_sent_back(any_world: World) -> None:
    """Its time is over all the same, for the original and for a copy; its history has both."""
    bus, seen = any_world.bus(), Seen(fails=True)
    single = attrs.evolve(config(), max_retry=0)

    async def buried_again() -> DeadMessage:
        async with open_subscription(bus, single, seen) as subscription:
            await until(lambda: subscription.statistics().rejected == 1)
        (letter,) = [it async for it in bus.dead_letters(DEAD)]
        return letter

    entry_id = await old(any_world, LONGER)
    assert (await buried_again()).dead_letter.cause is DeathCause.EXHAUSTED
    await trio.sleep(LONGER)
    outcome = await bus.redrive(DEAD, everything=True)
    assert [it.result for it in outcome.results] == [Redriven.DONE]
    assert (await buried_again()).dead_letter.cause is DeathCause.EXPIRED
    any_world.delete_entry(entry_id)
    outcome = await bus.redrive(DEAD, everything=True)
    assert [it.result for it in outcome.results] == [Redriven.COPIED]
    letter = await buried_again()
    assert letter.dead_letter.cause is DeathCause.EXPIRED
    assert [it.cause for it in letter.history] == [DeathCause.EXHAUSTED, DeathCause.EXPIRED]
    assert seen == [b"old"]


async def test_a_dead_letter_is_handled_whenever_that_is(any_world: World) -> None:
    """That its time was over is why it is there: whoever handles dead letters gets it."""
    bus = any_world.bus()
    entry_id = await old(any_world, -1.0)
    async with open_subscription(bus, config(), Seen()):
        await until_expired(any_world, entry_id)
    async with open_subscription(bus, SubscriptionConfig(DEAD, "undertaker")) as letters:
        with trio.fail_after(PATIENCE):
            async with await letters.receive() as letter:
                assert letter.message.payload == b"old"
                assert letter.dead_letter is not None
                assert letter.dead_letter.cause is DeathCause.EXPIRED
    assert any_world.recorder.ids(Transition.EXPIRED) == [entry_id]


@pytest.fixture
def slow(flaky: FlakyBackend) -> World:
    """Give streams in memory, whose answers a test can delay, in virtual time."""
    return World("memory:", flaky, Recorder())


def bus_of(world: World) -> tuple[Bus, datetime]:
    """Return a bus, and what its clock shows."""
    bus = Bus(world.backend, BusOptions(observer=world.recorder))
    return bus, bus.clock.now()


async def test_while_its_lease_is_in_doubt(
    autojump_clock: MockClock, slow: World, flaky: FlakyBackend
) -> None:
    """It is renewed first, which may take until it is over."""
    bus, now = bus_of(slow)
    leased = attrs.evolve(config(), claim_idle_timeout=10.0)
    seen = Seen()
    flaky.delay("read", 6.0)
    flaky.delay("renew", 3.0)
    async with open_subscription(bus, leased, seen):
        expires_at = now + timedelta(seconds=8)
        entry_id = await bus.publish(Message("orders", b"old", expires_at=expires_at))
        await trio.sleep(20)
        await until_expired(slow, entry_id)
    assert seen == []


@pytest.mark.parametrize("fails", [False, True])
async def test_while_its_ack_is_confirmed(
    autojump_clock: MockClock, slow: World, flaky: FlakyBackend, *, fails: bool
) -> None:
    """With AUTO_ON_RECEIVE: it is done then, and no handler starts."""
    bus, now = bus_of(slow)
    arriving = SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE)
    seen = Seen()
    if fails:
        flaky.fail("settle", ConnectionLost("cut"), done=Done.NOTHING)
    flaky.delay("settle", 3.0)
    async with open_subscription(bus, arriving, seen) as subscription:
        expires_at = now + timedelta(seconds=2)
        entry_id = await bus.publish(Message("orders", b"old", expires_at=expires_at))
        await bus.publish(Message("orders", b"new"))
        await trio.sleep(20)
        assert subscription.statistics().in_flight == 0
        assert subscription.statistics().handled == 2
    assert seen == [b"new"]
    assert slow.recorder.ids(Transition.EXPIRED) == [entry_id]
