"""An outage is not poison: what fails because everything fails is not counted."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder, World, config, open_world, publish, until
from trio_bus import (
    AckMode,
    Backoff,
    Bus,
    BusOptions,
    ConnectionLost,
    Decision,
    Delivery,
    GroupMissing,
    Message,
    SubscriptionConfig,
    SubscriptionStatistics,
    Transition,
    ValidationError,
    open_subscription,
)


@attrs.define
class Database:
    """What handlers need, and whether it is there."""

    down: bool = False
    tried: list[bytes] = attrs.field(factory=list[bytes])
    """What was begun while it was down, in order."""
    seconds: float = 0.01

    async def handle(self, delivery: Delivery) -> None:
        """Write something into it."""
        if self.down:
            self.tried.append(delivery.message.payload)
        await trio.sleep(self.seconds)
        if self.down:
            raise OSError("the database is down")


def guarded(threshold: int = 5) -> SubscriptionConfig:
    """Return settings with a threshold."""
    return attrs.evolve(config(), failure_threshold=threshold, max_retry=3)


def unharmed(figures: SubscriptionStatistics, count: int) -> bool:
    """Say whether all was handled, and nothing given up."""
    return (figures.handled, figures.rejected, figures.outage) == (count, 0, False)


def edges(any_world: World) -> list[Transition]:
    """Return what was told of outages."""
    both = (Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED)
    return [it.transition for it in any_world.recorder.transitions if it.transition in both]


@pytest.mark.bulk
async def test_a_database_that_is_down_for_a_minute_costs_nothing(
    autojump_clock: MockClock, memory: World
) -> None:
    """Nothing is dead-lettered; everything is handled afterwards, soon."""
    database, bus = Database(), memory.bus()
    async with open_subscription(bus, guarded(), database.handle) as subscription:
        await publish(bus, 10)
        await until(lambda: subscription.statistics().handled == 10)
        database.down = True
        for _ in range(60):
            await publish(bus, 5)
            await trio.sleep(1)
        assert subscription.statistics().outage
        database.down = False
        await until(lambda: unharmed(subscription.statistics(), 310))
    assert edges(memory) == [Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED]
    assert (await memory.group()).dead == 0
    assert 15 < len(database.tried) < 60


async def test_a_database_that_is_down_for_a_while_in_real_time_costs_nothing(
    any_world: World,
) -> None:
    """On every backend; an entry may fail twice, and would be dead-lettered otherwise."""
    database, bus = Database(down=True), any_world.bus()
    settings = attrs.evolve(guarded(), max_retry=1)
    async with open_subscription(bus, settings, database.handle) as subscription:
        await publish(bus, 30)
        await until(lambda: subscription.statistics().outage)
        await trio.sleep(2)
        database.down = False
        await until(lambda: unharmed(subscription.statistics(), 30))
    assert edges(any_world) == [Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED]
    group = await any_world.group()
    assert (group.pending, group.released, group.delayed, group.dead) == (0, 0, 0, 0)


@pytest.mark.bulk
@pytest.mark.long
async def test_a_database_that_is_down_for_a_whole_minute_costs_nothing(server_url: str) -> None:
    """In real time: the tries grow as rare as they may, and the leases of what waits run out."""
    settings = attrs.evolve(guarded(), max_retry=1, claim_idle_timeout=10.0)
    async with open_world(server_url) as world:
        database, bus = Database(down=True), world.bus()
        async with open_subscription(bus, settings, database.handle) as subscription:
            await publish(bus, 30)
            await until(lambda: subscription.statistics().outage)
            await trio.sleep(60)
            assert subscription.statistics().outage
            database.down = False
            await until(lambda: unharmed(subscription.statistics(), 30))
        assert edges(world) == [Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED]
        assert len(database.tried) < 100
        group = await world.group()
        assert (group.pending, group.released, group.delayed, group.dead) == (0, 0, 0, 0)


async def test_each_probe_takes_another_entry(autojump_clock: MockClock, memory: World) -> None:
    """First what is new, then what waits for longest; one at a time."""
    database, bus = Database(down=True), memory.bus()
    settings = attrs.evolve(guarded(2), max_in_flight=4)
    async with open_subscription(bus, settings, database.handle) as subscription:
        await publish(bus, 8)
        await until(lambda: subscription.statistics().outage)
        await trio.sleep(60)
        assert subscription.statistics().in_flight <= 1
        new, old = database.tried[4:8], database.tried[8:]
        assert new == [b"4", b"5", b"6", b"7"]
        assert len(old) > 16
        for number in range(len(old) - 8):
            assert len(set(old[number : number + 8])) == 8
        database.down = False
        await until(lambda: unharmed(subscription.statistics(), 8))


async def test_one_poison_message_is_no_outage(autojump_clock: MockClock, memory: World) -> None:
    """It fails again and again, and is one entry; among others that succeed, many are none."""

    async def handle(delivery: Delivery) -> None:
        await trio.sleep(0.001)
        if delivery.message.payload == b"0":
            raise ValueError("poison")

    bus = memory.bus()
    async with open_subscription(bus, guarded(3), handle) as subscription:
        await publish(bus, 1)
        await until(lambda: subscription.statistics().rejected == 1)
        for number in range(2, 12):
            await publish(bus, 3)
            await until(lambda: subscription.statistics().rejected == number)  # noqa: B023 - now
    assert subscription.statistics().handled == 20


async def test_poison_that_is_left_alone_ends_an_outage(
    autojump_clock: MockClock, memory: World
) -> None:
    """Fewer entries than the threshold could not have begun it, and do not keep it alive."""

    async def handle(_: Delivery) -> None:
        await trio.sleep(0.01)
        raise ValueError("poison")

    bus = memory.bus()
    async with open_subscription(bus, guarded(3), handle) as subscription:
        ids = await publish(bus, 3)
        await until(lambda: subscription.statistics().outage)
        memory.delete_entry(ids[2])
        await until(lambda: not subscription.statistics().outage, patience=120)
        await until(lambda: subscription.statistics().rejected == 2)
    assert edges(memory) == [Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED]


async def test_without_a_threshold_failures_count(autojump_clock: MockClock, memory: World) -> None:
    database, bus = Database(down=True), memory.bus()
    async with open_subscription(bus, config(), database.handle) as subscription:
        await publish(bus, 30)
        await until(lambda: subscription.statistics().rejected == 30)
    assert edges(memory) == []


async def test_what_is_rejected_stays_rejected_and_is_no_sign_of_an_outage(
    autojump_clock: MockClock, memory: World
) -> None:
    """By a verb, by the settings, and by a function; also while one lasts."""
    down = True

    async def handle(delivery: Delivery) -> None:
        match delivery.message.payload:
            case b"0":
                await delivery.reject("no good")
            case b"1":
                raise KeyError("no good")
            case b"2":
                raise ValueError("no good")
            case _ if down:
                raise OSError("the database is down")
            case _:
                return

    def decide(error: Exception, _: int) -> Decision | None:
        return Decision.reject() if isinstance(error, ValueError) else None

    settings = attrs.evolve(guarded(3), reject_on=(KeyError,), on_failure=decide, max_in_flight=1)
    bus = memory.bus()
    async with open_subscription(bus, settings, handle) as subscription:
        await publish(bus, 3)
        await until(lambda: subscription.statistics().rejected == 3)
        assert not subscription.statistics().outage
        await publish(bus, 6)
        await until(lambda: subscription.statistics().rejected == 6)
        await until(lambda: subscription.statistics().outage)
        down = False
        await until(lambda: subscription.statistics().handled == 3)
    assert subscription.statistics().rejected == 6


async def test_what_began_before_does_not_end_it_and_is_not_counted_when_it_fails_after(
    autojump_clock: MockClock, memory: World
) -> None:
    """Only what started since then says how things are; what started in it failed of it."""
    ends: dict[bytes, tuple[float, bool]] = {
        b"0": (0.9, False),
        b"1": (1, False),
        b"2": (2, True),
        b"3": (30, False),
    }

    async def handle(delivery: Delivery) -> None:
        seconds, good = ends[delivery.message.payload]
        await trio.sleep(seconds)
        if not good:
            raise OSError("the database is down")

    bus = memory.bus()
    settings = attrs.evolve(guarded(2), max_in_flight=4, max_retry=0)
    async with open_subscription(bus, settings, handle) as subscription:
        await publish(bus, 4)
        await trio.sleep(2.5)
        assert subscription.statistics().handled == 1
        assert subscription.statistics().outage
        assert subscription.statistics().rejected == 1  # the first of two
        ends.update({b"1": (1, True)})
        await until(lambda: subscription.statistics().handled == 2)
        assert not subscription.statistics().outage
        await until(lambda: subscription.statistics().released >= 2, 60)
        ends.update({b"3": (1, True)})
        await until(lambda: unharmed_but_one(subscription.statistics(), 3), 60)


def unharmed_but_one(figures: SubscriptionStatistics, count: int) -> bool:
    """Say whether all others were handled."""
    return (figures.handled, figures.rejected, figures.outage) == (count, 1, False)


async def test_a_delivery_that_is_received_counts_too(
    autojump_clock: MockClock, memory: World
) -> None:
    """In a loop of one's own an ack is a success; what nobody has received is handed back."""
    bus = memory.bus()
    settings = attrs.evolve(guarded(2), max_in_flight=4)
    async with open_subscription(bus, settings) as deliveries:
        await publish(bus, 4)
        for _ in range(2):
            async with await deliveries.receive():
                raise OSError("the database is down")
        assert deliveries.statistics().outage
        await until(lambda: deliveries.statistics().released == 3)
        delivery = await deliveries.receive()
        await delivery.ack()
        assert not deliveries.statistics().outage
        for _ in range(3):
            async with await deliveries.receive():
                pass
        await deliveries.wait_idle()
        assert deliveries.statistics().handled == 4


