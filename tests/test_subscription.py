"""The runtime, on every backend: memory, Valkey from the wheel, a redis-server on PATH."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest
import trio

from tests.harness import World, config, numbered, open_world, publish, until
from trio_bus import (
    AckMode,
    Backoff,
    DeathCause,
    Delivery,
    DeliveryFinalized,
    EntryId,
    Message,
    StartPosition,
    SubscriptionConfig,
    Transition,
    ValidationError,
    open_subscription,
    run_subscription,
)
from trio_bus.abc import Membership

pytestmark = pytest.mark.every_server


@pytest.fixture
async def world(backend_url: str) -> AsyncIterator[World]:
    """Give streams on the backend of this run."""
    async with open_world(backend_url) as world:
        yield world


@attrs.define
class Tally:
    """A handler that counts what it sees."""

    seen: list[bytes] = attrs.field(factory=list[bytes])
    attempts: list[int] = attrs.field(factory=list[int])

    async def __call__(self, delivery: Delivery) -> None:
        """Count."""
        self.seen.append(delivery.message.payload)
        self.attempts.append(delivery.state.attempt)


async def test_a_handler_sees_every_message_once_and_nothing_stays_pending(world: World) -> None:
    """The main job."""
    bus, tally = world.bus(), Tally()
    async with open_subscription(bus, config(), tally) as subscription:
        await publish(bus, 300)
        await until(lambda: subscription.statistics().handled == 300)
        assert subscription.statistics().in_flight == 0
    assert sorted(tally.seen, key=int) == numbered(300)
    group = await world.group()
    assert (group.pending, group.released, group.delayed, group.dead) == (0, 0, 0, 0)
    assert group.consumers == ()


async def test_every_group_handles_every_message(world: World) -> None:
    """Groups are independent, and a new one starts with the oldest entry."""
    bus, first, second = world.bus(), Tally(), Tally()
    await publish(bus, 20)
    async with (
        open_subscription(bus, config(group="billing"), first) as one,
        open_subscription(bus, config(group="audit"), second) as two,
    ):
        await until(lambda: one.statistics().handled == two.statistics().handled == 20)
    assert sorted(first.seen, key=int) == sorted(second.seen, key=int) == numbered(20)


async def test_consumers_of_one_group_share_the_work(world: World) -> None:
    """Each entry is started by one of them."""
    bus, first, second = world.bus(), Tally(), Tally()
    small = attrs.evolve(config(), max_in_flight=2)

    async def slow(tally: Tally, delivery: Delivery) -> None:
        await tally(delivery)
        await trio.sleep(0.002)

    async with (
        open_subscription(bus, small, lambda delivery: slow(first, delivery)) as one,
        open_subscription(world.bus(), small, lambda delivery: slow(second, delivery)) as two,
    ):
        await publish(bus, 100)
        await until(lambda: one.statistics().handled + two.statistics().handled == 100)
    assert Counter(first.seen + second.seen) == Counter(numbered(100))
    assert first.seen
    assert second.seen


async def test_no_more_handlers_run_than_max_in_flight(world: World) -> None:
    """Permits are taken before reading."""
    bus = world.bus()
    running, most = 0, 0

    async def handler(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.005)
        running -= 1

    async with open_subscription(bus, attrs.evolve(config(), max_in_flight=3), handler) as s:
        await publish(bus, 30)
        await until(lambda: s.statistics().handled == 30)
    assert most == 3


@pytest.mark.guards("a retry publishes again", "handler errors vanish")
@pytest.mark.guards("an ack comes before its handler")
async def test_a_failed_entry_is_retried_in_place_and_only_in_its_group(world: World) -> None:
    """The attempt is the server's count; other groups never see the retry."""
    bus, other = world.bus(), Tally()
    attempts: list[int] = []

    async def flaky(delivery: Delivery) -> None:
        attempts.append(delivery.state.attempt)
        assert delivery.state.redelivered is (delivery.state.attempt > 1)
        if delivery.state.attempt < 3:
            raise OSError("try again")

    async with (
        open_subscription(bus, config(), flaky) as subscription,
        open_subscription(bus, config(group="other"), other),
    ):
        await publish(bus, 1)
        await until(lambda: subscription.statistics().handled == 1)
    assert attempts == [1, 2, 3]
    assert other.attempts == [1]
    assert [type(event.error) for event in world.recorder.errors] == [OSError, OSError]
    info = await world.backend.info("orders")
    assert info.length == 1, "a retry does not publish again"


