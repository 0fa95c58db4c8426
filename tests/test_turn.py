"""When a suspect runs: alone, however it comes to that, and holding up nothing for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, numbered, publish, until
from tests.ledger import Spot, ledger_of
from trio_bus import (
    AckMode,
    BusError,
    ConnectionLost,
    Delivery,
    Message,
    OutcomeUnknown,
    PullSubscription,
    Scope,
    Subscription,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus._names import SUSPECT
from trio_bus.abc import Membership, TakeOver
from trio_bus.testing import Done

T = TypeVar("T")

LEASE = 3.0
BRIEF = attrs.evolve(config(), claim_idle_timeout=LEASE, drain_timeout=1000.0)
ALONE = "alone: taken from an expired lease after 2 deliveries"


def ghost(number: int) -> Membership:
    """Return a consumer that will die."""
    return Membership(
        topic="orders", group="billing", consumer=f"ghost-{number}", lease=0.1, max_attempt=4
    )


async def suspects(world: World, count: int) -> None:
    """Let so many numbered messages be delivered twice to consumers that die.

    Their lease ends in `LEASE` seconds: who is opened before has time to start something else.
    """
    await world.backend.create_group("orders", "billing", None)
    await publish(world.bus(), count)
    async with world.backend.join(ghost(1)) as first:
        assert len(await first.read(count, 1.0)) == count
    await trio.sleep(0.2)
    async with world.backend.join(ghost(2)) as second:
        assert (await second.look()).claimable
        assert len((await second.take_over(count)).entries) == count


async def spots(world: World) -> Sequence[Spot]:
    """Return where each entry is that is not done."""
    ledger = await ledger_of(real(world).inner, "orders", "billing")
    return [spot for spot in ledger.values() if spot.place != "done"]


def real(world: World) -> FlakyBackend:
    """Return the backend, as what it is."""
    assert isinstance(world.backend, FlakyBackend)
    return world.backend


@attrs.define
class Work:
    """A handler that takes as long as the payload says, and remembers when what ran.

    ``log`` has, for each start, its time, payload and attempt, and what else ran.
    """

    seconds: dict[bytes, float] = attrs.field(factory=dict[bytes, float])
    log: list[tuple[float, bytes, int, set[bytes]]] = attrs.field(
        factory=list[tuple[float, bytes, int, set[bytes]]]
    )
    running: set[bytes] = attrs.field(factory=set[bytes])
    began: float = attrs.field(factory=trio.current_time)

    async def __call__(self, delivery: Delivery) -> None:
        """Handle."""
        payload = delivery.message.payload
        now = round(trio.current_time() - self.began, 1)
        self.log.append((now, payload, delivery.state.attempt, set(self.running)))
        self.running.add(payload)
        try:
            await trio.sleep(self.seconds.get(payload, 1.0))
        finally:
            self.running.discard(payload)

    def starts(self) -> list[tuple[float, bytes]]:
        """Return what started when."""
        return [(now, payload) for now, payload, _, _ in self.log]


async def test_it_waits_for_what_runs_and_nothing_starts_beside_it(
    autojump_clock: MockClock, world: World
) -> None:
    """And what came meanwhile starts when it has ended."""
    await suspects(world, 1)
    bus = world.bus()
    work = Work({b"long": 10.0, b"0": 4.0})
    await bus.publish(Message("orders", b"long"))
    async with open_subscription(bus, BRIEF, work) as s:
        await trio.sleep(5.0)
        await bus.publish(Message("orders", b"late"))
        await until(lambda: s.statistics().handled == 3, 30.0)
    assert work.log == [
        (0.0, b"long", 1, set()),
        (10.0, b"0", 3, set()),
        (14.0, b"late", 1, set()),
    ]
    reasons = [it.reason for it in world.recorder.transitions if "started" in it.transition.value]
    assert reasons == ["", ALONE, ""]
    (told,) = [it for it in world.recorder.transitions if it.transition is Transition.SUSPECTED]
    assert told.attempt == 2


async def test_suspects_come_one_by_one_and_take_turns_with_the_rest(
    autojump_clock: MockClock, world: World
) -> None:
    """Neither waits until there is nothing of the other."""
    await suspects(world, 4)
    bus, work = world.bus(), Work()
    await bus.publish_batch([Message("orders", b"new") for _ in range(30)])
    async with open_subscription(bus, attrs.evolve(BRIEF, max_in_flight=2), work) as s:
        await until(lambda: s.statistics().handled == 34, 60.0)
    alone = [(payload, others) for _, payload, attempt, others in work.log if attempt == 3]
    assert alone == [(payload, set()) for payload in numbered(4)]
    order = "".join("s" if attempt == 3 else "." for _, _, attempt, _ in work.log).strip(".")
    assert "." in order, "what is new does not wait for all suspects"
    assert len(order) < 30, "and they do not wait for all that is new"


async def test_the_other_consumers_go_on(autojump_clock: MockClock, world: World) -> None:
    """One makes room for the suspect; only it, however long that takes."""
    await suspects(world, 1)
    bus, one, two = world.bus(), Work({b"0": 50.0, b"long": 20.0}), Work()
    await bus.publish(Message("orders", b"long"))
    async with open_subscription(bus, BRIEF, one) as first:
        await trio.sleep(LEASE + 1.0)
        async with open_subscription(world.bus(), BRIEF, two) as second:
            for number in range(60):
                await bus.publish(Message("orders", b"%d." % number))
                await trio.sleep(1.0)
            await until(lambda: second.statistics().handled == 60)
            await until(lambda: first.statistics().handled == 2, 60.0)
    assert one.starts() == [(0.0, b"long"), (20.0, b"0")]
    assert two.starts() == [(LEASE + 1.0 + number, b"%d." % number) for number in range(60)]


async def test_with_one_permit_that_a_read_holds(autojump_clock: MockClock, world: World) -> None:
    """The read is ended, as for a claim."""
    await suspects(world, 2)
    single = attrs.evolve(BRIEF, max_in_flight=1, block_timeout=1000.0)
    async with open_subscription(world.bus(), single, work := Work()) as s:
        await until(lambda: s.statistics().handled == 2)
        await publish(world.bus(), 1)
        await until(lambda: s.statistics().handled == 3)
    assert [payload for _, payload in work.starts()] == [b"0", b"1", b"0"]


async def test_a_read_that_waits_long_does_not_hold_it_up(
    autojump_clock: MockClock, world: World
) -> None:
    """It is ended though a permit is free, and begins anew afterwards."""
    await suspects(world, 1)
    await world.bus().publish(Message("orders", b"short"))
    patient = attrs.evolve(BRIEF, block_timeout=1000.0)
    async with open_subscription(world.bus(), patient, work := Work({b"0": 5.0})) as s:
        await trio.sleep(LEASE + 2.0)
        await world.bus().publish(Message("orders", b"new"))
        await until(lambda: s.statistics().handled == 3)
    assert work.starts() == [(0.0, b"short"), (LEASE, b"0"), (LEASE + 5.0, b"new")]


class _StubbornReads(FlakyBackend):
    """Lets a read go on that is cancelled, as one does whose answer is on its way."""

    async def run(
        self,
        name: str,
        act: Callable[[], Awaitable[T]],
        half: Callable[[], Awaitable[T]] | None = None,
    ) -> T:
        with trio.CancelScope(shield=name == "read"):
            return await super().run(name, act, half)
        raise AssertionError("this scope is not cancelled itself")


async def test_what_a_read_brings_that_is_being_ended_comes_first(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ours by then."""
    monkeypatch.setattr("trio_bus._subscription.consumer.READS_PER_LEASE", 0.1)
    backend = _StubbornReads()
    world = World("memory:", backend)
    await suspects(world, 1)
    await world.bus().publish(Message("orders", b"short"))
    settings = attrs.evolve(BRIEF, block_timeout=5.0)
    async with open_subscription(world.bus(), settings, work := Work({b"0": 4.0})) as s:
        await trio.sleep(LEASE + 1.0)
        await world.bus().publish(Message("orders", b"new"))
        await until(lambda: s.statistics().handled == 3)
    assert work.starts() == [(0.0, b"short"), (LEASE + 1.0, b"new"), (LEASE + 2.0, b"0")]


