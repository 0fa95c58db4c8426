"""Publishing later: what is scheduled waits on the server, comes in time, in order and once."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, numbered, open_world, until
from tests.redis_world import command as redis_command
from tests.restartable import running
from tests.servers import command
from tests.test_wake import PROMPT, SLOW
from trio_bus import (
    Bus,
    BusClosed,
    BusOptions,
    Confirmation,
    ConnectionLost,
    Delivery,
    EntryId,
    Message,
    OutcomeUnknown,
    PublishOptions,
    RemoteError,
    ScheduleId,
    Scope,
    ValidationError,
    open_bus,
    open_redis,
    open_subscription,
)
from trio_bus._redis.schedule import schedule_keys
from trio_bus._scheduler import check_when
from trio_bus.abc import Look, Membership, Retry
from trio_bus.testing import Done

pytestmark = pytest.mark.every_server

AUDITOR = Membership(topic="orders", group="audit", consumer="us", lease=60.0, max_attempt=3)

IN_TIME = 0.05 + PROMPT
"""Seconds: what is promised, and what a loaded machine may add to the best of some."""

LATEST = 10.0
"""Seconds: what a machine that stalls may add to any; far less than a tick of `SLOW`."""


@attrs.define
class Arrivals:
    """A handler that notes what came, and when."""

    payloads: list[bytes] = attrs.field(factory=list[bytes])
    times: list[float] = attrs.field(factory=list[float])

    async def __call__(self, delivery: Delivery) -> None:
        """Note it."""
        self.payloads.append(delivery.message.payload)
        self.times.append(trio.current_time())

    def of(self, number: int) -> float:
        """Return when this one came."""
        return self.times[self.payloads.index(str(number).encode())]


@pytest.fixture
async def real(backend_url: str) -> AsyncGenerator[World]:
    """Give a world in memory, or on a real server."""
    async with open_world(backend_url) as world:
        yield world


def message(number: int = 0, key: str | None = None) -> Message:
    """Make a message whose payload is a number."""
    return Message("orders", str(number).encode(), idempotency_key=key)


async def test_it_comes_in_time_to_who_was_there_before(real: World) -> None:
    """Woken for it, not at a tick, which is far away; never early."""
    arrivals = Arrivals()
    async with open_subscription(real.bus(), SLOW, arrivals):
        await trio.sleep(0.1)
        due: list[float] = []
        for number in range(5):
            began = trio.current_time()
            await real.bus().schedule(message(number), delay=0.2)
            due.append(began + 0.2)
            await until(lambda: len(arrivals.times) == len(due))
    late = [came - wanted for came, wanted in zip(arrivals.times, due, strict=True)]
    assert min(late) >= 0
    assert min(late) < IN_TIME, late
    assert max(late) < LATEST, late


async def test_it_comes_in_time_to_who_came_later(real: World) -> None:
    """The bus that scheduled it is closed; a subscription that is opened then finds out."""
    arrivals = Arrivals()
    bus = real.bus()
    began = trio.current_time()
    await bus.schedule(message(1), delay=0.6)
    await bus.schedule(message(0), delay=0.0)
    bus.close()
    async with open_subscription(real.bus(), SLOW, arrivals):
        await until(lambda: len(arrivals.times) == 2)
    assert sorted(arrivals.payloads) == numbered(2)
    assert 0.6 <= arrivals.of(1) - began < 0.6 + LATEST


async def test_an_instant_is_an_instant(real: World) -> None:
    """In any time zone; one that is over means now."""
    arrivals = Arrivals()
    async with open_subscription(real.bus(), SLOW, arrivals):
        began = trio.current_time()
        soon = datetime.now(timezone(timedelta(hours=7))) + timedelta(seconds=0.4)
        await real.bus().schedule(message(2), at=soon)
        await real.bus().schedule(message(0), at=datetime(1969, 1, 1, tzinfo=UTC))
        await until(lambda: len(arrivals.times) == 1)
        await real.bus().schedule(message(1), at=datetime(2020, 1, 1, tzinfo=UTC))
        await until(lambda: len(arrivals.times) == 3)
    assert sorted(arrivals.payloads) == numbered(3)
    assert 0.38 <= arrivals.of(2) - began < 0.4 + LATEST


@pytest.mark.guards("a delay is a sleep")
async def test_in_virtual_time_it_comes_exactly_when_it_is_due(
    autojump_clock: MockClock, world: World
) -> None:
    """After hours, wherever its ticks are."""
    arrivals = Arrivals()
    settings = attrs.evolve(SLOW, reclaim_interval=3600.0)
    async with open_subscription(world.bus(), settings, arrivals):
        began = trio.current_time()
        delays = [600.0, 4321.0, 9999.5]
        for number, delay in enumerate(delays):
            await world.bus().schedule(message(number), delay=delay)
        await trio.sleep(10_000)
    assert [time - began for time in arrivals.times] == pytest.approx(delays, abs=0.003)


async def test_what_is_cancelled_does_not_come(real: World) -> None:
    """Once, and only before it came; the id survives as text."""
    arrivals = Arrivals()
    bus = real.bus()
    gone = await bus.schedule(message(7), delay=0.3)
    kept = await bus.schedule(message(0), delay=0.3)
    assert await bus.cancel_scheduled(ScheduleId.parse(str(gone)))
    assert not await bus.cancel_scheduled(gone)
    async with open_subscription(real.bus(), SLOW, arrivals):
        await until(lambda: len(arrivals.times) == 1)
        assert not await bus.cancel_scheduled(kept)
        assert not await bus.cancel_scheduled(ScheduleId("elsewhere", kept.uid))
        await trio.sleep(0.1)
    assert arrivals.payloads == numbered(1)


async def test_two_groups_get_one_copy_each(real: World) -> None:
    """However many members look at the moment when it is due."""
    first, second = Arrivals(), Arrivals()
    other = attrs.evolve(SLOW, group="shipping")
    async with (
        open_subscription(real.bus(), SLOW, first),
        open_subscription(real.bus(), SLOW, first),
        open_subscription(real.bus(), other, second),
        open_subscription(real.bus(), other, second),
    ):
        await trio.sleep(0.1)
        for number in range(10):
            await real.bus().schedule(message(number), delay=0.2)
        await until(lambda: len(first.payloads) >= 10 and len(second.payloads) >= 10)
        await trio.sleep(0.1)
    assert sorted(first.payloads) == sorted(second.payloads) == numbered(10)
    assert (await real.backend.info("orders")).length == 10


@pytest.mark.bulk
@pytest.mark.any_python
async def test_many_at_one_time_come_in_order(real: World) -> None:
    """Ten thousand that are due together, behind one that was due earlier; a look moves some."""
    count = 10_000
    instant = datetime(2020, 1, 1, tzinfo=UTC)
    backend = real.backend
    await backend.create_group("orders", "audit", EntryId(0))
    for number in range(1, count):
        await backend.schedule("orders", ((b"n", b"%d" % number),), str(number), instant)
    await backend.schedule("orders", ((b"n", b"0"),), "0", instant - timedelta(days=1))
    looks = 0
    async with backend.join(AUDITOR) as us:
        while (await us.look()).due_in is not None:
            looks += 1
            assert (await backend.info("orders")).length <= 100 * looks, "a look is bounded"
        entries = await us.read(count + 1, 0)
    assert [entry.record[0][1] for entry in entries] == numbered(count)
    assert looks <= count / 100


async def test_large_ones_are_moved_few_at_a_time(server_url: str) -> None:
    """A look stops after about a megabyte; bytes, order and duplicate fields survive."""
    every = bytes(range(256)) * 2000
    record = ((b"a:1", every), (b"", b""), (b"a:1", b"7:x"), (b"\r\n", b"\0"))
    async with open_world(server_url) as world:
        backend = world.backend
        await backend.create_group("orders", "audit", EntryId(0))
        for number in range(9):
            await backend.schedule("orders", record, str(number), 0.0)
        async with backend.join(AUDITOR) as us:
            look = await us.look()
            assert look.due_in == 0
            assert 2 <= (await backend.info("orders")).length <= 3
            while (await us.look()).due_in is not None:
                pass
            entries = await us.read(10, 0)
    assert [entry.record for entry in entries] == [record] * 9


async def test_the_largest_record_passes_and_a_larger_one_is_refused(real: World) -> None:
    """A script can pass on only so many arguments; whoever schedules is told at once."""
    backend = real.backend
    await backend.create_group("orders", "audit", EntryId(0))
    field = ((b"n", b"1"),)
    async with backend.join(AUDITOR) as us:
        await backend.schedule("orders", field * 3500, "large", 0.0)
        for refused in ((), field * 3501):
            with pytest.raises(ValidationError, match="fields"):
                await backend.schedule("orders", refused, "larger", 0.0)
        await us.look()
        (entry,) = await us.read(2, 0)
    assert entry.record == field * 3500


async def test_a_look_says_when_the_next_is_due(real: World) -> None:
    """Of what is scheduled, and of what waits in the group; None if nothing waits."""
    backend = real.backend
    await backend.create_group("orders", "audit", EntryId(0))
    async with backend.join(AUDITOR) as us:
        look = await us.look()
        assert look == Look(claimable=False, due_in=None, quiet_for=look.quiet_for)
        await backend.schedule("orders", ((b"n", b"1"),), "far", 100.0)
        look = await us.look()
        assert look.due_in is not None
        assert 99 < look.due_in <= 100.001
        await backend.schedule("orders", ((b"n", b"1"),), "now", 0.0)
        await us.look()
        (entry,) = await us.read(1, 0)
        await us.settle([Retry(entry.receipt, 50.0)])
        look = await us.look()
        assert look.due_in is not None
        assert 49 < look.due_in <= 50.001
        assert not look.claimable
        assert await backend.cancel_scheduled("orders", "far")
        assert not await backend.cancel_scheduled("orders", "now")


async def test_one_key_is_scheduled_once(real: World) -> None:
    """Within the window the first id comes back; a cancelled one may be scheduled again."""
    bus = real.bus()
    first = await bus.schedule(message(0, "k"), delay=60)
    assert await bus.schedule(message(1, "k"), delay=0) == first
    assert await bus.schedule(message(1, "other"), delay=60) != first
    assert await bus.schedule(attrs.evolve(message(1, "k"), topic="other"), delay=60) != first
    assert await bus.schedule(message(1), delay=60) != await bus.schedule(message(1), delay=60)
    assert await bus.cancel_scheduled(first)
    second = await bus.schedule(message(0, "k"), delay=0)
    assert second != first
    arrivals = Arrivals()
    async with open_subscription(real.bus(), SLOW, arrivals):
        await until(lambda: len(arrivals.payloads) == 1)
        assert await bus.schedule(message(1, "k"), delay=0) == second, "it came, and is remembered"
    short = Bus(real.backend, BusOptions(dedup_window=0.05))
    third = await short.schedule(message(2, "brief"), delay=60)
    await trio.sleep(0.1)
    assert await short.schedule(message(2, "brief"), delay=60) != third


async def test_a_refused_marker_leaves_nothing_scheduled(server_url: str) -> None:
    """A user who may not write markers is told, and nothing comes."""
    async with open_world(server_url) as world, open_bus(server_url) as admin:
        assert admin.url is not None
        allowed = "~orders ~*8:schedule* ~*9:scheduled*"
        command(server_url, f"ACL SETUSER weak on >pw &* +@all {allowed}")
        try:
            async with open_bus(server_url.replace("://", "://weak:pw@")) as bus:
                await bus.schedule(message(0), delay=60)
                with pytest.raises(RemoteError):
                    await bus.schedule(message(1, "k"), delay=0)
        finally:
            command(server_url, "ACL DELUSER weak")
        await world.backend.create_group("orders", "audit", EntryId(0))
        async with world.backend.join(AUDITOR) as us:
            look = await us.look()
        assert look.due_in is not None
        assert look.due_in > 50


NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001 - that is what is wrong with it
BEYOND = datetime.max.replace(tzinfo=timezone(timedelta(hours=-7)))


@pytest.mark.parametrize(
    ("delay", "at", "field"),
    [
        (None, None, "delay"),
        (1.0, datetime(2030, 1, 1, tzinfo=UTC), "delay"),
        (-0.1, None, "delay"),
        (math.nan, None, "delay"),
        (math.inf, None, "delay"),
        (True, None, "delay"),
        ("1", None, "delay"),
        (None, NAIVE, "at"),
        (None, "2030-01-01", "at"),
        (None, BEYOND, "at"),
    ],
)
def test_times_that_make_no_sense(delay: object, at: object, field: str) -> None:
    """Exactly one of both, and a real one; the text names it."""
    with pytest.raises(ValidationError, match=rf"^{field}: "):
        check_when(delay, at)


async def test_what_else_is_refused() -> None:
    """What cannot be waited for, what is too large, and a closed bus."""
    async with open_bus("memory:", BusOptions(max_payload_bytes=3)) as bus:
        persisted = PublishOptions(confirmation=Confirmation.PERSISTED)
        with pytest.raises(ValidationError, match=r"^confirmation: "):
            await bus.schedule(message(), delay=1, options=persisted)
        with pytest.raises(ValidationError, match=r"^payload: "):
            await bus.schedule(message(1000), delay=1)
        with pytest.raises(ValidationError, match=r"^idempotency_key: "):
            await bus.schedule(message(1, ""), delay=1)
        kept = await bus.schedule(message(), delay=1)
    with pytest.raises(BusClosed):
        await bus.schedule(message(), delay=1)
    with pytest.raises(BusClosed):
        await bus.cancel_scheduled(kept)


@pytest.mark.parametrize("topic", ["orders", "a:b", "{t}:x", "ü 1"])
@pytest.mark.parametrize("uid", ["0" * 32, f"{'a' * 32}-{'b' * 32}"])
def test_an_id_is_text_and_back(topic: str, uid: str) -> None:
    """Whatever the topic is called."""
    schedule_id = ScheduleId(topic, uid)
    assert ScheduleId.parse(str(schedule_id)) == schedule_id


@pytest.mark.parametrize("text", ["", "orders", ":", "0:orders", f"{'0' * 32}:", f"{'0' * 32}"])
def test_what_is_no_id(text: str) -> None:
    """It is refused, with the text."""
    with pytest.raises(ValidationError):
        ScheduleId.parse(text)
    with pytest.raises(ValidationError, match="uid"):
        ScheduleId("orders", f"{text}-")


async def test_options_are_those_of_a_publish(real: World) -> None:
    """Metadata becomes headers."""
    headers: list[str | None] = []

    async def look(delivery: Delivery) -> None:
        headers.append(delivery.message.headers.get("who"))

    async with open_subscription(real.bus(), SLOW, look):
        options = PublishOptions(metadata={"who": "me"})
        await real.bus().schedule(message(), delay=0, options=options)
        await until(lambda: bool(headers))
    assert headers == ["me"]


async def test_attempts_are_those_of_a_publish(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """What was not sent is sent again; the delay counts from the call."""
    flaky.fail("schedule", ConnectionLost("one"), ConnectionLost("two"))
    flaky.fail("schedule", RemoteError("LOADING wait"))
    arrivals = Arrivals()
    async with open_subscription(world.bus(), SLOW, arrivals):
        began = trio.current_time()
        await world.bus().schedule(message(), delay=10)
        await until(lambda: len(arrivals.times) == 1)
        assert arrivals.times[0] - began == pytest.approx(10, abs=0.003)
    assert [event.scope for event in world.recorder.errors] == [Scope.PUBLISH] * 3
    flaky.fail("schedule", RemoteError("OOM no"))
    with pytest.raises(RemoteError):
        await world.bus().schedule(message(), delay=10)
    flaky.fail("cancel_scheduled", ConnectionLost("one"))
    kept = await world.bus().schedule(message(), delay=10)
    assert await world.bus().cancel_scheduled(kept)


async def test_an_unknown_outcome_is_tried_again_only_with_a_key(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Without one it could come twice; with one the second attempt finds the first."""
    flaky.fail("schedule", OutcomeUnknown("lost"), done=Done.EVERYTHING)
    with pytest.raises(OutcomeUnknown):
        await world.bus().schedule(message(0), delay=1)
    flaky.fail("schedule", OutcomeUnknown("lost"), ConnectionLost("no"), done=Done.EVERYTHING)
    await world.bus().schedule(message(1, "k"), delay=1)
    flaky.fail("schedule", OutcomeUnknown("lost"), done=Done.EVERYTHING)
    flaky.fail("schedule", RemoteError("OOM no"))
    with pytest.raises(OutcomeUnknown):
        await world.bus().schedule(message(2, "l"), delay=1)
    flaky.fail("cancel_scheduled", OutcomeUnknown("lost"), done=Done.EVERYTHING)
    with pytest.raises(OutcomeUnknown):
        await world.bus().cancel_scheduled(await world.bus().schedule(message(3), delay=1))
    flaky.fail("schedule", *[ConnectionLost("gone")] * 1000)
    began = trio.current_time()
    with pytest.raises(ConnectionLost):
        await world.bus().schedule(message(4, "m"), delay=1)
    assert trio.current_time() - began == pytest.approx(30)
    arrivals = Arrivals()
    async with open_subscription(world.bus(), SLOW, arrivals):
        await until(lambda: len(arrivals.payloads) >= 3)
        await trio.sleep(2)
    assert sorted(arrivals.payloads) == numbered(3)


