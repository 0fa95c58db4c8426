"""Messages of one key start one after another, whoever is active."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, open_world, until
from trio_bus import (
    Backoff,
    Bus,
    ConnectionLost,
    Delivery,
    EntryId,
    GroupMissing,
    Message,
    OrderingMode,
    Redriven,
    RemoteError,
    Scope,
    Transition,
    open_subscription,
)
from trio_bus._subscription.lines import Lines
from trio_bus.abc import Ack, Membership, Queue, Release, Retry, TakeOver
from trio_bus.testing import Done

LEASE = 3.0
ORDERED = attrs.evolve(
    config(),
    ordering_mode=OrderingMode.KEY,
    claim_idle_timeout=LEASE,
    retry_backoff=Backoff(first=1.0, jitter=0.0),
    drain_timeout=100.0,
)
BRIEF = attrs.evolve(ORDERED, drain_timeout=0.0)


def member(name: str, lease: float = 60.0, max_attempt: int = 4) -> Membership:
    """Return a consumer of the group."""
    return Membership(
        topic="orders", group="billing", consumer=name, lease=lease, max_attempt=max_attempt
    )


async def publish(bus: Bus, *texts: str) -> list[EntryId]:
    """Publish messages like ``a1``: of the key ``a``, with the payload ``a1``."""
    outcome = await bus.publish_batch(
        [Message("orders", text.encode(), key=text[:-1]) for text in texts]
    )
    outcome.raise_errors()
    return [result for result in outcome.results if isinstance(result, EntryId)]


@attrs.define
class Work:
    """A handler that takes a second, or as long as the payload says, and fails as planned."""

    seconds: dict[str, float] = attrs.field(factory=dict[str, float])
    failing: list[str] = attrs.field(factory=list[str])
    log: list[tuple[float, str]] = attrs.field(factory=list[tuple[float, str]])
    began: float = attrs.field(factory=trio.current_time)

    async def __call__(self, delivery: Delivery) -> None:
        """Handle."""
        text = delivery.message.payload.decode()
        self.log.append((round(trio.current_time() - self.began, 1), text))
        await trio.sleep(self.seconds.get(text, 1.0))
        if text in self.failing:
            self.failing.remove(text)
            raise OSError(text)

    @property
    def started(self) -> list[str]:
        """What was started, in order: what starts at the same time, by its text."""
        return [text for _, text in sorted(self.log)]


async def test_a_key_waits_for_its_retry_and_the_others_do_not(
    autojump_clock: MockClock, world: World
) -> None:
    """Nor does it take permits: two are enough for all."""
    work = Work(failing=["a1"])
    settings = attrs.evolve(ORDERED, max_in_flight=2)
    bus = world.bus()
    async with open_subscription(bus, settings, work) as s:
        await publish(bus, "a1", "a2", "a3", "b1", "c1", "b2")
        await until(lambda: s.statistics().handled == 6)
    assert sorted(work.log) == [
        *((0.0, "a1"), (0.0, "b1"), (1.0, "b2"), (1.0, "c1")),
        *((2.0, "a1"), (3.0, "a2"), (4.0, "a3")),
    ]
    assert s.statistics().retried == 1


async def test_a_retry_is_due_although_its_handler_goes_on(
    autojump_clock: MockClock, world: World
) -> None:
    """The delay is that of the retry, and does not begin when the handler ends."""

    async def retry_and_go_on(delivery: Delivery) -> None:
        started.append(round(trio.current_time() - began, 1))
        if len(started) == 1:
            await delivery.retry("later", 1.0)
            await trio.sleep(3.0)

    started, began = list[float](), trio.current_time()
    settings = attrs.evolve(ORDERED, reclaim_interval=100.0, claim_idle_timeout=1000.0)
    async with open_subscription(world.bus(), settings, retry_and_go_on) as s:
        await publish(world.bus(), "a1")
        await until(lambda: s.statistics().handled == 1)
    assert started == [0.0, 3.0]


async def test_what_is_given_up_frees_its_key(autojump_clock: MockClock, world: World) -> None:
    async def reject_first(delivery: Delivery) -> None:
        started.append(delivery.message.payload)
        if len(started) == 1:
            await delivery.reject("never")

    started = list[bytes]()
    async with open_subscription(world.bus(), ORDERED, reject_first) as s:
        await publish(world.bus(), "a1", "a2")
        await until(lambda: s.statistics().handled == 1)
    assert started == [b"a1", b"a2"]


async def test_without_a_key_there_is_no_order(autojump_clock: MockClock, world: World) -> None:
    work = Work()
    async with open_subscription(world.bus(), ORDERED, work) as s:
        await publish(world.bus(), "1", "2", "3")
        await until(lambda: s.statistics().handled == 3)
    assert {when for when, _ in work.log} == {0.0}


async def test_a_standby_goes_on_when_the_active_one_leaves(
    autojump_clock: MockClock, world: World
) -> None:
    """At once, but for what the one that leaves still handles: that keeps its key."""
    work = Work({"a1": 5.0})
    async with open_subscription(world.bus(), ORDERED, work) as first:
        await until(lambda: first.statistics().active)
        async with open_subscription(world.bus(), ORDERED, work) as second:
            await publish(world.bus(), "a1", "a2", "b1")
            await until(lambda: first.statistics().handled == 1)
            assert not second.statistics().active
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.drain)
                await publish(world.bus(), "b2")
                await until(lambda: second.statistics().handled == 2)
    assert work.started == ["a1", "b1", "b2", "a2"]
    assert work.log[2][0] == 1.0
    assert work.log[3][0] == pytest.approx(5.0, abs=0.1)
    told = [it.transition for it in world.recorder.transitions]
    assert told.count(Transition.ACTIVE) == told.count(Transition.STANDBY) == 2


async def test_what_a_dead_active_one_had_comes_first(
    autojump_clock: MockClock, world: World
) -> None:
    """When the lease has run out: in id order, counted, before what is new of its key."""
    bus = world.bus()
    await world.backend.create_group("orders", "billing", None)
    ids = await publish(bus, "a1", "a2", "b1")
    async with world.backend.join(member("ghost", LEASE)) as ghost:
        token = await ghost.lead(None)
        assert token is not None
        drawn = await ghost.draw(token, 10)
        assert drawn is not None
        start = await ghost.start(token, [ids[0]])
        assert start is not None
    work = Work()
    async with open_subscription(bus, ORDERED, work) as s:
        await publish(bus, "a3")
        await until(lambda: s.statistics().handled == 4)
    assert work.started == ["a1", "b1", "a2", "a3"]
    assert work.log[0][0] == pytest.approx(LEASE, abs=0.1)
    attempts = [it.attempt for it in world.recorder.transitions if "started" in it.transition.value]
    assert set(attempts[:2]) == {1, 2}
    assert attempts[2:] == [1, 1]


async def test_who_was_replaced_starts_nothing(autojump_clock: MockClock, world: World) -> None:
    """Somebody takes the lead away (its owner stood still): the rest is refused, and it waits."""
    work = Work({"a1": 2.0})
    bus = world.bus()
    async with open_subscription(bus, BRIEF, work) as s:
        await publish(bus, "a1", "a2")
        await until(lambda: work.started == ["a1"])
        flaky(world).fail("lead", *[ConnectionLost("cut")] * 10)
        async with world.backend.join(member("thief", 1.5)) as thief:
            await trio.sleep(LEASE + 0.1)
            flaky(world).heal()
            assert await thief.lead(None) is not None
            await until(lambda: not s.statistics().active)
            assert await thief.lead(None) is not None
            await publish(bus, "b1")
        await until(lambda: "b1" in work.started)
    assert work.started[:2] == ["a1", "a2"]


def flaky(world: World) -> FlakyBackend:
    """Return the backend, as what it is."""
    assert isinstance(world.backend, FlakyBackend)
    return world.backend


@pytest.mark.parametrize("operation", ["lead", "survey", "draw", "start", "grown"])
@pytest.mark.parametrize("done", [Done.NOTHING, Done.EVERYTHING])
async def test_after_an_error_it_begins_a_new_term(
    autojump_clock: MockClock, world: World, operation: str, done: Done
) -> None:
    """Whatever the server had done: nothing is lost, and the order is kept."""
    work = Work(failing=["a1"])
    flaky(world).fail(operation, ConnectionLost("cut"), done=done)
    async with open_subscription(world.bus(), ORDERED, work) as s:
        await publish(world.bus(), "a1", "a2", "b1")
        await until(lambda: s.statistics().handled == 3)
        assert flaky(world).left(operation) == 0
    assert [it for it in work.started if it[0] == "a"] == ["a1", "a1", "a2"]


async def test_the_group_is_made_again(autojump_clock: MockClock, world: World) -> None:
    """Found gone by whatever asks first: also by the renewal of the lead."""
    work = Work()
    settings = attrs.evolve(ORDERED, reclaim_interval=1000.0, block_timeout=1000.0)
    async with open_subscription(world.bus(), settings, work) as s:
        await publish(world.bus(), "a1")
        await until(lambda: s.statistics().handled == 1)
        flaky(world).fail("lead", GroupMissing("NOGROUP"), RemoteError("ERR no"))
        await trio.sleep(LEASE)
        flaky(world).inner.destroy_group("orders", "billing")
        await until(lambda: len(world.recorder.ids(Transition.GROUP_RECREATED)) == 1)
        await until(lambda: s.statistics().handled == 2)
    assert work.started == ["a1", "a1"]


async def test_a_suspect_runs_alone_and_first_of_its_key(
    autojump_clock: MockClock, world: World
) -> None:
    bus = world.bus()
    await world.backend.create_group("orders", "billing", None)
    (one, *_) = await publish(bus, "a1", "a2", "b1")
    for name in ("ghost-1", "ghost-2"):
        async with world.backend.join(member(name, 0.1)) as ghost:
            token = await ghost.lead(None)
            assert token is not None
            await ghost.draw(token, 10)
            start = await ghost.start(token, [one])
            assert start is not None
            assert len(start.taken.entries) == 1
        await trio.sleep(0.2)
    work = Work()
    settings = attrs.evolve(ORDERED, claim_idle_timeout=0.5)
    async with open_subscription(bus, settings, work) as s:
        await until(lambda: s.statistics().handled == 3)
    assert [it for it in work.started if it[0] == "a"] == ["a1", "a2"]
    alone = [it for it in world.recorder.transitions if it.reason.startswith("alone")]
    assert len(alone) == 1
    assert len(world.recorder.ids(Transition.SUSPECTED)) == 1


async def test_a_suspect_whose_turn_does_not_come_waits_for_a_lease(
    autojump_clock: MockClock, world: World
) -> None:
    """Deliveries are left open, and nothing runs: it is left alone until it can be alone."""
    bus = world.bus()
    settings = attrs.evolve(ORDERED, claim_idle_timeout=0.5)
    async with open_subscription(bus, settings) as deliveries:
        (one,) = await publish(bus, "a1")
        held = await deliveries.receive()
        async with world.backend.join(member("ghost", 0.1, 2)) as ghost:
            (two,) = await publish(bus, "b1")
            (entry,) = [await deliveries.receive()]
            assert entry.entry_id == two
            await entry.release(delay=0.3)
            assert one == held.entry_id
            await ghost.look()
        again = await deliveries.receive()
        await again.ack()
        await held.ack()


async def test_strangers_in_the_group_are_found(autojump_clock: MockClock, world: World) -> None:
    """What a member without an order gave back is in no line: a look tells, and a survey."""
    work = Work()
    bus = world.bus()
    async with open_subscription(bus, ORDERED, work) as s:
        await until(lambda: s.statistics().active)
        await trio.sleep(LEASE + 1)
        stranger = member("stranger")
        async with world.backend.join(stranger) as them, trio.open_nursery() as nursery:

            async def read() -> None:
                (entry,) = await them.read(1, 10)
                await them.settle([Release(entry.receipt)])

            flaky(world).fail("draw", *[ConnectionLost("cut")] * 3)
            nursery.start_soon(read)
            await trio.sleep(0.1)
            await publish(bus, "a1")
        await until(lambda: s.statistics().handled == 1)
    assert work.started == ["a1"]


async def test_what_is_sent_back_comes_before_what_is_ready(
    autojump_clock: MockClock, world: World
) -> None:
    """Though nothing is free, and there is always something else that could start."""

    async def handle(delivery: Delivery) -> None:
        if delivery.message.payload == b"a0" and not work.started:
            work.log.append((0.0, "a0"))
            await delivery.reject("not yet")
            return
        await work(delivery)

    work, bus = Work(), world.bus()
    async with open_subscription(bus, attrs.evolve(ORDERED, max_in_flight=1), handle) as s:
        await publish(bus, "a0", "a1", "b1", "c1", "a2", "b2", "c2")
        await until(lambda: work.started == ["a0", "a1"])
        outcome = await bus.redrive("{orders}.dead", everything=True)
        assert [it.result for it in outcome.results] == [Redriven.DONE]
        await until(lambda: s.statistics().handled == 7)
    assert [text for _, text in work.log] == ["a0", "a1", "a0", "b1", "c1", "a2", "b2", "c2"]


@pytest.mark.parametrize("meanwhile", [[], ["b1"]])
async def test_what_is_sent_back_while_it_reads_starts_soon(
    autojump_clock: MockClock, world: World, meanwhile: list[str]
) -> None:
    """Whether that read brings something or not."""
    work, bus = Work(failing=["a1"]), world.bus()
    settings = attrs.evolve(ORDERED, max_retry=0, dead_letter_topic=None, block_timeout=LEASE)
    async with open_subscription(bus, settings, work) as s:
        await publish(bus, "a1")
        await until(lambda: s.statistics().rejected == 1)
        await trio.sleep(10.0)
        flaky(world).delay("draw", 0.5)
        await publish(bus, *meanwhile, "c1")
        if not meanwhile:
            await until(lambda: s.statistics().handled == 1)
        await trio.sleep(0.2)
        began = trio.current_time()
        await bus.redrive("orders", everything=True)
        await until(lambda: work.started.count("a1") == 2)
        assert trio.current_time() - began < 0.6


async def test_what_is_sent_back_waits_for_what_another_consumer_still_handles(
    autojump_clock: MockClock, world: World
) -> None:
    """It is older, and had freed its key: a later one may run where its consumer is leaving.

    That one has begun, and begins again first when its lease has run out.
    """
    bus = world.bus()
    await world.backend.create_group("orders", "billing", None)
    ids = await publish(bus, "a0", *(f"b{number}" for number in range(200)), "a1", "a2")
    async with world.backend.join(member("ghost", LEASE)) as ghost:
        token = await ghost.lead(None)
        assert token is not None
        assert await ghost.draw(token, 300) is not None
        assert await ghost.start(token, [ids[-2]]) is not None
        await ghost.give_up_lead()
        work = Work(dict.fromkeys((f"b{number}" for number in range(200)), 0.0))
        async with open_subscription(bus, ORDERED, work) as s:
            await until(lambda: s.statistics().handled == 203)
    keyed = [(when, text) for when, text in work.log if text[0] == "a"]
    assert [text for _, text in keyed] == ["a1", "a0", "a2"]
    assert keyed[0][0] >= LEASE


async def test_without_anybody_active_what_waits_is_anybodys(
    autojump_clock: MockClock, world: World
) -> None:
    """A group whose consumers keep no order any more loses nothing."""
    bus = world.bus()
    async with open_subscription(bus, BRIEF, Work({"a1": 1000.0})):
        await publish(bus, "a1", "a2")
        await until(lambda: len(world.recorder.ids(Transition.STARTED)) == 1)
        await trio.sleep(0.5)
        assert (await world.group()).parked == 1
    work = Work()
    plain = attrs.evolve(config(), claim_idle_timeout=LEASE)
    async with open_subscription(bus, plain, work) as s:
        await until(lambda: s.statistics().handled == 2)
    assert sorted(work.started) == ["a1", "a2"]


async def test_nobody_can_be_told_that_the_lead_is_given_up(
    autojump_clock: MockClock, world: World
) -> None:
    async with open_subscription(world.bus(), ORDERED, Work()) as s:
        await until(lambda: s.statistics().active)
        flaky(world).fail("give_up_lead", ConnectionLost("cut"))
    assert Scope.RELEASE in {it.scope for it in world.recorder.errors}


# What a backend does, on memory and on servers.


async def check_contract(world: World) -> None:  # noqa: PLR0915 - one story
    """Go through what can become of a lead, and of entries that are to be started."""
    backend, bus = world.backend, world.bus()
    await backend.create_group("orders", "billing", EntryId(0, 0))
    async with backend.join(member("us", 2.0)) as us, backend.join(member("them", 2.0)) as them:
        token = await us.lead(None)
        assert token is not None
        assert await them.lead(None) is None
        assert await us.lead(token) == token
        newer = await us.lead(None)
        assert newer is not None
        assert newer > token
        assert await us.lead(token) is None, "it is not the newest"
        assert await us.draw(token, 1) is None
        assert await us.start(token, [EntryId(1)]) is None
        empty = await us.draw(newer, 5)
        assert empty is not None
        assert empty == Queue((), empty.last)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(us.grown, empty.last or EntryId(0, 0), 10.0)
                await trio.sleep(0.05)
                ids = await publish(bus, "a1", "a2", "a3", "a4", "a5")
            await us.grown(EntryId(0, 0), 10.0)
        await us.grown(ids[-1], 0.01)
        drawn = await us.draw(newer, 5)
        assert drawn is not None
        assert [it.id for it in drawn.entries] == ids
        assert drawn.last == ids[-1]
        assert (await world.group()).parked == 5
        start = await us.start(newer, [*ids[:4], EntryId(1)])
        assert start is not None
        assert [(it.id, it.attempt) for it in start.taken.entries] == [(it, 1) for it in ids[:4]]
        assert start.over == (EntryId(1),)
        receipts = [it.receipt for it in start.taken.entries]
        await us.settle([Ack(receipts[0]), Retry(receipts[1], 30.0), Release(receipts[2])])
        if isinstance(backend, FlakyBackend):
            assert backend.inner.delete_entry("orders", ids[4])
        else:
            world.delete_entry(ids[4])
        again = await us.start(newer, ids)
        assert again is not None
        assert (again.over, [it.id for it in again.taken.entries]) == ((ids[0],), [ids[2]])
        assert again.taken.gone == (ids[4],)
        assert 29 < again.due[ids[1]] <= 30.01  # servers count whole milliseconds
        assert 0 < again.held[ids[3]] <= 2.01
        whole = await them.survey(None, 2)
        assert [(it.id, it.held) for it in whole.entries] == [(ids[1], False), (ids[2], True)]
        rest = await them.survey(whole.last, 2)
        assert ([it.id for it in rest.entries], rest.last) == ([ids[3]], None)
        await us.give_up_lead()
        await us.give_up_lead()
        theirs = await them.lead(None)
        assert theirs is not None
        assert theirs > newer
        await trio.sleep(2.1)
        late = await them.start(theirs, [ids[3]])
        assert late is not None
        assert [(it.id, it.attempt) for it in late.taken.entries] == [(ids[3], 2)]
        assert await us.lead(None) is not None, "their lease has run out"


async def test_the_contract_in_memory(autojump_clock: MockClock, world: World) -> None:
    await check_contract(world)


async def test_the_contract_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_contract(world)


async def check_suspects(world: World) -> None:
    """What lost its owner twice is set apart, and taken by whoever asks for it alone."""
    await world.backend.create_group("orders", "billing", EntryId(0, 0))
    (one,) = await publish(world.bus(), "a1")
    async with world.backend.join(member("us", 1.0)) as us:
        token = await us.lead(None)
        assert token is not None
        await us.draw(token, 1)
        for attempt in (1, 2):
            token = await us.lead(None)
            assert token is not None
            start = await us.start(token, [one])
            assert start is not None
            assert [it.attempt for it in start.taken.entries] == [attempt]
            await trio.sleep(1.05)
        token = await us.lead(None)
        assert token is not None
        start = await us.start(token, [one])
        assert start is not None
        assert [it.id for it in start.taken.suspects] == [one]
        start = await us.start(token, [one])
        assert start is not None
        assert (start.apart, start.taken) == ((one,), TakeOver())
        start = await us.start(token, [one], alone=True)
        assert start is not None
        (entry,) = start.taken.entries
        assert (entry.attempt, entry.suspect) == (3, True)
        await us.settle([Release(entry.receipt, 0.05)])
        await trio.sleep(0.1)
        token = await us.lead(None)
        assert token is not None
        start = await us.start(token, [one])
        assert start is not None
        assert [it.id for it in start.taken.suspects] == [one]


async def test_suspects_in_memory(autojump_clock: MockClock, world: World) -> None:
    await check_suspects(world)


async def test_suspects_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_suspects(world)


async def check_life(world: World) -> None:
    """Handle in order, with retries, while one leaves and the next one goes on."""
    done = list[str]()
    failing = {"a2", "b1"}

    async def handle(delivery: Delivery) -> None:
        text = delivery.message.payload.decode()
        if text in failing:
            failing.remove(text)
            raise OSError(text)
        done.append(text)

    settings = attrs.evolve(ORDERED, retry_backoff=Backoff(first=0.05, jitter=0.0))
    async with open_subscription(world.bus(), settings, handle) as first:
        await until(lambda: first.statistics().active)
        async with open_subscription(world.bus(), settings, handle) as second:
            await publish(world.bus(), "a1", "a2", "a3", "b1", "b2")
            await until(lambda: len(done) == 5)
            await first.drain()
            await publish(world.bus(), "a4", "b3")
            await until(lambda: len(done) == 7)
            await until(lambda: second.statistics().handled == 2)
    for key in "ab":
        mine = [text for text in done if text[0] == key]
        assert mine == sorted(mine)


async def test_a_life_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_life(world)


def test_lines() -> None:
    """Heads alone may start; a lower id that comes late comes next."""
    lines, ids = Lines(), [EntryId(number) for number in range(1, 7)]
    one, two_, three, four, five, six = ids
    lines.add(three, "a")
    lines.add(two_, "a")
    lines.add(two_, "a")
    lines.add(four, None)
    assert lines.ready(0.0) == 2
    assert lines.take(0.0, 5) == [two_, four]
    assert lines.parked == 1
    lines.add(one, "a")
    lines.again(two_, 5.0)
    assert lines.take(0.0, 5) == [one]
    lines.over(one)
    assert lines.take(0.0, 5) == [two_]
    lines.again(two_, 5.0, held=True)
    assert (lines.ready(0.0), lines.next_time()) == (0, 5.0)
    lines.hurry(0.0)
    assert lines.take(0.0, 5) == [two_]
    lines.retire(two_, 7.0)
    lines.retire(two_, 8.0)
    assert lines.next_time() == 7.0
    lines.over(three)
    assert lines.take(7.0, 5) == [two_]
    lines.add(six, "a")
    lines.again(six, 0.0)
    assert lines.ready(7.0) == 0
    lines.over(six)
    lines.over(two_)
    lines.over(two_)
    lines.again(two_, 0.0)
    lines.again(four, 0.0)
    lines.add(five, "b")
    assert lines.ready(0.0) == 2
    lines.over(four)
    assert lines.take(0.0, 5) == [five]
    assert two_ not in lines


def test_what_somebody_else_has_is_the_head_of_its_line() -> None:
    """Though others are older; until it is over, or nobody has it any more."""
    lines, (one, two_, three, four) = Lines(), [EntryId(number) for number in range(1, 5)]
    lines.add(two_, "a")
    lines.add(three, "a", held=True)
    lines.add(four, "a", held=True)
    lines.add(one, "a")
    assert lines.take(0.0, 5) == [three]
    lines.again(three, 5.0, held=True)
    assert (lines.ready(0.0), lines.next_time()) == (0, 5.0)
    lines.hurry(0.0)
    assert lines.take(0.0, 5) == [three]
    lines.again(three, 5.0)
    assert lines.take(0.0, 5) == [one]
    lines.over(one)
    assert lines.take(0.0, 5) == [two_]
