"""Each way in which a delivery can end raises one counter by one, and is told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, open_world, publish, told_lives, until
from tests.servers import command
from trio_bus import (
    AckMode,
    DeathCause,
    Delivery,
    EntryId,
    MemoryBackend,
    Message,
    OutcomeUnknown,
    PullSubscription,
    RemoteError,
    Scope,
    Subscription,
    SubscriptionConfig,
    SubscriptionError,
    SubscriptionState,
    SubscriptionStatistics,
    Transition,
    TransitionEvent,
    open_subscription,
)
from trio_bus._memory.member import MemoryMember
from trio_bus._settled import Settled
from trio_bus.abc import Ack, Membership, Settlement
from trio_bus.testing._invariants import figures_of

PAST = datetime.now(UTC) - timedelta(hours=1)
ORDER = Message("orders", b"order 7")
PARTED = Message("orders", b"", expires_at=PAST)


def delete(world: World, entry_id: EntryId) -> None:
    """Delete an entry, as an administrator may."""
    if isinstance(world.backend, MemoryBackend):
        assert world.backend.delete_entry("orders", entry_id)
    else:
        assert command(world.url, f"XDEL orders {entry_id}") == ":1"


async def ack(delivery: Delivery) -> None:
    """Handle."""
    await delivery.ack()


async def succeed(_: Delivery) -> None:
    """Return."""


async def fail(_: Delivery) -> None:
    """Raise."""
    raise OSError("no bank")


async def retry(delivery: Delivery) -> None:
    """Ask for another attempt."""
    await delivery.retry("not now", delay=50)


async def release(delivery: Delivery) -> None:
    """Give back."""
    await delivery.release(50)


async def reject(delivery: Delivery) -> None:
    """Give up."""
    await delivery.reject("never")


async def hang(_: Delivery) -> None:
    """Take too long."""
    await trio.sleep_forever()


async def run_on(delivery: Delivery) -> None:
    """Acknowledge, and fail later."""
    await delivery.ack()
    raise OSError("too late to matter")


ONCE = attrs.evolve(config(), max_retry=0)
DELAYED = attrs.evolve(
    config(), on_failure=None, retry_backoff=attrs.evolve(config().retry_backoff, first=50.0)
)
NO_TOPIC = attrs.evolve(ONCE, dead_letter_topic=None)
RECEIVE = SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE)
MANUAL = attrs.evolve(config(), ack_mode=AckMode.MANUAL)

Handler = Callable[[Delivery], Awaitable[None]]


@attrs.frozen
class Row:
    """One way to end."""

    handler: Handler
    end: Transition
    counter: str
    settings: SubscriptionConfig = ONCE
    message: Message = ORDER
    cause: DeathCause | None = None
    delay: float | None = None
    failed: int = 0
    started: bool = True


DEAD = Transition.DEAD_LETTERED
ROWS = {
    "success": Row(succeed, Transition.ACKED, "handled"),
    "ack": Row(ack, Transition.ACKED, "handled"),
    "ack by hand": Row(ack, Transition.ACKED, "handled", MANUAL),
    "ack and failure": Row(run_on, Transition.ACKED, "handled", failed=1),
    "at most once": Row(succeed, Transition.ACKED, "handled", RECEIVE),
    "at most once, failing": Row(fail, Transition.ACKED, "handled", RECEIVE, failed=1),
    "failure": Row(fail, Transition.RETRIED, "retried", DELAYED, delay=50.0, failed=1),
    "retry": Row(retry, Transition.RETRIED, "retried", config(), delay=50.0),
    "release": Row(release, Transition.RELEASED, "released", delay=50.0),
    "reject": Row(reject, DEAD, "rejected", cause=DeathCause.REJECTED),
    "reject, no topic": Row(reject, DEAD, "rejected", NO_TOPIC, cause=DeathCause.REJECTED),
    "last failure": Row(fail, DEAD, "rejected", cause=DeathCause.EXHAUSTED, failed=1),
    "last retry": Row(retry, DEAD, "rejected", cause=DeathCause.EXHAUSTED),
    "timeout": Row(
        hang,
        DEAD,
        "rejected",
        attrs.evolve(ONCE, handler_timeout=0.02),
        cause=DeathCause.EXHAUSTED,
        failed=1,
    ),
    "expired": Row(fail, DEAD, "rejected", message=PARTED, cause=DeathCause.EXPIRED, started=False),
    "expired, no topic": Row(
        fail,
        Transition.ACKED,
        "expired",
        NO_TOPIC,
        PARTED,
        cause=DeathCause.EXPIRED,
        started=False,
    ),
    "oversized": Row(
        fail,
        DEAD,
        "rejected",
        message=Message("orders", bytes(200)),
        cause=DeathCause.OVERSIZED,
        started=False,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_a_way_to_end_raises_one_counter(any_world: World, row: Row) -> None:
    """And is told once, with what belongs to it."""
    world = any_world
    async with open_subscription(world.bus(100), row.settings, row.handler) as subscription:
        entry_id = await world.bus().publish(row.message)
        await until(lambda: len(of(world, *ENDING)) == 1)
        await subscription.wait_idle()
        said = subscription.statistics()
    assert figures_of(said) == {"received": 1, row.counter: 1}
    assert (said.failed, said.in_flight, said.pending_acks) == (row.failed, 0, 0)
    (end,) = of(world, *ENDING)
    assert (end.transition, end.entry_id, end.attempt) == (row.end, entry_id, 1)
    assert (end.cause, end.delay) == (row.cause, row.delay)
    assert (end.topic, end.group, end.consumer) == ("orders", "billing", subscription.name)
    check_events(world, subscription.name, said)
    started, finished = of(world, Transition.STARTED), of(world, Transition.FINISHED)
    assert len(started) == len(finished) == row.started
    assert all(event.waited is not None and event.waited >= 0 for event in started)
    assert all(event.ran is not None and event.ran >= 0 for event in finished)
    before = not row.started or row.settings.ack_mode is AckMode.AUTO_ON_RECEIVE
    assert (end.ran is None) == before


ENDING = (
    *(Transition.ACKED, Transition.RETRIED, Transition.RELEASED, Transition.DEAD_LETTERED),
    *(Transition.LEASE_LOST, Transition.VANISHED, Transition.UNCONFIRMED),
)


def of(world: World, *transitions: Transition) -> list[TransitionEvent]:
    """Return what was told of these."""
    return [event for event in world.recorder.transitions if event.transition in transitions]


def check_events(world: World, consumer: str, said: SubscriptionStatistics) -> None:
    """Check that what was told is a life, and what was counted."""
    told_lives(world.recorder.transitions).check_statistics(consumer, said)


async def test_what_cannot_be_decoded_ends_once(any_world: World) -> None:
    """It was received, and never started."""
    async with open_subscription(any_world.bus(), config(), fail) as subscription:
        await any_world.backend.append("orders", [((b"who", b"knows"),)])
        await until(lambda: subscription.statistics().rejected == 1)
        said = subscription.statistics()
    assert figures_of(said) == {"received": 1, "rejected": 1}
    assert said.failed == 0
    (end,) = of(any_world, *ENDING)
    assert end.cause is DeathCause.UNDECODABLE
    assert end.ran is None
    check_events(any_world, subscription.name, said)


async def test_what_was_deleted_in_flight_ends_once(any_world: World) -> None:
    """Whatever the handler asks for."""
    async with open_subscription(any_world.bus(), config()) as deliveries:
        (entry_id,) = await publish(any_world.bus(), 1)
        delivery = await deliveries.receive()
        delete(any_world, entry_id)
        await delivery.retry("there is nothing to retry")
        said = deliveries.statistics()
    assert figures_of(said) == {"received": 1, "vanished": 1}
    (end,) = of(any_world, *ENDING)
    assert (end.entry_id, end.attempt, end.delay) == (entry_id, 1, None)
    assert end.ran is not None
    check_events(any_world, deliveries.name, said)


async def test_what_somebody_else_took_ends_once(any_world: World) -> None:
    """The verb that finds out counts it, and nothing after that."""
    greedy = Membership(topic="orders", group="billing", consumer="they", lease=0.1, max_attempt=9)
    settings = attrs.evolve(config(), claim_idle_timeout=100.0)
    async with open_subscription(any_world.bus(), settings) as deliveries:
        await publish(any_world.bus(), 1)
        delivery = await deliveries.receive()
        async with any_world.backend.join(greedy) as thief:
            with trio.fail_after(20):
                while not (await thief.take_over(1)).entries:
                    await trio.sleep(0.01)
                    await thief.look()
            with pytest.raises(Exception, match="no longer ours"):
                await delivery.ack()
            with pytest.raises(Exception, match="no longer ours"):
                await delivery.renew()
            said = deliveries.statistics()
    assert figures_of(said) == {"received": 1, "lost_leases": 1}
    check_events(any_world, deliveries.name, said)


async def test_what_is_handed_back_too_late_is_a_lost_lease(
    autojump_clock: MockClock, world: World
) -> None:
    """It ended all the same: leaving hands back, and finds that it has another owner."""
    greedy = Membership(topic="orders", group="billing", consumer="they", lease=0.1, max_attempt=9)
    settings = attrs.evolve(config(), claim_idle_timeout=100.0)
    async with open_subscription(world.bus(), settings) as deliveries:
        await publish(world.bus(), 1)
        await deliveries.receive()
        await trio.sleep(1)
        async with world.backend.join(greedy) as thief:
            await thief.look()
            assert (await thief.take_over(1)).entries
    said = deliveries.statistics()
    assert figures_of(said) == {"received": 1, "lost_leases": 1}
    check_events(world, deliveries.name, said)


async def test_a_lease_that_ran_out_ends_once(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """That its entry was then given back, which nobody else had, is no second end."""
    settings = attrs.evolve(config(), claim_idle_timeout=1.0, reclaim_interval=100.0)
    flaky.fail("renew", *[OutcomeUnknown("away")] * 1000)
    async with open_subscription(world.bus(), settings, hang) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().lost_leases == 1)
        await subscription.wait_idle()
        said = subscription.statistics()
        assert said.released == 0
        assert said.lost_leases + said.in_flight == said.received
    check_events(world, subscription.name, subscription.statistics())


async def test_what_is_not_confirmed_ends_once(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Nobody knows how; the observer and the statistics say that."""
    flaky.fail("settle", *[OutcomeUnknown("away")] * 10_000)
    opened: list[Subscription] = []
    with pytest.raises(SubscriptionError):
        async with open_subscription(world.bus(), config(), succeed) as subscription:
            opened.append(subscription)
            await publish(world.bus(), 1)
            await until(lambda: subscription.statistics().pending_acks == 1)
    await check_unconfirmed(world, opened[0])


