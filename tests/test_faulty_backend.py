"""A faulty backend fails as it was told, and otherwise does what its inner one does."""

from __future__ import annotations

from math import inf

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import Persisting
from tests.harness import Recorder, config
from trio_bus import (
    Bus,
    BusOptions,
    ConnectionLost,
    Delivery,
    EntryId,
    MemoryBackend,
    Message,
    NotPersisted,
    OutcomeUnknown,
    Unsupported,
    ValidationError,
    open_subscription,
)
from trio_bus.abc import Ack, Append, Entry, GroupMember, Membership, Record, StreamBackend
from trio_bus.testing import Done, FaultyBackend
from trio_bus.testing._planned_failures import OPERATIONS

US = Membership(topic="orders", group="billing", consumer="us", lease=60.0, max_attempt=3)
RECORDS: list[Record] = [((b"number", b"%d" % number),) for number in range(4)]
CUT = ConnectionLost("cut")


@pytest.fixture
def faulty() -> FaultyBackend[MemoryBackend]:
    """Give one on empty streams."""
    return FaultyBackend(MemoryBackend())


async def length(inner: MemoryBackend) -> int:
    """Count what is in the stream, behind the back of the faulty one."""
    return (await inner.info("orders")).length


@pytest.mark.parametrize(("done", "stored"), [*zip(Done, (0, 2, 4), strict=True)])
async def test_an_append_fails_with_as_much_done_as_it_was_told(
    faulty: FaultyBackend[MemoryBackend], done: Done, stored: int
) -> None:
    faulty.fail("append", OutcomeUnknown("lost"), done=done)
    outcomes = await faulty.append("orders", RECORDS)
    assert [str(it) for it in outcomes] == ["lost"] * 4
    assert {type(it) for it in outcomes} == {OutcomeUnknown}
    assert await length(faulty.inner) == stored
    assert all(isinstance(it, EntryId) for it in await faulty.append("orders", RECORDS))
    assert faulty.calls == {"append": 2}
    assert faulty.left("append") == 0


async def received(faulty: FaultyBackend[MemoryBackend], count: int) -> list[Entry]:
    """Publish so many, and read them as the one consumer there is."""
    await faulty.create_group("orders", "billing", EntryId(0))
    await faulty.append("orders", RECORDS[:count])
    async with faulty.join(US) as member:
        return await member.read(count, 1.0)


@pytest.mark.parametrize(("done", "left"), [*zip(Done, (2, 1, 0), strict=True)])
async def test_settlements_fail_with_as_much_done(
    faulty: FaultyBackend[MemoryBackend], done: Done, left: int
) -> None:
    entries = await received(faulty, 2)
    faulty.fail("settle", CUT, done=done)
    async with faulty.join(US) as member:
        with pytest.raises(ConnectionLost, match="cut"):
            await member.settle([Ack(entry.receipt) for entry in entries])
    assert (await faulty.info("orders")).groups[0].pending == left


async def test_an_answer_comes_late_and_something_happens_before(
    faulty: FaultyBackend[MemoryBackend], autojump_clock: MockClock
) -> None:
    happened: list[float] = []
    faulty.when_done("info", lambda: happened.append(trio.current_time()))
    faulty.delay("info", 5.0, inf)
    began = trio.current_time()
    await faulty.info("orders")
    assert (happened, trio.current_time()) == ([began], began + 5.0)
    with trio.move_on_after(1e6) as scope:
        await faulty.info("orders")
    assert scope.cancelled_caught
    await faulty.info("orders")


async def test_a_read_that_brings_nothing_is_not_what_was_waited_for(
    faulty: FaultyBackend[MemoryBackend], autojump_clock: MockClock
) -> None:
    happened: list[str] = []
    faulty.when_done("read", lambda: happened.append("it"))
    await faulty.create_group("orders", "billing", EntryId(0))
    async with faulty.join(US) as member:
        assert not await member.read(1, 0.1)
        assert not happened
    assert await received(faulty, 1)
    assert happened == ["it"]


async def test_what_is_queued_fails_at_once(faulty: FaultyBackend[MemoryBackend]) -> None:
    outcomes: list[EntryId | Exception] = []
    faulty.fail("append_nowait", CUT, done=Done.EVERYTHING)
    for _ in range(2):
        faulty.append_nowait("orders", RECORDS[0], None, outcomes.append)
    assert outcomes[0] is CUT
    assert isinstance(outcomes[1], EntryId)
    assert await length(faulty.inner) == 1