async def test_an_exhausted_entry_goes_to_the_dead_letter_topic_with_its_story(
    world: World,
) -> None:
    """`max_retry + 1` starts, then one dead letter with the original message inside."""
    bus, attempts = world.bus(), Counter[bytes]()
    original = Message("orders", b"\x00poison\xff", key="k", headers={"tenant": "acme"})

    async def poisoned(delivery: Delivery) -> None:
        attempts[delivery.message.payload] += 1
        raise KeyError("no such customer")

    patient = attrs.evolve(config(), max_retry=2)
    async with open_subscription(bus, patient, poisoned) as subscription:
        entry_id = await bus.publish(original)
        await until(lambda: subscription.statistics().rejected == 1)
    assert attempts == {original.payload: 3}
    async with open_subscription(bus, SubscriptionConfig("{orders}.dead", "desk")) as dead:
        delivery = await dead.receive()
        assert delivery.message == original
        letter = delivery.dead_letter
        assert letter is not None
        assert (letter.topic, letter.group, letter.entry_id) == ("orders", "billing", entry_id)
        assert (letter.attempts, letter.cause) == (3, DeathCause.EXHAUSTED)
        assert (letter.error_type, letter.error_text) == ("KeyError", "'no such customer'")
        assert letter.first_received == entry_id.time
        await delivery.ack()
    assert (await world.group()).pending == 0


async def test_without_a_dead_letter_topic_the_dead_stay_in_their_group(world: World) -> None:
    """Nothing is lost: the entry is parked, and never started again."""
    bus, tally = world.bus(), Tally()

    async def rejecting(delivery: Delivery) -> None:
        await tally(delivery)
        await delivery.reject("not ours")

    keep = attrs.evolve(config(), dead_letter_topic=None)
    async with open_subscription(bus, keep, rejecting) as subscription:
        await publish(bus, 2)
        await until(lambda: subscription.statistics().rejected == 2)
        await trio.sleep(0.1)
    assert sorted(tally.seen) == numbered(2)
    group = await world.group()
    assert (group.dead, group.pending) == (2, 0)


async def test_reject_on_and_retry_on_decide_by_type(world: World) -> None:
    """`reject_on` wins; what `retry_on` does not name is rejected too; leaves of groups count."""
    bus, attempts = world.bus(), Counter[bytes]()
    errors: dict[bytes, Exception] = {
        b"0": ValueError("rejected by reject_on"),
        b"1": OSError("retried"),
        b"2": LookupError("not worth a retry"),
        b"3": ExceptionGroup("mixed", [OSError(), ValueError("a leaf in reject_on")]),
    }

    async def failing(delivery: Delivery) -> None:
        attempts[delivery.message.payload] += 1
        raise errors[delivery.message.payload]

    policy = attrs.evolve(
        config(), retry_on=(OSError, ValueError), reject_on=ValueError, max_retry=1
    )
    async with open_subscription(bus, policy, failing) as subscription:
        await publish(bus, 4)
        await until(lambda: subscription.statistics().rejected == 4)
    assert attempts == {b"0": 1, b"1": 2, b"2": 1, b"3": 1}


async def test_a_retry_waits_for_its_delay(world: World) -> None:
    """An explicit delay is kept; the entry counts as delayed meanwhile."""
    bus = world.bus()
    starts: list[float] = []

    async def handler(delivery: Delivery) -> None:
        starts.append(trio.current_time())
        if len(starts) == 1:
            await delivery.retry("later", delay=0.3)

    async with open_subscription(bus, config(), handler) as subscription:
        await publish(bus, 1)
        await until(lambda: subscription.statistics().retried == 1)
        assert (await world.group()).delayed == 1
        await until(lambda: subscription.statistics().handled == 1)
    assert starts[1] - starts[0] >= 0.3