async def test_receive_hands_it_out_when_nothing_else_is_held(
    autojump_clock: MockClock, world: World
) -> None:
    """And nothing after it until it is settled. What nobody had received is given back."""
    await suspects(world, 1)
    bus = world.bus()
    await bus.publish_batch([Message("orders", name) for name in (b"a", b"b", b"c")])
    async with open_subscription(bus, attrs.evolve(BRIEF, reclaim_interval=1.0)) as s:
        a = await s.receive()
        async with a:
            await trio.sleep(5.0)
            with trio.move_on_after(5.0) as patience:
                await s.receive()
            assert patience.cancelled_caught, "b and c were given back, and 0 is not alone"
            places = sorted(spot.place for spot in await spots(world))
            assert places == sorted([s.name, "~free", "~free", SUSPECT])
        suspect = await soon(s)
        assert (a.message.payload, suspect.message.payload) == (b"a", b"0")
        assert suspect.state.attempt == 3
        async with suspect:
            with trio.move_on_after(5.0) as patience:
                await s.receive()
            assert patience.cancelled_caught
        rest = [await soon(s), await soon(s)]
        assert [it.message.payload for it in rest] == [b"b", b"c"]
        assert [it.state.attempt for it in rest] == [1, 1], "given back uncounted"


async def test_what_is_left_open_holds_it_up_for_a_lease(
    autojump_clock: MockClock, world: World
) -> None:
    """A body that collects deliveries gets more of them, and the suspect when it has settled."""
    await suspects(world, 1)
    bus = world.bus()
    await bus.publish(Message("orders", b"a"))
    async with open_subscription(bus, BRIEF) as s:
        a = await s.receive()
        await trio.sleep(LEASE + 1.0)
        began = trio.current_time()
        await bus.publish(Message("orders", b"b"))
        b = await soon(s)
        assert b.message.payload == b"b"
        assert trio.current_time() - began <= LEASE
        assert [spot.place for spot in await spots(world)] == [SUSPECT, s.name, s.name]
        await a.ack()
        await b.ack()
        suspect = await soon(s)
        assert (suspect.message.payload, suspect.state.attempt) == (b"0", 3)
        assert trio.current_time() - began <= 2 * LEASE + 0.1
        # It is left open itself: what comes then does not wait for ever either.
        await bus.publish(Message("orders", b"c"))
        c = await soon(s)
        assert c.message.payload == b"c"
        await suspect.ack()
        await c.ack()