async def test_a_transaction_is_a_success(autojump_clock: MockClock, memory: World) -> None:
    """It ends a row of failures, and an outage, as an ack does."""
    down = {b"0", b"2"}

    async def handle(delivery: Delivery) -> None:
        if delivery.message.payload in down:
            raise OSError("the database is down")
        async with delivery.transaction() as tx:
            await tx.publish(Message("{orders}.booked", delivery.message.payload))

    settings = attrs.evolve(
        guarded(2),
        topic="{orders}",
        output_topics=("{orders}.booked",),
        max_in_flight=1,
        retry_backoff=Backoff(first=10.0, jitter=0.0),
    )
    bus = memory.bus()
    async with open_subscription(bus, settings, handle) as subscription:
        await publish(bus, 3, "{orders}")
        await until(lambda: subscription.statistics().failed == 2)
        assert (subscription.statistics().handled, edges(memory)) == (1, [])
        await publish(bus, 1, "{orders}")
        await until(lambda: subscription.statistics().outage)
        down.clear()
        await until(lambda: unharmed(subscription.statistics(), 4), 60)
    assert edges(memory) == [Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED]


async def test_whoever_pauses_it_pauses_the_probes(
    autojump_clock: MockClock, memory: World
) -> None:
    """Both reasons have to go."""
    database, bus = Database(down=True), memory.bus()
    async with open_subscription(bus, guarded(2), database.handle) as subscription:
        await publish(bus, 4)
        await until(lambda: subscription.statistics().outage)
        subscription.pause()
        await trio.sleep(1)
        before = len(database.tried)
        await trio.sleep(60)
        assert len(database.tried) == before
        database.down = False
        subscription.resume()
        await until(lambda: unharmed(subscription.statistics(), 4))