async def test_a_restart_keeps_the_schedule() -> None:
    """With its append-only file the server knows it again, and when it is due."""
    with running("valkey-9.1") as server:
        arrivals = Arrivals()
        async with open_bus(server.url) as bus:
            await bus.schedule(message(0), delay=0.0)
            began = trio.current_time()
            await bus.schedule(message(1), delay=1.5)
            await bus.cancel_scheduled(await bus.schedule(message(2), delay=0))
            await trio.sleep(1.1)  # the file is written every second
            server.kill()
            server.start()
            with pytest.raises(ConnectionLost):
                while True:  # the loss is noticed, and then it is over
                    await bus.info("orders")
            await bus.info("orders")
            async with open_subscription(bus, SLOW, arrivals):
                await until(lambda: len(arrivals.times) == 2)
        assert sorted(arrivals.payloads) == numbered(2)
        assert 1.5 <= arrivals.of(1) - began < 1.5 + LATEST


async def test_poison_is_set_aside_and_holds_up_nothing(server_url: str) -> None:
    """Rows that nobody can read, and rows without a body; the observer hears, no loop spins."""
    async with open_world(server_url) as world, open_redis(server_url, BusOptions()) as raw:
        names = schedule_keys("orders")
        bodies = [b"", b"x" * 99, b"0" * 16 + b"-9:a", b"0" * 16 + b"9999:a1:b", b"0" * 16 + b"1:a"]
        for number, body in enumerate(bodies):
            uid = f"bad{number}"
            await redis_command(raw, "HSET", names[1], uid, body)
            await redis_command(raw, "ZADD", names[0], 1, f"{number:016}{uid}")
        await redis_command(raw, "ZADD", names[0], 1, f"{9:016}lost")
        arrivals = Arrivals()
        settings = attrs.evolve(SLOW, reclaim_interval=0.05)
        async with open_subscription(world.bus(), settings, arrivals):
            await world.bus().schedule(message(), delay=0)
            await until(lambda: bool(arrivals.payloads))
            await trio.sleep(0.2)
        assert await redis_command(raw, "ZCARD", names[0]) == 0
        assert await redis_command(raw, "HLEN", names[1]) == len(bodies), "set aside, not deleted"
    assert arrivals.payloads == numbered(1)
    told = [event for event in world.recorder.errors if event.scope is Scope.SCHEDULE]
    assert len(told) == 1
    assert "unreadable" in str(told[0].error)