@pytest.mark.guards("a release counts")
async def test_a_release_is_not_counted(world: World) -> None:
    """Handing back is not failing."""
    bus, attempts = world.bus(), list[int]()

    async def handler(delivery: Delivery) -> None:
        attempts.append(delivery.state.attempt)
        if len(attempts) < 4:
            await delivery.release()

    async with open_subscription(bus, attrs.evolve(config(), max_retry=0), handler) as s:
        await publish(bus, 1)
        await until(lambda: s.statistics().handled == 1)
    assert attempts == [1, 1, 1, 1]


@pytest.mark.guards("a crash does not count")
async def test_entries_of_a_dead_consumer_are_taken_over(world: World) -> None:
    """A consumer that vanishes without a word loses its lease; the attempt counts."""
    bus, tally = world.bus(), Tally()
    await world.backend.create_group("orders", "billing", EntryId(0, 0))
    await publish(bus, 5)
    ghost = Membership(topic="orders", group="billing", consumer="ghost", lease=9.0, max_attempt=4)
    async with world.backend.join(ghost) as member:
        assert len(await member.read(5, 1.0)) == 5
    short = attrs.evolve(config(), claim_idle_timeout=1.0)
    async with open_subscription(bus, short, tally) as subscription:
        await until(lambda: subscription.statistics().handled == 5)
    assert sorted(tally.seen) == numbered(5)
    assert tally.attempts == [2] * 5


@pytest.mark.guards("consumers are never removed")
async def test_a_dead_consumer_that_owns_nothing_is_removed(world: World) -> None:
    """The group does not collect the names of the dead."""
    bus, tally = world.bus(), Tally()
    await world.backend.create_group("orders", "billing", EntryId(0, 0))
    await publish(bus, 1)
    ghost = Membership(topic="orders", group="billing", consumer="ghost", lease=9.0, max_attempt=4)
    async with world.backend.join(ghost) as member:
        await member.read(1, 1.0)
    short = attrs.evolve(config(), claim_idle_timeout=0.1)
    names = {"ghost"}
    async with open_subscription(bus, short, tally) as subscription:
        with trio.fail_after(10):
            while "ghost" in names:
                await publish(bus, 1)
                await trio.sleep(0.05)
                names = {consumer.name for consumer in (await world.group()).consumers}
        assert names == {subscription.name}


@pytest.mark.guards("a crash does not count")
async def test_a_message_that_kills_its_process_is_dead_lettered(world: World) -> None:
    """Starts without an end count; over the limit it is buried instead of being started."""
    bus, tally = world.bus(), Tally()
    await world.backend.create_group("orders", "billing", EntryId(0, 0))
    await publish(bus, 1)
    for number in range(2):
        ghost = Membership(
            topic="orders", group="billing", consumer=f"g{number}", lease=0.1, max_attempt=9
        )
        async with world.backend.join(ghost) as member:
            await member.look()
            taken = await member.read(1, 0.05) or (await member.take_over(1)).entries
            assert len(taken) == 1
        await trio.sleep(0.15)
    brief = attrs.evolve(config(), claim_idle_timeout=0.1, max_retry=1)
    async with open_subscription(bus, brief, tally) as subscription:
        await until(lambda: subscription.statistics().rejected == 1)
    assert tally.seen == []
    async with open_subscription(bus, SubscriptionConfig("{orders}.dead", "desk")) as dead:
        letter = (await dead.receive()).dead_letter
        assert letter is not None
        assert (letter.attempts, letter.cause) == (2, DeathCause.EXHAUSTED)


@pytest.mark.guards("a long handler runs twice")
async def test_a_handler_longer_than_its_lease_runs_once(world: World) -> None:
    """Leases are renewed while a handler runs."""
    bus, tally = world.bus(), Tally()

    async def long(delivery: Delivery) -> None:
        await tally(delivery)
        await trio.sleep(3.5)

    short = attrs.evolve(config(), claim_idle_timeout=1.5)
    async with (
        open_subscription(bus, short, long) as one,
        open_subscription(world.bus(), short, long) as two,
    ):
        await publish(bus, 2)
        await until(lambda: one.statistics().handled + two.statistics().handled == 2)
    assert sorted(tally.seen) == numbered(2)
    assert tally.attempts == [1, 1]