async def test_what_could_not_be_given_back_ends_once(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """That is tried last of all; nothing is held when the subscription has ended."""
    flaky.fail("settle", *[OutcomeUnknown("away")] * 10_000)
    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 1)
        await deliveries.receive()
    await check_unconfirmed(world, deliveries)


async def test_what_was_not_confirmed_is_given_back_in_batches(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call settles more than ``ack_batch_size``, also the last ones."""
    sizes: list[int] = []
    settle = MemoryMember.settle

    async def refuse_acks(
        member: MemoryMember, settlements: Sequence[Settlement]
    ) -> list[Settled | RemoteError]:
        sizes.append(len(settlements))
        if any(isinstance(it, Ack) for it in settlements):
            raise OutcomeUnknown("away")
        return await settle(member, settlements)

    monkeypatch.setattr(MemoryMember, "settle", refuse_acks)
    few = attrs.evolve(config(), ack_batch_size=2, shutdown_timeout=0.0)
    async with open_world("memory:") as world:
        with pytest.raises(SubscriptionError):
            async with open_subscription(world.bus(), few, succeed) as subscription:
                await publish(world.bus(), 5)
                await until(lambda: subscription.statistics().pending_acks == 5)
        assert max(sizes) == 2
        assert sizes[-3:] == [2, 2, 1]
        assert (await world.group()).released == 5


async def check_unconfirmed(world: World, ended: Subscription | PullSubscription) -> None:
    """Check that one delivery ended in the dark."""
    now = trio.current_time()
    with trio.fail_after(10):
        await ended.wait_idle()
    assert trio.current_time() == now, "it returned at once"
    said = ended.statistics()
    assert figures_of(said) == {"received": 1, "unconfirmed": 1}
    assert (said.state, said.in_flight) == (SubscriptionState.CLOSED, 0)
    (end,) = of(world, *ENDING)
    assert end.reason == "away"
    check_events(world, ended.name, said)


async def test_taking_over_counts_what_it_buried_and_what_is_gone(any_world: World) -> None:
    """Nobody held these: they are not received, and each is told once."""
    world = any_world
    us = Membership(topic="orders", group="billing", consumer="gone", lease=0.1, max_attempt=1)
    await world.backend.create_group("orders", "billing", EntryId(0))
    ids = await publish(world.bus(), 2)
    async with world.backend.join(us) as member:
        assert len(await member.read(2, 1.0)) == 2
        delete(world, ids[1])
        settings = attrs.evolve(ONCE, claim_idle_timeout=0.1)
        async with open_subscription(world.bus(), settings, fail) as subscription:
            await until(lambda: len(of(world, *ENDING)) == 2)
            said = subscription.statistics()
    assert figures_of(said) == {"rejected": 1, "vanished": 1}
    (buried,) = of(world, Transition.DEAD_LETTERED)
    assert (buried.entry_id, buried.attempt) == (ids[0], 1)
    assert buried.cause is DeathCause.EXHAUSTED
    (gone,) = of(world, Transition.VANISHED)
    assert (gone.entry_id, gone.attempt) == (ids[1], None)


async def test_the_last_error_of_each_kind_is_kept(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Also those of handlers."""
    flaky.fail("look", OutcomeUnknown("first"), OutcomeUnknown("second"))
    flaky.fail("settle", OutcomeUnknown("third"))
    async with open_subscription(world.bus(), ONCE, fail) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().rejected == 1)
        await trio.sleep(1)
        said = subscription.statistics().last_errors
    assert {scope: str(error) for scope, error in said.items()} == {
        Scope.CLAIM: "second",
        Scope.SETTLE: "third",
        Scope.HANDLER: "no bank",
    }