async def test_what_nobody_receives_is_given_back(autojump_clock: MockClock, world: World) -> None:
    """After a lease; what comes behind it would be received together with it otherwise."""
    await suspects(world, 1)
    bus = world.bus()
    async with open_subscription(bus, BRIEF) as s:
        await trio.sleep(LEASE + 1.0)
        assert [spot.place for spot in await spots(world)] == [s.name]
        await bus.publish(Message("orders", b"new"))
        await trio.sleep(LEASE)
        assert [spot.place for spot in await spots(world)] == [SUSPECT, s.name]
        async with await soon(s) as new:
            assert new.message.payload == b"new"
        suspect = await soon(s)
        assert (suspect.message.payload, suspect.state.attempt) == (b"0", 3)
        await suspect.ack()


async def test_somebody_else_may_have_what_one_gives_up(
    autojump_clock: MockClock, world: World
) -> None:
    """At once: it is not booked any more."""
    await suspects(world, 1)
    bus = world.bus()
    await bus.publish(Message("orders", b"a"))
    async with open_subscription(bus, BRIEF) as s:
        await s.receive()
        await trio.sleep(LEASE + 0.5)
        async with open_subscription(world.bus(), BRIEF) as other:
            began = trio.current_time()
            assert (await soon(other)).message.payload == b"0"
            assert LEASE - 1.0 < trio.current_time() - began < LEASE


@pytest.mark.parametrize("leave", ["drain", "cancel"])
async def test_one_that_waits_is_not_started_by_an_end(
    autojump_clock: MockClock, world: World, leave: str
) -> None:
    """It stays what it is, uncounted, and anybody may take it at once."""
    await suspects(world, 1)
    bus, work = world.bus(), Work({b"long": 10.0})
    await bus.publish(Message("orders", b"long"))
    with trio.CancelScope() as scope:
        async with open_subscription(bus, BRIEF, work):
            await trio.sleep(LEASE + 1.0)
            if leave == "cancel":
                scope.cancel()
    assert [payload for _, payload in work.starts()] == [b"long"]
    assert (await spots(world))[0] == Spot(SUSPECT, 2)
    async with world.backend.join(attrs.evolve(ghost(3), lease=1000.0)) as them:
        assert (await them.take_over(5, book=True)).booked is not None


async def test_one_that_is_cancelled_is_a_suspect_as_before(
    autojump_clock: MockClock, world: World
) -> None:
    """Its handler had not ended."""
    await suspects(world, 1)
    work = Work({b"0": 100.0})
    with trio.move_on_after(LEASE + 5.0):
        async with open_subscription(world.bus(), BRIEF, work):
            await trio.sleep_forever()
    assert list(await spots(world)) == [Spot(SUSPECT, 2)]
    work.seconds.clear()
    async with open_subscription(world.bus(), BRIEF, work) as s:
        await until(lambda: s.statistics().handled == 1)
    assert [(payload, attempt) for _, payload, attempt, _ in work.log] == [(b"0", 3)] * 2
    assert world.recorder.transitions[-1].reason == ""
    reasons = [it.reason for it in world.recorder.transitions if it.reason]
    assert reasons == [ALONE, ALONE]