@pytest.mark.guards("consumers are never removed", "close hands nothing back")
async def test_leaving_hands_back_what_was_not_finished(world: World) -> None:
    """Released entries are uncounted and claimable at once, long before the lease is over."""
    bus, tally = world.bus(), Tally()

    async def stuck(delivery: Delivery) -> None:
        await trio.sleep_forever()

    hasty = attrs.evolve(config(), drain_timeout=0.0, max_in_flight=4)
    async with open_subscription(bus, hasty, stuck) as first:
        await publish(bus, 10)
        await until(lambda: first.statistics().in_flight == 4)
    group = await world.group()
    assert (group.pending, group.released) == (0, 4)
    assert group.consumers == ()
    async with open_subscription(bus, config(), tally) as second:
        await until(lambda: second.statistics().handled == 10)
    assert sorted(tally.seen, key=int) == numbered(10)
    assert set(tally.attempts) == {1}


async def test_released_entries_reach_a_consumer_whose_last_permit_is_in_a_read(
    world: World,
) -> None:
    """With one permit, a blocked read would starve claims; the claim ends the read instead."""
    bus, tally = world.bus(), Tally()
    single = attrs.evolve(config(), max_in_flight=1, block_timeout=60.0)
    async with open_subscription(world.bus(), single) as other:
        await publish(bus, 1)
        await other.receive()
        async with open_subscription(bus, single, tally) as subscription:
            await trio.sleep(0.1)  # so that its read is blocked
            await other.aclose()
            await until(lambda: subscription.statistics().handled == 1)
    assert tally.seen == numbered(1)


async def test_pull_acks_on_success_retries_on_error_and_goes_on(world: World) -> None:
    """`async with delivery` suppresses what it has dealt with."""
    bus, attempts = world.bus(), list[tuple[bytes, int]]()
    async with open_subscription(bus, config()) as deliveries:
        await publish(bus, 3)
        async for delivery in deliveries:
            async with delivery:
                attempts.append((delivery.message.payload, delivery.state.attempt))
                if delivery.message.payload == b"1" and delivery.state.attempt == 1:
                    raise ValueError("once")
            if len(attempts) == 4:
                break
    assert sorted(attempts) == [(b"0", 1), (b"1", 1), (b"1", 2), (b"2", 1)]
    group = await world.group()
    assert (group.pending, group.released, group.delayed) == (0, 0, 0)


async def test_pull_releases_what_the_body_still_holds(world: World) -> None:
    """Neither received nor buffered entries wait for the lease."""
    bus = world.bus()
    async with open_subscription(bus, config()) as deliveries:
        await publish(bus, 5)
        held = [await deliveries.receive() for _ in range(2)]
    group = await world.group()
    assert (group.pending, group.released) == (0, 5)
    assert [delivery.state.attempt for delivery in held] == [1, 1]


async def test_each_verb_returns_when_the_server_has_it(world: World) -> None:
    """Ack, retry, reject and release, and what the group holds after each."""
    bus = world.bus()
    slow = attrs.evolve(config(), reclaim_interval=60.0)
    async with open_subscription(bus, slow) as deliveries:
        await publish(bus, 4)
        first, second, third, fourth = [await deliveries.receive() for _ in range(4)]
        assert (await world.group()).pending == 4
        await first.ack()
        assert (await world.group()).pending == 3
        await second.retry("later", delay=50)
        assert ((await world.group()).pending, (await world.group()).delayed) == (2, 1)
        await third.reject(ValueError("bad"))
        assert (await world.group()).pending == 1
        await fourth.renew()
        await fourth.release()
        group = await world.group()
        # Released it may be ours again at once: there is nobody else.
        assert (group.pending + group.released, group.delayed) == (1, 1)
        for delivery in (first, second, third, fourth):
            with pytest.raises(DeliveryFinalized):
                await delivery.ack()
    assert (await world.backend.info("{orders}.dead")).length == 1