async def test_a_full_server_keeps_what_it_cannot_append(server_url: str) -> None:
    """What is due stays scheduled, retries go on, the observer hears once; later it comes."""
    async with open_world(server_url) as world, open_redis(server_url, BusOptions()) as raw:
        arrivals = Arrivals()
        settings = attrs.evolve(SLOW, reclaim_interval=0.05)
        try:
            async with open_subscription(world.bus(), settings, arrivals):
                await world.bus().schedule(message(1), delay=1.0)
                await world.bus().publish(message(0))
                await redis_command(raw, "CONFIG", "SET", "maxmemory", 1)
                await until(lambda: len(arrivals.payloads) == 1)
                await until(lambda: Scope.SCHEDULE in {it.scope for it in world.recorder.errors})
                await trio.sleep(0.4)  # some ticks
                assert arrivals.payloads == numbered(1)
                told = [it for it in world.recorder.errors if it.scope is Scope.SCHEDULE]
                assert [getattr(it.error, "code", "") for it in told] == ["OOM"]
                await redis_command(raw, "CONFIG", "SET", "maxmemory", 0)
                await until(lambda: len(arrivals.payloads) == 2)
        finally:
            await redis_command(raw, "CONFIG", "SET", "maxmemory", 0)
    assert arrivals.payloads == numbered(2)