async def test_one_that_fails_is_retried_beside_others(
    autojump_clock: MockClock, world: World
) -> None:
    """It has not killed its process."""
    await suspects(world, 1)
    bus, work = world.bus(), Work({b"long": 10.0})

    async def fail_once(delivery: Delivery) -> None:
        await work(delivery)
        if delivery.state.attempt == 3:
            await bus.publish(Message("orders", b"long"))
            raise ValueError

    async with open_subscription(bus, BRIEF, fail_once) as s:
        await until(lambda: s.statistics().handled == 2, 30.0)
    assert [(payload, others) for _, payload, _, others in work.log if payload == b"0"] == [
        (b"0", set()),
        (b"0", {b"long"}),
    ]


async def test_one_that_is_acked_on_arrival_runs_alone_too(
    autojump_clock: MockClock, world: World
) -> None:
    """What dies while it is decoded, or before its ack, was no innocent's fault either."""
    await suspects(world, 2)
    bus, work = world.bus(), Work({b"0": 5.0})
    settings = SubscriptionConfig(
        "orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE, claim_idle_timeout=LEASE
    )
    async with open_subscription(bus, settings, work) as s:
        await until(lambda: len(work.log) == 1)
        await bus.publish(Message("orders", b"new"))
        await until(lambda: len(work.log) == 3, 30.0)
        await s.wait_idle()
    assert all(not others for _, payload, _, others in work.log if payload != b"new")
    assert work.log[0][1] == b"0"
    assert min(now for now, payload in work.starts() if payload == b"new") >= LEASE + 5.0


@pytest.mark.parametrize("done", [Done.NOTHING, Done.EVERYTHING])
@pytest.mark.parametrize("operation", ["take_booked", "keep_booking", "give_up_booking"])
async def test_a_call_that_fails_is_told_and_holds_up_nothing(
    autojump_clock: MockClock, world: World, operation: str, done: Done
) -> None:
    """Whether it happened or not: another turn comes, at the latest when the booking is over."""
    await suspects(world, 1)
    bus, work = world.bus(), Work({b"long": 6.0})
    kind: type[BusError] = ConnectionLost if done is Done.NOTHING else OutcomeUnknown
    real(world).fail(operation, kind("cut"), done=done)
    if operation == "give_up_booking":  # it is needed when keeping the booking fails
        real(world).fail("keep_booking", ConnectionLost("cut"))
    await bus.publish(Message("orders", b"long"))
    lost = operation == "take_booked" and done is Done.EVERYTHING
    async with open_subscription(bus, BRIEF, work) as s:
        # (The memory backend has no strays: what it gave and nobody got is lost with us.)
        await until(lambda: s.statistics().handled == (1 if lost else 2), 60.0)
        await publish(bus, 1)
        await until(lambda: s.statistics().handled == (2 if lost else 3), 60.0)
    assert {it.scope for it in world.recorder.errors} <= {Scope.CLAIM, Scope.RELEASE}
    assert world.recorder.errors


async def test_one_that_was_taken_by_another_is_let_go(
    autojump_clock: MockClock, world: World
) -> None:
    """A consumer that could not keep its booking finds out, and goes on."""
    await suspects(world, 1)
    bus, work = world.bus(), Work({b"long": 20.0})
    await bus.publish(Message("orders", b"long"))
    async with open_subscription(bus, BRIEF, work) as s:
        await trio.sleep(LEASE + 1.5)
        async with world.backend.join(attrs.evolve(ghost(3), lease=0.001)) as thief:
            booked = (await thief.take_over(1, book=True)).booked
            assert booked is not None
            assert len((await thief.take_booked(booked)).entries) == 1
            await bus.publish(Message("orders", b"new"))
            await until(lambda: s.statistics().handled == 1)
            assert work.starts() == [(0.0, b"long"), (pytest.approx(LEASE + 2.0, abs=0.2), b"new")]
            assert await thief.take_booked(booked) == TakeOver()


async def test_one_that_cannot_be_decoded_is_buried(
    autojump_clock: MockClock, world: World
) -> None:
    """That is its end; the turn is over with it."""
    await suspects(world, 1)
    narrow = world.bus(max_payload_bytes=0)
    async with open_subscription(narrow, BRIEF, Work()) as s:
        await until(lambda: s.statistics().rejected == 1)
        await still_handles(world, s)


async def soon(subscription: PullSubscription) -> Delivery:
    """Receive, or fail."""
    with trio.fail_after(10 * LEASE):
        return await subscription.receive()


async def still_handles(world: World, subscription: Subscription) -> None:
    """Check that another message is handled."""
    before = subscription.statistics().handled
    await world.bus().publish(Message("orders", b""))
    await until(lambda: subscription.statistics().handled == before + 1)