async def test_manual_mode_leaves_the_settling_to_the_handler(world: World) -> None:
    """A delivery left open keeps its permit until it is settled; the observer hears of it."""
    bus, kept = world.bus(), list[Delivery]()

    async def keep(delivery: Delivery) -> None:
        kept.append(delivery)

    manual = attrs.evolve(config(), ack_mode=AckMode.MANUAL, max_in_flight=2)
    async with open_subscription(bus, manual, keep) as subscription:
        await publish(bus, 3)
        await until(lambda: len(kept) == 2)
        await trio.sleep(0.1)
        assert len(kept) == 2, "both permits are kept"
        await kept[0].ack()
        await until(lambda: len(kept) == 3)
        assert subscription.statistics().handled == 1
    assert len(world.recorder.ids(Transition.UNSETTLED)) == 3
    group = await world.group()
    assert (group.pending, group.released) == (0, 2)


async def test_auto_on_receive_is_at_most_once(world: World) -> None:
    """The ack is confirmed before the handler starts; a failure is only observed."""
    bus, pending = world.bus(), list[int]()

    async def failing(delivery: Delivery) -> None:
        pending.append((await world.group()).pending)
        with pytest.raises(DeliveryFinalized):
            await delivery.retry("too late")
        raise ValueError("nobody retries this")

    once = SubscriptionConfig(
        "orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE, max_in_flight=1
    )
    async with open_subscription(bus, once, failing) as subscription:
        await publish(bus, 3)
        await until(lambda: len(world.recorder.errors) == 3)
        assert subscription.statistics().handled == 3
    assert pending == [0, 0, 0]
    assert (await world.group()).pending == 0


@pytest.mark.guards("undecodable bytes are lost")
async def test_undecodable_entries_go_to_the_dead_letter_topic_with_their_bytes(
    world: World,
) -> None:
    """No handler sees them, and they hold nobody up."""
    bus, tally = world.bus(), Tally()
    record = ((b"who", b"knows"), (b"\xff", b"\x00"))
    async with open_subscription(bus, config(), tally) as subscription:
        await world.backend.append("orders", [record])
        await publish(bus, 1)
        await until(lambda: subscription.statistics().handled == 1)
        await until(lambda: subscription.statistics().rejected == 1)
    assert tally.seen == [b"0"]
    buried = await first_record(world, "{orders}.dead")
    assert buried[:2] == record
    assert dict(buried)[b"dead-letter-cause"] == b"undecodable"
    assert [event.scope.value for event in world.recorder.errors] == ["decode"]


async def test_oversized_entries_go_to_the_dead_letter_topic(world: World) -> None:
    """The limit of the receiver counts, whatever the publisher's was."""
    tally = Tally()
    small = world.bus(max_payload_bytes=100)
    with pytest.raises(ValidationError, match=r"payload: 101 bytes.*100"):
        await small.publish(Message("orders", bytes(101)))
    async with open_subscription(small, config(), tally) as subscription:
        await world.bus().publish(Message("orders", bytes(101)))
        await world.bus().publish(Message("orders", bytes(200_000)))
        await small.publish(Message("orders", bytes(100)))
        await until(lambda: subscription.statistics().handled == 1)
        await until(lambda: subscription.statistics().rejected == 2)
    assert tally.seen == [bytes(100)]
    assert dict(await first_record(world, "{orders}.dead"))[b"dead-letter-cause"] == b"oversized"


@pytest.mark.parametrize("dead_letter_topic", ["{orders}.dead", None])
async def test_expired_messages_are_not_started(
    world: World, dead_letter_topic: str | None
) -> None:
    """They are dead-lettered, or acked and reported where there is no such topic."""
    bus, tally = world.bus(), Tally()
    past, future = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    settings = attrs.evolve(config(), dead_letter_topic=dead_letter_topic)
    async with open_subscription(bus, settings, tally) as subscription:
        expired = await bus.publish(Message("orders", b"old", expires_at=past))
        await bus.publish(Message("orders", b"new", expires_at=future))
        await until(lambda: subscription.statistics().in_flight == 0 and bool(tally.seen))
    assert tally.seen == [b"new"]
    assert world.recorder.ids(Transition.EXPIRED) == [expired]
    dead = await world.backend.info("{orders}.dead")
    assert dead.length == (0 if dead_letter_topic is None else 1)
    if dead.length:
        record = await first_record(world, "{orders}.dead")
        assert dict(record)[b"dead-letter-cause"] == b"expired"
    assert (await world.group()).pending == 0