async def test_probes_outlive_faults_of_the_server(autojump_clock: MockClock) -> None:
    """They are told; a group that has vanished is made again."""
    backend, heard = FlakyBackend(), Recorder()
    bus, database = Bus(backend, BusOptions(observer=heard)), Database(down=True)
    async with open_subscription(bus, guarded(2), database.handle) as subscription:
        await publish(bus, 4)
        await until(lambda: subscription.statistics().outage)
        await trio.sleep(1)
        backend.fail("read", ConnectionLost("away"), GroupMissing("NOGROUP"))
        await trio.sleep(30)
        database.down = False
        await until(lambda: unharmed(subscription.statistics(), 4))
    assert {type(it.error) for it in heard.errors} == {OSError, ConnectionLost, GroupMissing}


async def test_a_probe_that_waits_for_a_permit_is_let_go_when_the_outage_ends(
    autojump_clock: MockClock, memory: World
) -> None:
    """What runs may take all of them, and end the outage itself."""
    bus = memory.bus()
    settings = attrs.evolve(guarded(2), max_in_flight=2)
    async with open_subscription(bus, settings) as deliveries:
        await publish(bus, 3)
        for _ in range(2):
            async with await deliveries.receive():
                raise OSError("the database is down")
        first = await deliveries.receive()
        assert deliveries.statistics().outage
        await first.ack()
        await until(lambda: not deliveries.statistics().outage)
        second = await deliveries.receive()
        third = await deliveries.receive()
        for delivery in (second, third):
            await delivery.ack()


def test_what_cannot_be_is_refused() -> None:
    """One entry is none; and what was acked on receipt cannot be handed back."""
    with pytest.raises(ValidationError, match="failure_threshold: 1 is not at least 2"):
        SubscriptionConfig("orders", "billing", failure_threshold=1)
    with pytest.raises(ValidationError, match="failure_threshold: 2 has no effect"):
        SubscriptionConfig(
            "orders", "billing", failure_threshold=2, ack_mode=AckMode.AUTO_ON_RECEIVE
        )
    assert (
        SubscriptionConfig("orders", "billing", retry_backoff=Backoff()).failure_threshold is None
    )