async def test_too_few_copies_name_what_is_stored() -> None:
    faulty, appends = FaultyBackend(Persisting()), [Append("orders", RECORDS[0], None)]
    faulty.fail("append_persisted", NotPersisted(EntryId(0), 1, 0, 2), CUT)
    (outcome,) = await faulty.append_persisted(appends, 2)
    assert isinstance(outcome, NotPersisted)
    assert (outcome.entry_id == EntryId(0), outcome.local, outcome.replicas) == (False, 1, 0)
    assert await faulty.append_persisted(appends, 2) != [CUT]
    assert await length(faulty.inner) == 1


async def test_what_is_not_stored_is_no_copy(faulty: FaultyBackend[MemoryBackend]) -> None:
    """A memory has no disk."""
    faulty.fail("append_persisted", NotPersisted(EntryId(0), 1, 0, 2))
    (outcome,) = await faulty.append_persisted([Append("orders", RECORDS[0], None)], 2)
    assert isinstance(outcome, Unsupported)


async def test_by_chance_the_same_calls_fail_in_the_same_way() -> None:
    async def run(seed: int) -> list[str]:
        faulty, found = FaultyBackend(MemoryBackend()), list[str]()
        faulty.fail_at_random(0.3, seed=seed)
        for _ in range(100):
            found += [str(it) for it in await faulty.append("orders", RECORDS[:2])]
            try:
                found.append(str((await faulty.info("orders")).length))
            except ConnectionLost as error:
                found.append(str(error))
        return [it if "fail" in it else "fine" for it in found]

    assert await run(1) == await run(1) != await run(2)
    told = set(await run(1))
    ways = {f"append: it was to fail, with {done.value} done" for done in Done}
    assert ways | {"fine", "info: it was to fail, with nothing done"} <= told


async def test_whatever_goes_wrong_by_chance_everything_is_handled(
    autojump_clock: MockClock,
) -> None:
    faulty, handled = FaultyBackend(MemoryBackend()), set[bytes]()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery.message.payload)

    recorder = Recorder()
    bus = Bus(faulty, BusOptions(observer=recorder))
    settings = attrs.evolve(config(), claim_idle_timeout=1.0)
    with trio.fail_after(600):
        async with open_subscription(bus, settings, handle):
            faulty.fail_at_random(0.3, seed=1)
            for number in range(20):
                message = Message("orders", b"%d" % number, idempotency_key=str(number))
                await bus.publish(message)
            while len(handled) < 20:
                await trio.sleep(0.1)
    assert handled == {b"%d" % number for number in range(20)}
    assert any("it was to fail" in str(event.error) for event in recorder.errors)


async def test_what_is_healed_fails_no_more(
    faulty: FaultyBackend[MemoryBackend], autojump_clock: MockClock
) -> None:
    faulty.fail("info", CUT, CUT)
    faulty.delay("info", 5.0)
    faulty.fail_at_random(1.0, seed=0)
    assert faulty.left("info") == 2
    faulty.heal()
    began = trio.current_time()
    await faulty.info("orders")
    assert trio.current_time() == began
    faulty.fail_at_random(1.0, seed=0)
    with pytest.raises(ConnectionLost, match="info: it was to fail, with"):
        await faulty.info("orders")


def test_what_cannot_work_is_refused_by_name(faulty: FaultyBackend[MemoryBackend]) -> None:
    with pytest.raises(ValidationError, match="operation: 'acknowledge' is none; there are append"):
        faulty.fail("acknowledge", CUT)
    with pytest.raises(ValidationError, match="done: 'read' cannot be done by half"):
        faulty.fail("read", CUT, done=Done.HALF)
    with pytest.raises(ValidationError, match="seconds: -1 is not 0 or more"):
        faulty.delay("read", -1)
    with pytest.raises(ValidationError, match=r"probability: 1\.5 is not from 0 to 1"):
        faulty.fail_at_random(1.5, seed=0)


def test_operations_are_the_methods_of_the_contract() -> None:
    methods = StreamBackend.__abstractmethods__ | GroupMember.__abstractmethods__
    assert methods - {"url", "join", "woken"} == OPERATIONS
