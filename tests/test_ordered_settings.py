"""What the order of keys means beside other settings and abilities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, open_world, until
from tests.test_ordering import BRIEF, LEASE, ORDERED, Work, flaky, member, publish
from trio_bus import (
    Batch,
    Bus,
    ConnectionLost,
    Delivery,
    EntryId,
    LeaseLost,
    Message,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus.testing import Done

COPIES = "{orders}.copies"
GUARDED = attrs.evolve(ORDERED, failure_threshold=2, max_retry=1)


def text_of(delivery: Delivery) -> str:
    """Return the payload."""
    return delivery.message.payload.decode()


async def check_batches(world: World) -> None:
    """A batch has one message of each key, and a retry of one of them holds up its key alone."""
    seen = list[list[str]]()
    failing = ["a1"]

    async def handle(batch: Batch) -> None:
        seen.append(sorted(text_of(it) for it in batch))
        for delivery in batch:
            if text_of(delivery) in failing:
                failing.remove(text_of(delivery))
                await batch.retry(delivery, "later", 0.2)

    await publish(world.bus(), "a1", "a2", "b1", "b2", "c1")
    async with open_subscription(world.bus(), ORDERED, batch_handler=handle) as s:
        await until(lambda: s.statistics().handled == 5)
    assert seen[0] == ["a1", "b1", "c1"]
    done = [text for batch in seen[1:] for text in batch]
    assert [text for text in done if text[0] == "a"] == ["a1", "a2"]
    assert [text for text in done if text[0] == "b"] == ["b2"]


async def test_batches_in_memory(autojump_clock: MockClock, world: World) -> None:
    await check_batches(world)


async def test_batches_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_batches(world)


async def test_batches_that_are_pulled(autojump_clock: MockClock, world: World) -> None:
    await publish(world.bus(), "a1", "a2", "b1", "b2")
    seen = list[list[str]]()
    async with open_subscription(world.bus(), ORDERED) as deliveries:
        async for batch in deliveries.batches(10, 0.5):
            async with batch:
                seen.append(sorted(text_of(it) for it in batch))
            if len(seen) == 2:
                break
    assert seen == [["a1", "b1"], ["a2", "b2"]]


async def check_transactions(world: World) -> None:
    """What is published with the ack of one stands before that of the next one of its key."""
    bus, failing = world.bus(), ["a2"]

    async def copy(delivery: Delivery) -> None:
        async with delivery.transaction() as tx:
            await tx.publish(Message(COPIES, delivery.message.payload))
            if text_of(delivery) in failing:
                failing.remove(text_of(delivery))
                raise OSError("not yet")

    settings = attrs.evolve(
        ORDERED,
        output_topics=(COPIES,),
        retry_backoff=attrs.evolve(ORDERED.retry_backoff, first=0.1),
    )
    await publish(bus, "a1", "a2", "a3", "b1")
    async with open_subscription(bus, settings, copy) as s:
        await until(lambda: s.statistics().handled == 4)
    copies = await read_all(bus, COPIES)
    assert [text for text in copies if text[0] == "a"] == ["a1", "a2", "a3"]
    assert len(copies) == 4


async def read_all(bus: Bus, topic: str) -> list[str]:
    """Return all payloads of a topic."""
    seen, count = list[str](), (await bus.info(topic)).length
    settings = SubscriptionConfig(topic, "reader")
    async with open_subscription(bus, settings) as deliveries:
        while len(seen) < count:
            async with await deliveries.receive() as delivery:
                seen.append(text_of(delivery))
    return seen


async def test_transactions_in_memory(autojump_clock: MockClock, world: World) -> None:
    await check_transactions(world)


async def test_transactions_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_transactions(world)


async def test_who_was_replaced_commits_nothing(autojump_clock: MockClock, world: World) -> None:
    """Its entry was started by the next one that is active."""
    bus, lost = world.bus(), list[Exception]()
    settings = attrs.evolve(ORDERED, output_topics=(COPIES,), drain_timeout=0.0)

    async def copy(delivery: Delivery) -> None:
        try:
            async with delivery.transaction() as tx:
                await tx.publish(Message(COPIES, b"twice"))
                with trio.CancelScope(shield=True):
                    await trio.sleep(2 * LEASE)
        except LeaseLost as error:
            lost.append(error)
            raise

    async with open_subscription(bus, settings, copy):
        (one,) = await publish(bus, "a1")
        await until(lambda: one in world.recorder.ids(Transition.STARTED))
        flaky(world).fail("lead", *[ConnectionLost("cut")] * 20)
        flaky(world).fail("renew", *[ConnectionLost("cut")] * 20)
        async with world.backend.join(member("thief", LEASE)) as thief:
            await trio.sleep(LEASE + 0.1)
            flaky(world).heal()
            token = await thief.lead(None)
            assert token is not None
            start = await thief.start(token, [one])
            assert start is not None
            assert len(start.taken.entries) == 1
            await trio.sleep(LEASE)
    assert (await bus.info(COPIES)).length == 0


@attrs.define
class Database:
    """What handlers need, and whether it is there."""

    down: bool = True
    tried: list[str] = attrs.field(factory=list[str])
    done: list[str] = attrs.field(factory=list[str])

    async def handle(self, delivery: Delivery) -> None:
        """Write something into it."""
        self.tried.append(text_of(delivery))
        await trio.sleep(0.01)
        if self.down:
            raise OSError("the database is down")
        self.done.append(text_of(delivery))

    def order_of(self, key: str) -> Sequence[str]:
        """Return what was done of a key, in order."""
        return [text for text in self.done if text[0] == key]


async def check_outage(world: World) -> None:
    """It counts nothing and keeps the order; each probe is of another key."""
    database = Database()
    bus = world.bus()
    settings = attrs.evolve(GUARDED, reclaim_interval=0.05)
    await publish(bus, "a1", "a2", "b1", "b2", "c1")
    async with open_subscription(bus, settings, database.handle) as s:
        await until(lambda: s.statistics().outage)
        before = len(database.tried)
        await until(lambda: len(database.tried) >= before + 4)
        probes = database.tried[before:]
        assert {"a2", "b2"}.isdisjoint(database.tried)
        assert all(one != other for one, other in pairwise(probes))
        database.down = False
        await until(lambda: s.statistics().handled == 5)
        assert (s.statistics().rejected, s.statistics().outage) == (0, False)
    assert database.order_of("a") == ["a1", "a2"]
    assert database.order_of("b") == ["b1", "b2"]


async def test_an_outage_in_memory(autojump_clock: MockClock, world: World) -> None:
    await check_outage(world)


async def test_an_outage_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_outage(world)


async def test_an_outage_looks_for_something_new(autojump_clock: MockClock, world: World) -> None:
    """Where all that it handed back waits, or is gone, what is new is a probe as well."""
    database, bus = Database(), world.bus()
    async with open_subscription(bus, GUARDED, database.handle) as s:
        ids = await publish(bus, "a1", "b1")
        await until(lambda: s.statistics().outage)
        for entry_id in ids:
            flaky(world).inner.delete_entry("orders", entry_id)
        database.down = False
        await trio.sleep(5.0)
        assert s.statistics().outage, "nothing has succeeded"
        await publish(bus, "c1")
        await until(lambda: not s.statistics().outage)
    assert database.done == ["c1"]


async def test_who_stands_by_probes_nothing(autojump_clock: MockClock, world: World) -> None:
    """Its outage lasts, and is over with its first success when it is active again."""
    database, bus = Database(), world.bus()
    async with open_subscription(bus, GUARDED, database.handle) as s:
        await publish(bus, "a1", "b1")
        await until(lambda: s.statistics().outage)
        flaky(world).fail("lead", *[ConnectionLost("cut")] * 30)
        async with flaky(world).inner.join(member("thief", 20.0)) as thief:
            await trio.sleep(LEASE + 0.1)
            assert await thief.lead(None) is not None
            flaky(world).heal()
            await until(lambda: not s.statistics().active)
            tried = len(database.tried)
            await trio.sleep(10.0)
            assert len(database.tried) == tried
            database.down = False
            await thief.give_up_lead()
            await until(lambda: s.statistics().handled == 2)
            assert not s.statistics().outage


@pytest.mark.parametrize("runs", [False, True], ids=["alone", "beside another"])
async def test_a_suspect_may_be_a_probe(
    autojump_clock: MockClock, world: World, *, runs: bool
) -> None:
    """When nothing runs any more: nothing starts beside it."""
    bus, backend = world.bus(), world.backend
    await backend.create_group("orders", "billing", EntryId(0, 0))
    database = Database()
    slow = Work({"d1": 4.0})
    (one,) = await publish(bus, "a1")

    async def handle(delivery: Delivery) -> None:
        if text_of(delivery) == "d1":
            await slow(delivery)
        else:
            await database.handle(delivery)

    async def lead(name: str) -> None:
        async with backend.join(member(name, 0.1)) as ghost:
            token = await ghost.lead(None)
            assert token is not None
            await ghost.draw(token, 10)
            start = await ghost.start(token, [one])
            assert start is not None
            assert len(start.taken.entries) == 1
        await trio.sleep(0.2)

    await lead("ghost-1")
    await lead("ghost-2")
    await publish(bus, *(["d1"] if runs else []), "b1", "c1")
    settings = attrs.evolve(GUARDED, max_retry=9)
    async with open_subscription(bus, settings, handle) as s:
        await until(lambda: s.statistics().outage)
        for text in ("b1", "c1"):
            assert text in database.tried
        began = trio.current_time()
        await until(lambda: "a1" in database.tried, 100)
        if runs:
            assert trio.current_time() - began > 1
        database.down = False
        await until(lambda: s.statistics().handled == (4 if runs else 3))


async def test_few_bytes(autojump_clock: MockClock, world: World) -> None:
    """What waits for its key is held by nobody: only what is started counts."""
    work, bus = Work(), world.bus()
    settings = attrs.evolve(ORDERED, max_in_flight_bytes=1)
    await publish(bus, "a1", "a2", "b1")
    async with open_subscription(bus, settings, work) as s:
        await until(lambda: s.statistics().handled == 3)
        assert s.statistics().handled == 3
    assert [text for text in work.started if text[0] == "a"] == ["a1", "a2"]


async def check_pause(world: World) -> None:
    """Whoever is paused leaves the lead to another one; what it still handles keeps its key."""
    work, bus = Work({"a1": 1.5}), world.bus()
    async with open_subscription(bus, ORDERED, work) as first:
        await until(lambda: first.statistics().active)
        async with open_subscription(bus, ORDERED, work) as second:
            await publish(bus, "a1", "a2")
            await until(lambda: work.started == ["a1"])
            first.pause()
            await publish(bus, "b1")
            await until(lambda: second.statistics().active)
            assert not first.statistics().active
            await until(lambda: second.statistics().handled == 2)
            second.pause()
            await publish(bus, "a3")
            await trio.sleep(0.3)
            assert not first.statistics().active
            first.resume()
            await until(lambda: first.statistics().handled == 2)
    assert [text for text in work.started if text[0] == "a"] == ["a1", "a2", "a3"]


async def test_a_pause_in_memory(autojump_clock: MockClock, world: World) -> None:
    await check_pause(world)


async def test_a_pause_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_pause(world)


async def test_a_pause_while_it_asks_for_the_lead(autojump_clock: MockClock, world: World) -> None:
    """It gets it, and gives it up at once."""
    flaky(world).delay("lead", 1.0)
    async with open_subscription(world.bus(), ORDERED, Work()) as s:
        await trio.sleep(0.5)
        s.pause()
        await trio.sleep(1.0)
        assert not s.statistics().active
        async with world.backend.join(member("other")) as other:
            assert await other.lead(None) is not None


async def test_a_pause_while_what_has_started_is_on_its_way(
    autojump_clock: MockClock, world: World
) -> None:
    """It is given back, uncounted, and comes again first."""
    work, bus = Work(), world.bus()
    flaky(world).delay("start", 1.0)
    await publish(bus, "a1", "a2")
    async with open_subscription(bus, ORDERED, work) as s:
        await trio.sleep(0.5)
        s.pause()
        await trio.sleep(2.0)
        assert (work.started, s.statistics().active) == ([], False)
        s.resume()
        await until(lambda: s.statistics().handled == 2)
    assert [(it.attempt, it.entry_id) for it in world.recorder.transitions if it.attempt == 2] == []
    assert work.started == ["a1", "a2"]


async def test_what_is_sent_back_comes_before_what_has_not_started(
    autojump_clock: MockClock, world: World
) -> None:
    """Later ones of its key were not held up by what was dead."""
    work, bus = Work({"a2": 3.0}, ["a1"]), world.bus()
    settings = attrs.evolve(ORDERED, max_retry=0, dead_letter_topic=None)
    async with open_subscription(bus, settings, work) as s:
        await publish(bus, "a1", "a2", "a3")
        await until(lambda: "a2" in work.started)
        await bus.redrive("orders", everything=True)
        await until(lambda: s.statistics().handled == 3)
    assert [text for _, text in work.log] == ["a1", "a2", "a1", "a3"]


async def test_what_is_sent_back_starts_soon(autojump_clock: MockClock, world: World) -> None:
    work, bus = Work(failing=["a1"]), world.bus()
    settings = attrs.evolve(ORDERED, max_retry=0, dead_letter_topic=None)
    async with open_subscription(bus, settings, work) as s:
        await publish(bus, "a1")
        await until(lambda: s.statistics().rejected == 1)
        await trio.sleep(10.0)
        began = trio.current_time()
        await bus.redrive("orders", everything=True)
        await until(lambda: s.statistics().handled == 1)
        assert trio.current_time() - began < 1.2


async def test_what_is_sent_back_twice_starts_soon_both_times(
    autojump_clock: MockClock, world: World
) -> None:
    """Although there was nothing more to find when it waited, the first time."""
    work, bus = Work({"b1": 5.0}, ["a1", "a1"]), world.bus()
    settings = attrs.evolve(
        ORDERED, max_in_flight=1, max_retry=0, dead_letter_topic=None, claim_idle_timeout=100.0
    )
    async with open_subscription(bus, settings, work) as s:
        await publish(bus, "a1", "b1")
        await until(lambda: "b1" in work.started)
        await bus.redrive("orders", everything=True)
        await until(lambda: s.statistics().rejected == 2)
        await trio.sleep(1.0)
        began = trio.current_time()
        await bus.redrive("orders", everything=True)
        await until(lambda: s.statistics().handled == 2)
        assert trio.current_time() - began < 1.2


async def test_a_term_that_ends_hears_what_it_has_asked(
    autojump_clock: MockClock, world: World
) -> None:
    """What was buried in its last step is told, though the answer comes when it is over."""
    bus, work = world.bus(), Work()
    await world.backend.create_group("orders", "billing", EntryId(0, 0))
    (one,) = await publish(bus, "a1")
    async with world.backend.join(member("ghost", 0.1)) as ghost:
        token = await ghost.lead(None)
        assert token is not None
        await ghost.draw(token, 1)
        start = await ghost.start(token, [one])
        assert start is not None
        await trio.sleep(LEASE)
    flaky(world).delay("start", 1.0)
    async with open_subscription(bus, attrs.evolve(ORDERED, max_retry=0), work) as s:
        await trio.sleep(0.5)
        assert s.statistics().active
        s.pause()
        await until(lambda: not s.statistics().active)
        assert world.recorder.ids(Transition.DEAD_LETTERED) == [one]
    assert work.started == []


async def suspects(world: World, *ids: EntryId) -> None:
    """Start these twice, and lose them."""
    await world.backend.create_group("orders", "billing", EntryId(0, 0))
    for name in ("ghost-1", "ghost-2"):
        async with world.backend.join(member(name, 0.1)) as ghost:
            token = await ghost.lead(None)
            assert token is not None
            await ghost.draw(token, 10)
            start = await ghost.start(token, ids)
            assert start is not None
            assert len(start.taken.entries) == len(ids)
        await trio.sleep(0.2)


async def test_many_wait_when_it_becomes_active(autojump_clock: MockClock, world: World) -> None:
    """It looks at all of them, part by part, before it reads."""
    bus = world.bus()
    ids = await publish(bus, *(f"{number}x" for number in range(250)))
    await world.backend.create_group("orders", "billing", EntryId(0, 0))
    async with world.backend.join(member("ghost", 0.1)) as ghost:
        token = await ghost.lead(None)
        assert token is not None
        assert await ghost.draw(token, 300) is not None
    work, settings = Work(), attrs.evolve(ORDERED, max_in_flight=300)
    async with open_subscription(bus, settings, work) as s:
        await until(lambda: s.statistics().handled == len(ids))
    assert len(work.started) == len(ids)


async def steal(world: World) -> None:
    """Let somebody else be active; the server forgets who was."""
    flaky(world).fail("lead", *[ConnectionLost("cut")] * 30)
    inner = flaky(world).inner
    async with inner.join(member("thief", 10.0)) as thief:
        inner.destroy_group("orders", "billing")
        await inner.create_group("orders", "billing", EntryId(0, 0))
        assert await thief.lead(None) is not None


async def test_who_was_replaced_probes_nothing(autojump_clock: MockClock, world: World) -> None:
    """Its token is not the newest: the server says so, and it stands by."""
    bus, database = world.bus(), Database()
    await publish(bus, "a1", "b1")
    async with open_subscription(
        bus, attrs.evolve(GUARDED, drain_timeout=0.0), database.handle
    ) as s:
        await until(lambda: s.statistics().outage)
        await steal(world)
        await until(lambda: not s.statistics().active)
        flaky(world).heal()


@pytest.mark.parametrize("done", [Done.NOTHING, Done.EVERYTHING])
async def test_a_probe_whose_answer_is_lost(
    autojump_clock: MockClock, world: World, done: Done
) -> None:
    """Another term begins, and nothing stays behind."""
    bus, database = world.bus(), Database()
    await publish(bus, "a1", "b1", "b2")
    async with open_subscription(bus, GUARDED, database.handle) as s:
        await until(lambda: s.statistics().outage)
        flaky(world).fail("start", ConnectionLost("cut"), done=done)
        await until(lambda: flaky(world).left("start") == 0, 100)
        database.down = False
        await until(lambda: s.statistics().handled == 3, 100)
    assert database.order_of("b") == ["b1", "b2"]


async def test_who_was_replaced_starts_no_suspect(autojump_clock: MockClock, world: World) -> None:
    bus, work = world.bus(), Work({"c1": 0.5})
    (one,) = await publish(bus, "a1")
    await suspects(world, one)
    await publish(bus, "c1")
    async with open_subscription(bus, BRIEF, work) as s:
        await until(lambda: "c1" in work.started)
        await steal(world)
        for operation in ("survey", "draw", "grown"):
            flaky(world).delay(operation, 5.0, 5.0)
        await until(lambda: not s.statistics().active)
        flaky(world).heal()
    assert work.started == ["c1"]


async def test_a_suspect_that_is_kept_open(autojump_clock: MockClock, world: World) -> None:
    """Whoever received it takes his time: it stays his, and others start beside it at last."""
    bus = world.bus()
    (one,) = await publish(bus, "a1")
    await suspects(world, one)
    async with open_subscription(bus, ORDERED) as deliveries:
        kept = await deliveries.receive()
        await publish(bus, "a2", "b1")
        await trio.sleep(2 * LEASE)
        async with await deliveries.receive() as other:
            assert text_of(other) == "b1"
        await kept.ack()
        async with await deliveries.receive() as later:
            assert text_of(later) == "a2"


async def test_what_arrives_when_an_outage_has_begun_is_handed_back(
    autojump_clock: MockClock, world: World
) -> None:
    """It was asked for before, and is one of those that are tried then, one by one."""
    bus, database = world.bus(), Database()

    async def handle(delivery: Delivery) -> None:
        await trio.sleep(0.5)
        await database.handle(delivery)

    async with open_subscription(bus, GUARDED, handle) as s:
        await publish(bus, "a1", "b1")
        await until(lambda: len(world.recorder.ids(Transition.STARTED)) == 2)
        flaky(world).delay("start", 1.0)
        await publish(bus, "c1")
        await until(lambda: s.statistics().outage)
        released = len(world.recorder.ids(Transition.RELEASED))
        await trio.sleep(0.6)
        assert len(world.recorder.ids(Transition.RELEASED)) > released
        database.down = False
        await until(lambda: s.statistics().handled == 3)
        assert s.statistics().rejected == 0


async def test_a_suspect_at_work_outlives_its_term(autojump_clock: MockClock, world: World) -> None:
    """It goes on, and nobody else of its key starts; then another one may be active."""
    bus, work = world.bus(), Work({"a1": 5.0})
    (one,) = await publish(bus, "a1")
    await suspects(world, one)
    async with open_subscription(bus, ORDERED, work) as s:
        await until(lambda: work.started == ["a1"])
        s.pause()
        await until(lambda: not s.statistics().active)
        await until(lambda: s.statistics().handled == 1)


async def test_two_suspects_have_no_turn_at_once(autojump_clock: MockClock, world: World) -> None:
    """When one has been waited for in vain, the next one waits as well, for a lease."""
    bus = world.bus()
    ids = await publish(bus, "a1", "b1")
    await suspects(world, *ids)
    await publish(bus, "c1")
    settings = attrs.evolve(ORDERED, claim_idle_timeout=0.5)
    async with open_subscription(bus, settings) as deliveries:
        held = await deliveries.receive()
        await trio.sleep(3.0)
        assert text_of(held) == "c1"
        await held.ack()
        for text in ("a1", "b1"):
            with trio.fail_after(20):
                async with await deliveries.receive() as delivery:
                    assert text_of(delivery) == text