async def test_durations_are_those_of_the_clock(autojump_clock: MockClock, world: World) -> None:
    """How long it waited, how long the handler ran, and how long it took to settle."""

    async def slow(delivery: Delivery) -> None:
        await trio.sleep(3)
        await delivery.ack()
        await trio.sleep(4)

    settings = attrs.evolve(config(), max_in_flight=1)
    async with open_subscription(world.bus(), settings, slow) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().handled == 2, patience=100)
        await until(lambda: len(of(world, Transition.FINISHED)) == 2, patience=100)
    waited = [event.waited for event in of(world, Transition.STARTED)]
    assert waited == [pytest.approx(0, abs=0.1), pytest.approx(7, abs=0.1)]
    assert [event.ran for event in of(world, Transition.ACKED)] == [pytest.approx(3)] * 2
    assert [event.ran for event in of(world, Transition.FINISHED)] == [pytest.approx(7)] * 2


async def test_a_block_of_pull_mode_is_told_like_a_handler(
    autojump_clock: MockClock, world: World
) -> None:
    """It starts when it is received."""
    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 2)
        await trio.sleep(1)
        assert not of(world, Transition.STARTED)
        async with await deliveries.receive():
            await trio.sleep(2)
        await (await deliveries.receive()).ack()
        await deliveries.wait_idle()
    told = Counter(event.transition for event in world.recorder.transitions)
    assert told[Transition.RECEIVED] == told[Transition.STARTED] == told[Transition.ACKED] == 2
    (finished,) = of(world, Transition.FINISHED)
    assert finished.ran == pytest.approx(2)
    check_events(world, deliveries.name, deliveries.statistics())