async def test_a_message_that_expires_while_it_waits_for_its_receiver_is_passed_over(
    world: World,
) -> None:
    """The time counts when it would start, not when it was read."""
    bus = world.bus()
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    async with open_subscription(bus, config()) as deliveries:
        await bus.publish(Message("orders", b"old", expires_at=soon))
        await until(lambda: deliveries.statistics().received == 1)
        await trio.sleep(0.6)
        await bus.publish(Message("orders", b"new"))
        assert (await deliveries.receive()).message.payload == b"new"


async def first_record(world: World, topic: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the first record of a topic, as the backend sees it."""
    await world.backend.create_group(topic, "raw", EntryId(0, 0))
    raw = Membership(topic=topic, group="raw", consumer="raw", lease=9.0, max_attempt=4)
    async with world.backend.join(raw) as member:
        (entry,) = await member.read(1, 5.0)
    return entry.record


async def test_start_says_where_a_new_group_begins(world: World) -> None:
    """OLDEST, NEWEST, or after an entry; an existing group keeps its place."""
    bus = world.bus()
    ids = await publish(bus, 4)
    expected: dict[str, tuple[StartPosition | EntryId, int]] = {
        "oldest": (StartPosition.OLDEST, 4),
        "newest": (StartPosition.NEWEST, 0),
        "after": (ids[1], 2),
    }
    for name, (start, count) in expected.items():
        settings = attrs.evolve(config(group=name), start=start)
        async with open_subscription(bus, settings) as deliveries:
            received: list[bytes] = []
            with trio.fail_after(20):
                for _ in range(count):
                    delivery = await deliveries.receive()
                    received.append(delivery.message.payload)
                    await delivery.ack()
            with trio.move_on_after(0.2) as waited:
                await deliveries.receive()
        assert waited.cancelled_caught, "there is no more"
        assert received == numbered(4)[4 - count :]


async def test_run_subscription_returns_when_it_is_drained(world: World) -> None:
    """The form for `nursery.start`."""
    bus, tally = world.bus(), Tally()
    async with trio.open_nursery() as nursery:
        subscription = await nursery.start(run_subscription, bus, config(), tally)
        await publish(bus, 3)
        await until(lambda: subscription.statistics().handled == 3)
        await subscription.drain()
    assert sorted(tally.seen) == numbered(3)
    assert (await world.group()).consumers == ()


@pytest.mark.guards("NOGROUP does not heal")
async def test_a_vanished_group_is_created_again_at_its_start(world: World) -> None:
    """A flush, or a failover, does not end a subscription; the observer is told."""
    bus, tally = world.bus(), Tally()
    async with open_subscription(bus, config(), tally) as subscription:
        await publish(bus, 2)
        await until(lambda: subscription.statistics().handled == 2)
        world.destroy_group()
        await until(lambda: subscription.statistics().handled == 4)
        await publish(bus, 1)
        await until(lambda: subscription.statistics().handled == 5)
    recreated = [event.transition for event in world.recorder.transitions]
    assert recreated.count(Transition.GROUP_RECREATED) == 1


@pytest.mark.guards("a backoff never delays")
async def test_a_backoff_longer_than_the_lease_is_kept(world: World) -> None:
    """A delayed entry has no owner and no lease: nobody takes it early."""
    bus, starts = world.bus(), list[float]()

    async def handler(delivery: Delivery) -> None:
        starts.append(trio.current_time())
        if len(starts) == 1:
            raise OSError

    slow = attrs.evolve(
        config(), claim_idle_timeout=1.0, retry_backoff=Backoff(first=1.5, jitter=0.0)
    )
    async with open_subscription(bus, slow, handler) as subscription:
        await publish(bus, 1)
        await until(lambda: subscription.statistics().handled == 1)
    assert starts[1] - starts[0] >= 1.5
