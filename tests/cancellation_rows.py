"""Every public coroutine, and what must be true when it was cancelled: one row for each call.

A row prepares the stage, makes its call through *cut*, which returns whether the call returned,
and checks what the contract says. What is true after every call, `Stage.check` checks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum

import attrs
import trio
from msgspec.structs import replace

from tests.cutting import Cut
from tests.ledger import DONE, UNDELIVERED, Spot
from tests.redis_world import DEATH
from tests.stage import GROUP, RECORD, Stage
from trio_bus import (
    BalanceMode,
    Batch,
    BatchOutcome,
    BusOptions,
    DeadMessage,
    Delivery,
    MemoryBackend,
    Message,
    PullSubscription,
    Subscription,
    Unsupported,
    open_bus,
    open_redis,
    open_subscription,
    run_subscription,
)
from trio_bus._backend import (
    Ack,
    Bury,
    Entry,
    GroupMember,
    Receipt,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._connect import open_backend
from trio_bus._entry_id import EntryId
from trio_bus._names import ABANDONED, DUE, FREE, KEY, SUSPECT
from trio_bus._once import Append, Once
from trio_bus._settled import Settled


class Where(Enum):
    """Where a row makes sense."""

    ANYWHERE = "anywhere"
    SERVERS = "on a server"
    EMBEDDED = "where the server is ours to start"


@attrs.frozen
class Row:
    """One call, under the names of all that it covers."""

    covers: tuple[str, ...]
    run: Callable[[Stage, Cut], Awaitable[None]]
    where: Where

    def __str__(self) -> str:
        return self.run.__name__


ROWS: list[Row] = []

Run = Callable[[Stage, Cut], Awaitable[None]]


def row(*covers: str, where: Where = Where.ANYWHERE) -> Callable[[Run], Run]:
    """Add a row that covers these public coroutines."""

    def add(run: Run) -> Run:
        ROWS.append(Row(covers, run, where))
        return run

    return add


# Publishing.


@row("Bus.publish")
async def publish(stage: Stage, cut: Cut) -> None:
    returned = await cut(lambda: stage.bus.publish(stage.message()))
    length = await stage.length()
    assert length == 1 if returned else length <= (0 if cut.early else 1)


@row("Bus.publish_batch")
async def publish_batch(stage: Stage, cut: Cut) -> None:
    """The second chunk is written after the first is answered."""
    outcomes: list[BatchOutcome] = []

    async def call() -> None:
        outcomes.append(await stage.bus.publish_batch([stage.message()] * 1001))

    returned = await cut(call)
    length = await stage.length()
    assert length in {0, 1000, 1001}
    assert length == 1001 if returned else not (cut.early and length)
    for outcome in outcomes:
        outcome.raise_errors()


async def _is_scheduled(stage: Stage) -> bool:
    async with stage.member() as (member, _):
        return (await member.look()).due_in is not None


@row("Bus.schedule", "StreamBackend.schedule")
async def schedule(stage: Stage, cut: Cut) -> None:
    """It may be scheduled; with a key, once however often."""
    message = attrs.evolve(stage.message(), idempotency_key=stage.topic)
    returned = await cut(lambda: stage.bus.schedule(message, delay=3600))
    if returned or cut.early:
        assert await _is_scheduled(stage) == returned
    again = await stage.bus.schedule(message, delay=3600)
    assert await stage.bus.cancel_scheduled(again)
    assert not await _is_scheduled(stage)


@row("Bus.cancel_scheduled", "StreamBackend.cancel_scheduled")
async def cancel_scheduled(stage: Stage, cut: Cut) -> None:
    """It may be cancelled."""
    kept = await stage.bus.schedule(stage.message(), delay=3600)
    returned = await cut(lambda: stage.bus.cancel_scheduled(kept))
    if returned or cut.early:
        assert await _is_scheduled(stage) != returned
    await stage.bus.cancel_scheduled(kept)
    assert not await _is_scheduled(stage)


@row("StreamBackend.append")
async def append(stage: Stage, cut: Cut) -> None:
    """On memory, cancelled is not happened; on a server it may have."""
    returned = await cut(lambda: stage.backend.append(stage.topic, [RECORD] * 3))
    length = await stage.length()
    did_not = cut.early or isinstance(stage.backend, MemoryBackend)
    assert length == 3 if returned else length in ({0} if did_not else {0, 3})


@row("StreamBackend.append")
async def append_once(stage: Stage, cut: Cut) -> None:
    """Cancelled or not, doing it again stores each key once, in order."""
    keys = [Once(f"{stage.topic}.{number}", 60.0) for number in range(3)]
    await cut(lambda: stage.backend.append(stage.topic, [RECORD] * 3, keys))
    ids = await stage.backend.append(stage.topic, [RECORD] * 3, keys)
    assert [*(await stage.ledger())] == ids


@row("StreamBackend.append_persisted")
async def append_persisted(stage: Stage, cut: Cut) -> None:
    """These servers have no append-only file, so that nothing is stored."""
    async with open_backend(stage.url, BusOptions()) as backend:
        results: list[EntryId | Exception] = []

        async def call() -> None:
            results.extend(await backend.append_persisted([Append(stage.topic, RECORD)], 0))

        assert await cut(call) == bool(results)
    assert all(isinstance(result, Unsupported) for result in results)
    assert await stage.length() == 0


@row("StreamBackend.aclose", where=Where.SERVERS)
async def leave_with_queued(stage: Stage, cut: Cut) -> None:
    """What was queued without waiting is sent, however the block is left."""
    queued: list[int] = []

    async def call() -> None:
        async with open_bus(stage.url) as bus:
            for number in range(3):
                bus.publish_nowait(stage.message())
                queued.append(number)

    await cut(call)
    assert await stage.length() == len(queued)


# Looking.


@row("Bus.info")
async def bus_info(stage: Stage, cut: Cut) -> None:
    await stage.append(1)
    await cut(lambda: stage.bus.info(stage.topic))
    assert list((await stage.ledger()).values()) == [Spot(UNDELIVERED)]


@row("StreamBackend.info")
async def info(stage: Stage, cut: Cut) -> None:
    await stage.append(1)
    await cut(lambda: stage.backend.info(stage.topic))
    assert list((await stage.ledger()).values()) == [Spot(UNDELIVERED)]


# A member of a group.


@row("StreamBackend.create_group")
async def create_group(stage: Stage, cut: Cut) -> None:
    """It may have happened."""
    other = f"{stage.topic}-other"
    returned = await cut(lambda: stage.backend.create_group(other, GROUP, EntryId(0)))
    found = {group.name for group in (await stage.backend.info(other)).groups}
    assert found == {GROUP} if returned else found <= {GROUP}
    assert not (cut.early and found)


@row("StreamBackend.create_private")
async def create_private(stage: Stage, cut: Cut) -> None:
    """It may have happened."""
    returned = await cut(
        lambda: stage.backend.create_private(stage.topic, "~fan-us", EntryId(0), 60.0)
    )
    found = await stage.private_groups()
    assert found == {"~fan-us"} if returned else found <= {"~fan-us"}
    assert not (cut.early and found)


@row("StreamBackend.join", "GroupMember.aclose")
async def join(stage: Stage, cut: Cut) -> None:
    """Entering, reading, leaving: what was read before leaving stays ours, and is not forgotten."""
    await stage.append(1)
    entries: list[Entry] = []

    async def call() -> None:
        async with stage.backend.join(stage.membership()) as member:
            entries.extend(await member.read(1, 1.0))

    returned = await cut(call)
    assert entries if returned else not (cut.early and entries)
    (spot,) = (await stage.ledger()).values()
    if entries:
        assert spot == Spot("us", 1)
        async with stage.backend.join(stage.membership()) as member:
            assert await member.settle([Ack(entry.receipt) for entry in entries]) == [Settled.DONE]
    else:
        assert spot in {Spot(UNDELIVERED), Spot(FREE, 0)}, "stranded"


@row("GroupMember.read")
async def read(stage: Stage, cut: Cut) -> None:
    """There is something to read: it is ours and we have it, or it is not ours."""
    async with stage.member() as (member, _):
        added = await stage.append(2)
        entries: list[Entry] = []

        async def call() -> None:
            entries.extend(await member.read(1, 0.02))

        returned = await cut(call)
        assert len(entries) == (1 if returned else 0)
        await stage.check_known(member, {entry.id: 1 for entry in entries})
        ledger = await stage.ledger()
        if not returned:
            assert ledger[added[0]] in {Spot(UNDELIVERED), Spot(FREE, 0)}
        assert ledger[added[1]] == Spot(UNDELIVERED)
        await _give_back(stage, entries)


@row("GroupMember.read")
async def read_in_vain(stage: Stage, cut: Cut) -> None:
    """There is nothing: it blocks, and the next read on that connection gets its own answer."""
    async with stage.member() as (member, _):
        await cut(lambda: member.read(1, 0.02))
        (added,) = await stage.append(1)
        assert [entry.id for entry in await member.read(1, 5.0)] == [added]
        await stage.check_known(member, {added: 1})
        await member.settle([Release(Receipt(added, 1))])


@row("GroupMember.read")
async def read_what_is_published_meanwhile(stage: Stage, cut: Cut) -> None:
    async with stage.member() as (member, _), trio.open_nursery() as nursery:
        nursery.start_soon(stage.append, 1)
        entries: list[Entry] = []

        async def call() -> None:
            entries.extend(await member.read(5, 0.02))

        await cut(call)
        nursery.cancel_scope.deadline = trio.current_time() + 5.0
    ledger = await stage.ledger()
    assert not nursery.cancel_scope.cancelled_caught
    ours = {entry.id for entry in entries}
    for key, spot in ledger.items():
        assert spot == Spot("us", 1) if key in ours else spot in {Spot(UNDELIVERED), Spot(FREE, 0)}
    await _give_back(stage, entries)


@row("GroupMember.look")
async def look(stage: Stage, cut: Cut) -> None:
    """What is scheduled and due is appended once, by this look or by the next."""
    await stage.hand_back([Release])
    await stage.backend.schedule(stage.topic, RECORD, "x", 0.0)
    async with stage.member() as (member, _):
        returned = await cut(member.look)
        length = await stage.length()
        assert length == 2 if returned else length in ({1} if cut.early else {1, 2})
        seen = await member.look()
        assert seen.claimable
        assert seen.due_in is None
        await stage.check_known(member, {})
    assert list((await stage.ledger()).values()) == [Spot(FREE, 0), Spot(UNDELIVERED)]


@row("GroupMember.woken")
async def woken(stage: Stage, cut: Cut) -> None:
    """Cancelled, it takes nothing away from the next call."""
    async with stage.member() as (member, _):
        await stage.hand_back([Release])
        if not await cut(member.woken):
            with trio.fail_after(5):
                assert await member.woken() == 0.0


@row("GroupMember.take_over")
async def take_over(stage: Stage, cut: Cut) -> None:
    """One that is free and one that must be buried: taken and known, or as before."""
    free, over = await stage.hand_back([Release, lambda receipt: Retry(receipt, 0.0)])
    async with stage.member() as (member, _):
        entries: list[Entry] = []

        async def call() -> None:
            entries.extend((await member.take_over(5)).entries)

        returned = await cut(call)
        assert [entry.id for entry in entries] == ([free] if returned else [])
        await stage.check_known(member, {entry.id: 1 for entry in entries})
        ledger = await stage.ledger()
        assert ledger[free] == (Spot("us", 1) if returned else Spot(FREE, 0)), "counted"
        buried = (await stage.backend.info(stage.dead_topic)).length
        assert ledger[over] == (Spot(DONE) if buried else Spot(DUE, 1))
        assert buried == 1 if returned else not (cut.early and buried)
        await member.settle([Ack(entry.receipt) for entry in entries])


def _as_suspect(receipt: Receipt) -> Settlement:
    return Release(replace(receipt, suspect=True))


@row("GroupMember.take_over")
async def book(stage: Stage, cut: Cut) -> None:
    """Cancelled, it has booked nothing; otherwise nobody else can for a lease."""
    (suspect,) = await stage.hand_back([_as_suspect])
    async with stage.member() as (member, _):
        returned = await cut(lambda: member.take_over(5, book=True))
        again = await member.take_over(5, book=True)
        assert again == TakeOver(booked=None if returned else suspect)
        await stage.check_known(member, {})
    assert await stage.ledger() == {suspect: Spot(SUSPECT, 0)}, "not counted"


@row("GroupMember.take_booked")
async def take_booked(stage: Stage, cut: Cut) -> None:
    """Cancelled, it is a suspect as before."""
    (suspect,) = await stage.hand_back([_as_suspect])
    async with stage.member() as (member, _):
        entries: list[Entry] = []

        async def call() -> None:
            entries.extend((await member.take_booked(suspect)).entries)

        returned = await cut(call)
        assert [(it.id, it.suspect) for it in entries] == ([(suspect, True)] if returned else [])
        await stage.check_known(member, {entry.id: 1 for entry in entries})
        wanted = Spot("us", 1) if returned else Spot(SUSPECT, 0)
        assert await stage.ledger() == {suspect: wanted}
        await member.settle([Ack(entry.receipt) for entry in entries])


@row("GroupMember.keep_booking")
async def keep_booking(stage: Stage, cut: Cut) -> None:
    (suspect,) = await stage.hand_back([_as_suspect])
    async with stage.member() as (member, _):
        returned = await cut(lambda: member.keep_booking(suspect))
        booked = (await member.take_over(5, book=True)).booked
        assert booked is None if returned else booked in {None, suspect}
        assert booked or not cut.early
    assert await stage.ledger() == {suspect: Spot(SUSPECT, 0)}


@row("GroupMember.give_up_booking")
async def give_up_booking(stage: Stage, cut: Cut) -> None:
    (suspect,) = await stage.hand_back([_as_suspect])
    async with stage.member() as (member, _):
        assert (await member.take_over(5, book=True)).booked == suspect
        returned = await cut(lambda: member.give_up_booking(suspect))
        booked = (await member.take_over(5, book=True)).booked
        assert booked == suspect if returned else booked in {None, suspect}
        assert not (booked and cut.early)
    assert await stage.ledger() == {suspect: Spot(SUSPECT, 0)}


async def _leading(member: GroupMember) -> int:
    token = await member.lead(None)
    assert token is not None
    return token


@row("GroupMember.lead")
async def lead(stage: Stage, cut: Cut) -> None:
    """Cancelled, it may have happened: who asks again has a newer token."""
    async with stage.member() as (member, _):
        await cut(lambda: member.lead(None))
        assert await _leading(member)


@row("GroupMember.give_up_lead")
async def give_up_lead(stage: Stage, cut: Cut) -> None:
    async with stage.member() as (member, _):
        token = await _leading(member)
        returned = await cut(member.give_up_lead)
        kept = await member.lead(token)
        assert kept is None if returned else kept in {None, token}
        assert kept or not cut.early


@row("GroupMember.survey")
async def survey(stage: Stage, cut: Cut) -> None:
    """It changes nothing."""
    (free,) = await stage.hand_back([Release])
    async with stage.member() as (member, _):
        await cut(lambda: member.survey(None, 5))
        assert [it.id for it in (await member.survey(None, 5)).entries] == [free]
    assert await stage.ledger() == {free: Spot(FREE, 0)}


@row("GroupMember.draw")
async def draw(stage: Stage, cut: Cut) -> None:
    """Cancelled, it may have happened: a survey finds it."""
    await stage.hand_back([Release])
    await stage.backend.append(stage.topic, [RECORD])
    async with stage.member() as (member, _):
        token = await _leading(member)
        await cut(lambda: member.draw(token, 5))
        await member.draw(token, 5)
        assert len((await member.survey(None, 5)).entries) == 2
        await stage.check_known(member, {})
    assert sorted((await stage.ledger()).values(), key=str) == [Spot(FREE, 0), Spot(KEY, 0)]


@row("GroupMember.start")
async def start(stage: Stage, cut: Cut) -> None:
    """Taken and known, or as before."""
    (free,) = await stage.hand_back([Release])
    async with stage.member() as (member, _):
        token, entries = await _leading(member), list[Entry]()

        async def call() -> None:
            begun = await member.start(token, [free])
            assert begun is not None
            entries.extend(begun.taken.entries)

        returned = await cut(call)
        assert [entry.id for entry in entries] == ([free] if returned else [])
        await stage.check_known(member, {entry.id: 1 for entry in entries})
        assert (await stage.ledger())[free] == (Spot("us", 1) if returned else Spot(FREE, 0))
        await member.settle([Ack(entry.receipt) for entry in entries])


@row("GroupMember.grown")
async def grown(stage: Stage, cut: Cut) -> None:
    """It takes nothing."""
    (free,) = await stage.hand_back([Release])
    async with stage.member() as (member, _):
        await cut(lambda: member.grown(EntryId(0, 0), 5.0))
        await stage.check_known(member, {})
    assert await stage.ledger() == {free: Spot(FREE, 0)}


@row("GroupMember.look")
async def remove_expired(stage: Stage, cut: Cut) -> None:
    """A private group that nobody keeps goes, now or at the next look."""
    await stage.backend.create_private(stage.topic, "~fan-them", EntryId(0), 0.0)
    async with stage.member() as (member, _):
        returned = await cut(member.look)
        found = await stage.private_groups()
        assert not found if returned else found <= {"~fan-them"}
        assert found or not cut.early
        await member.look()
    assert not await stage.private_groups()


@row("GroupMember.look")
async def tend(stage: Stage, cut: Cut) -> None:
    """An idle consumer goes, or stays; what another held is where all can take it, or held."""
    await stage.hand_back([Release])
    async with stage.backend.join(stage.membership("holder")) as holder:
        (held,) = (await holder.take_over(1)).entries
        assert await stage.consumers() == {"holder", "them"}
        brief = attrs.evolve(stage.membership(), lease=0.001)
        await trio.sleep(0.004)
        async with stage.backend.join(brief) as member:
            returned = await cut(member.look)
        left, ledger = await stage.consumers(), await stage.ledger()
        tended = ledger == {held.id: Spot(ABANDONED, 1)}
        assert tended or not returned
        assert not (tended and cut.early)
        assert tended or ledger == {held.id: Spot("holder", 1)}
        assert left == ({"holder", "us"} if tended else {"holder", "them"})
        await holder.settle([Release(held.receipt)])


_SETTLED: tuple[tuple[Callable[[Receipt], Settlement], Spot], ...] = (
    (Ack, Spot(DONE)),
    (lambda receipt: Retry(receipt, 60.0), Spot(DUE, 1)),
    (Release, Spot(FREE, 0)),
    (lambda receipt: Release(receipt, 60.0), Spot(DUE, 0)),
    (lambda receipt: Bury(receipt, DEATH), Spot(DONE)),
)


@row("GroupMember.settle")
async def settle(stage: Stage, cut: Cut) -> None:
    """It may have happened. Settled again, all is as it should be, and once."""
    async with stage.member(len(_SETTLED)) as (member, entries):
        words: list[Settlement] = [
            make(entry.receipt) for (make, _), entry in zip(_SETTLED, entries, strict=True)
        ]
        returned = await cut(lambda: member.settle(words))
        spots = list((await stage.ledger()).values())
        for spot, (_, wanted) in zip(spots, _SETTLED, strict=True):
            assert spot == wanted if returned else spot in {wanted, Spot("us", 1)}
        if cut.early:
            assert spots == [Spot("us", 1)] * len(spots)
        again = await member.settle(words)
        assert set(again) <= ({Settled.LOST} if returned else {Settled.DONE, Settled.LOST})
        await stage.check_known(member, {})
        assert list((await stage.ledger()).values()) == [wanted for _, wanted in _SETTLED]
        assert (await stage.backend.info(stage.dead_topic)).length == 1


@row("GroupMember.renew")
async def renew(stage: Stage, cut: Cut) -> None:
    async with stage.member(2) as (member, entries):
        receipts = [entry.receipt for entry in entries]
        await cut(lambda: member.renew(receipts))
        await stage.check_known(member, {receipt.id: 1 for receipt in receipts})
        await member.settle([Ack(receipt) for receipt in receipts])


@row("GroupMember.forget")
async def forget(stage: Stage, cut: Cut) -> None:
    async with stage.member(1) as (member, (entry,)):
        await member.settle([Ack(entry.receipt)])
        assert await stage.consumers() == {"us"}
        returned = await cut(member.forget)
        left = await stage.consumers()
        assert left == set() if returned else left <= {"us"}
        assert left or not cut.early


@row("GroupMember.forget")
async def forget_private(stage: Stage, cut: Cut) -> None:
    """It goes with what is pending there, or stays whole."""
    await stage.append(1)
    await stage.backend.create_private(stage.topic, "~fan-us", EntryId(0), 60.0)
    own = attrs.evolve(stage.membership(), group="~fan-us", expiry=60.0)
    async with stage.backend.join(own) as member:
        (entry,) = await member.read(1, 1.0)
        returned = await cut(member.forget)
        found = await stage.private_groups()
        assert not found if returned else found <= {"~fan-us"}
        assert found or not cut.early
        (result,) = await member.settle([Release(entry.receipt)])
        assert result is (Settled.DONE if found else Settled.LOST)
        await member.forget()


# One delivery.


async def _verb(
    stage: Stage, cut: Cut, call: Callable[[Delivery], Awaitable[object]], wanted: Spot
) -> None:
    """A verb has handed its settlement over before it can be cancelled: it happens all the same."""
    (entry_id,) = await stage.append(1)
    async with open_subscription(stage.bus, stage.config) as deliveries:
        delivery = await deliveries.receive()
        await cut(lambda: call(delivery))
        with trio.fail_after(5):
            await deliveries.wait_idle()
        assert await stage.ledger() == {entry_id: wanted}


@row("Delivery.ack")
async def ack(stage: Stage, cut: Cut) -> None:
    await _verb(stage, cut, lambda delivery: delivery.ack(), Spot(DONE))


@row("Delivery.retry")
async def retry(stage: Stage, cut: Cut) -> None:
    await _verb(stage, cut, lambda delivery: delivery.retry("later", 60.0), Spot(DUE, 1))


@row("Delivery.reject")
async def reject(stage: Stage, cut: Cut) -> None:
    await _verb(stage, cut, lambda delivery: delivery.reject("never"), Spot(DONE))
    assert (await stage.backend.info(stage.dead_topic)).length == 1


@row("Delivery.release")
async def release(stage: Stage, cut: Cut) -> None:
    await _verb(stage, cut, lambda delivery: delivery.release(60.0), Spot(DUE, 0))


@row("Delivery.renew")
async def renew_delivery(stage: Stage, cut: Cut) -> None:
    (entry_id,) = await stage.append(1)
    async with open_subscription(stage.bus, stage.config) as deliveries:
        delivery = await deliveries.receive()
        await cut(delivery.renew)
        assert await stage.ledger() == {entry_id: Spot(deliveries.name, 1)}
        await delivery.ack()


@row("Delivery.__aenter__", "Delivery.__aexit__")
async def delivery_block(stage: Stage, cut: Cut) -> None:
    """Success acks; cancelled before its end, it is given back, uncounted."""
    (entry_id,) = await stage.append(1)
    async with open_subscription(stage.bus, stage.config) as deliveries:
        delivery = await deliveries.receive()
        ended = False

        async def call() -> None:
            nonlocal ended
            async with delivery:
                await trio.lowlevel.checkpoint()
                ended = True

        returned = await cut(call)
        assert ended or not returned
    assert await stage.ledger() == {entry_id: Spot(DONE) if ended else Spot(FREE, 0)}


# A subscription.


async def _receive(
    stage: Stage, cut: Cut, call: Callable[[PullSubscription], Awaitable[Delivery]]
) -> None:
    """Cancelled, it did not happen: the delivery comes to the next one who asks."""
    added = await stage.append(2)
    async with open_subscription(stage.bus, stage.config) as deliveries:
        received: list[EntryId] = []

        async def act() -> None:
            delivery = await call(deliveries)
            received.append(delivery.entry_id)
            await delivery.ack()

        await cut(act)
        with trio.fail_after(5):
            while len(received) < 2:
                delivery = await deliveries.receive()
                received.append(delivery.entry_id)
                await delivery.ack()
            await deliveries.wait_idle()
        assert received == added
    assert list((await stage.ledger()).values()) == [Spot(DONE)] * 2


@row("PullSubscription.receive")
async def receive(stage: Stage, cut: Cut) -> None:
    await _receive(stage, cut, lambda deliveries: deliveries.receive())


@row("PullSubscription.__anext__")
async def anext_delivery(stage: Stage, cut: Cut) -> None:
    await _receive(stage, cut, anext)


async def _brief(_: Delivery) -> None:
    await trio.sleep(0.002)


async def _ending(
    stage: Stage,
    cut: Cut,
    call: Callable[[Subscription | PullSubscription], Awaitable[object]],
    *,
    pull: bool,
) -> None:
    """However it ends: what was not handled is free or undelivered, and nothing is counted."""
    await stage.append(4)
    config = attrs.evolve(stage.config, max_in_flight=2)
    if pull:
        async with open_subscription(stage.bus, config) as deliveries:
            async with await deliveries.receive():
                pass
            await cut(lambda: call(deliveries))
    else:
        async with open_subscription(stage.bus, config, _brief) as subscription:
            await cut(lambda: call(subscription))
    spots = set((await stage.ledger()).values())
    assert spots <= {Spot(DONE), Spot(FREE, 0), Spot(UNDELIVERED)}
    assert not await stage.consumers(), "it is forgotten"


@row("Subscription.drain")
async def drain(stage: Stage, cut: Cut) -> None:
    await _ending(stage, cut, lambda it: it.drain(), pull=False)


@row("Subscription.aclose")
async def aclose(stage: Stage, cut: Cut) -> None:
    await _ending(stage, cut, lambda it: it.aclose(), pull=False)


@row("Subscription.__aenter__", "Subscription.__aexit__")
async def subscription_block(stage: Stage, cut: Cut) -> None:
    await _ending(stage, cut, _enter_and_leave, pull=False)


@row("Subscription.wait_idle")
async def wait_idle(stage: Stage, cut: Cut) -> None:
    await _ending(stage, cut, lambda it: it.wait_idle(), pull=False)


@row("PullSubscription.drain")
async def drain_pull(stage: Stage, cut: Cut) -> None:
    await _ending(stage, cut, lambda it: it.drain(), pull=True)


@row("PullSubscription.aclose")
async def aclose_pull(stage: Stage, cut: Cut) -> None:
    await _ending(stage, cut, lambda it: it.aclose(), pull=True)


@row("PullSubscription.__aenter__", "PullSubscription.__aexit__")
async def pull_block(stage: Stage, cut: Cut) -> None:
    await _ending(stage, cut, _enter_and_leave, pull=True)


@row("PullSubscription.wait_idle")
async def wait_idle_pull(stage: Stage, cut: Cut) -> None:
    """It holds what nobody receives, so that only a drain ends the wait."""

    async def call(deliveries: Subscription | PullSubscription) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliveries.aclose)
            await deliveries.wait_idle()

    await _ending(stage, cut, call, pull=True)


async def _enter_and_leave(it: Subscription | PullSubscription) -> None:
    async with it:
        await trio.lowlevel.checkpoint()


@row("open_subscription")
async def subscription(stage: Stage, cut: Cut) -> None:
    """From entering to leaving, with work in it."""
    await stage.append(3)

    async def call() -> None:
        async with open_subscription(stage.bus, stage.config, _brief) as subscription:
            while subscription.statistics().handled < 3:
                await trio.sleep(0.001)

    await _whole(stage, cut, call)


@row("open_subscription")
async def fan_out_subscription(stage: Stage, cut: Cut) -> None:
    """Its group goes with it; one that was not open yet may leave an empty one to its expiry."""
    config = attrs.evolve(stage.config, group="", balance_mode=BalanceMode.FAN_OUT)
    opened = False

    async def call() -> None:
        nonlocal opened
        async with open_subscription(stage.bus, config, _brief) as subscription:
            opened = True
            await stage.append(3)
            while subscription.statistics().handled < 3:
                await trio.sleep(0.001)

    returned = await cut(call)
    left = await stage.private_groups()
    assert len(left) <= 1
    assert not (left and (returned or opened))


@row("open_subscription")
async def pull_subscription(stage: Stage, cut: Cut) -> None:
    await stage.append(3)

    async def call() -> None:
        async with open_subscription(stage.bus, stage.config) as deliveries:
            for _ in range(3):
                async with await deliveries.receive() as delivery:
                    await _brief(delivery)

    await _whole(stage, cut, call)


@attrs.define
class _Status(trio.TaskStatus[Subscription]):
    """Where a task says that it has started, as `trio.Nursery.start` has one."""

    subscription: Subscription | None = None

    def started(self, value: Subscription | None = None) -> None:
        """Keep it."""
        self.subscription = value


@row("run_subscription")
async def run_until_drained(stage: Stage, cut: Cut) -> None:
    await stage.append(3)
    status, left = _Status(), 3

    async def handle(_: Delivery) -> None:
        nonlocal left
        await trio.sleep(0.002)
        left -= 1
        if left == 0:
            assert status.subscription is not None
            await status.subscription.drain()

    def call() -> Awaitable[None]:
        return run_subscription(stage.bus, stage.config, handle, task_status=status)

    await _whole(stage, cut, call)


async def _whole(stage: Stage, cut: Cut, call: Callable[[], Awaitable[None]]) -> None:
    """Run a whole life; nothing of it is left."""
    returned = await cut(call)
    spots = list((await stage.ledger()).values())
    assert set(spots) <= {Spot(DONE), Spot(FREE, 0), Spot(UNDELIVERED)}
    if returned:
        assert spots == [Spot(DONE)] * 3
    if cut.early:
        assert spots == [Spot(UNDELIVERED)] * 3
    assert not await stage.consumers()


# Opening.


def _options(stage: Stage) -> BusOptions:
    return BusOptions(observer=stage.recorder, connect_timeout=5.0, command_timeout=5.0)


@row("open_bus")
async def bus(stage: Stage, cut: Cut) -> None:
    async def call() -> None:
        async with open_bus(stage.url, _options(stage)) as other:
            await other.publish(stage.message())

    returned = await cut(call)
    length = await stage.length()
    on_server = not isinstance(stage.backend, MemoryBackend)  # or it is a memory of its own
    assert length == on_server if returned else not (cut.early and length)


@row("open_redis", where=Where.SERVERS)
async def redis(stage: Stage, cut: Cut) -> None:
    """With a member whose connection for reads the block ends too."""

    async def call() -> None:
        async with (
            open_redis(stage.url, _options(stage)) as other,
            other.join(stage.membership()) as member,
        ):
            await member.read(1, 0.01)

    await cut(call)


@row("open_bus", "open_embedded", where=Where.EMBEDDED)
async def embedded(stage: Stage, cut: Cut) -> None:
    """With a server that is started for it: the block ends both."""

    async def call() -> None:
        async with open_bus("embedded:", _options(stage)) as other:
            await other.publish(stage.message())

    await cut(call)


async def _give_back(stage: Stage, entries: list[Entry]) -> None:
    async with stage.backend.join(stage.membership()) as member:
        await member.settle([Release(entry.receipt) for entry in entries])


# Batches, transactions, dead letters.


async def _batch(deliveries: PullSubscription, size: int) -> Batch:
    return await anext(deliveries.batches(size, 1.0))


@row("PullSubscription.batches")
async def batches(stage: Stage, cut: Cut) -> None:
    """What was received for a batch that never came is given back, like the batch itself."""
    added = await stage.append(2)
    async with open_subscription(stage.bus, stage.config) as deliveries:
        await cut(lambda: _batch(deliveries, 2))
    spots = await stage.ledger()
    assert [spots[it] for it in added if spots[it] != Spot(UNDELIVERED)] == [Spot(FREE, 0)] * sum(
        it != Spot(UNDELIVERED) for it in spots.values()
    )


@row("Batch.__aenter__", "Batch.__aexit__")
async def batch_block(stage: Stage, cut: Cut) -> None:
    """Success acks all; cancelled before its end, all are given back, uncounted."""
    added = await stage.append(2)
    async with open_subscription(stage.bus, stage.config) as deliveries:
        batch = await _batch(deliveries, 2)
        ended = False

        async def call() -> None:
            nonlocal ended
            async with batch:
                await trio.lowlevel.checkpoint()
                ended = True

        returned = await cut(call)
        assert ended or not returned
    assert await stage.ledger() == dict.fromkeys(added, Spot(DONE) if ended else Spot(FREE, 0))


@row("Batch.ack", "Batch.retry", "Batch.reject", "Batch.release")
async def batch_verbs(stage: Stage, cut: Cut) -> None:
    """Each that was called happens; the rest is given back."""
    added = await stage.append(4)
    async with open_subscription(stage.bus, stage.config) as deliveries:
        batch = await _batch(deliveries, 4)
        first, second, third, fourth = batch

        async def call() -> None:
            await batch.ack(first)
            await batch.retry(second, "later", 60.0)
            await batch.reject(third, "never")
            await batch.release(fourth, 60.0)

        returned = await cut(call)
    wanted = [Spot(DONE), Spot(DUE, 1), Spot(DONE), Spot(DUE, 0)]
    spots = await stage.ledger()
    happened = [spots[it] == spot for it, spot in zip(added, wanted, strict=True)]
    assert happened == sorted(happened, reverse=True)
    assert all(happened) or not returned
    assert [spots[it] for it, done in zip(added, happened, strict=True) if not done] == [
        Spot(FREE, 0)
    ] * happened.count(False)


@row("Delivery.transaction", "Transaction.publish")
async def transaction(stage: Stage, cut: Cut) -> None:
    """The output and the ack are there, or neither."""
    topic = f"{{{stage.topic}}}.out"
    (entry_id,) = await stage.append(1)
    config = attrs.evolve(stage.config, output_topics=(topic,))
    async with open_subscription(stage.bus, config) as deliveries:
        delivery = await deliveries.receive()

        async def call() -> None:
            async with delivery.transaction() as tx:
                await tx.publish(Message(topic, b"1"))

        returned = await cut(call)
    length = (await stage.backend.info(topic)).length
    assert length == 1 or not returned
    assert await stage.ledger() == {entry_id: Spot(DONE) if length else Spot(FREE, 0)}


@row("DeadLetters.__aiter__", "DeadLetters.places", "DeadLetters.portion", "StreamBackend.buried")
async def list_dead(stage: Stage, cut: Cut) -> None:
    """Reading changes nothing."""
    (entry_id,) = await stage.hand_back([lambda it: Bury(it, DEATH)])
    found: list[DeadMessage] = []

    async def call() -> None:
        async for letter in stage.bus.dead_letters(stage.dead_topic):
            found.append(letter)  # noqa: PERF401 - the loop is what is cancelled

    returned = await cut(call)
    assert len(found) == 1 or not returned
    assert await stage.ledger() == {entry_id: Spot(DONE)}
    assert (await stage.backend.info(stage.dead_topic)).length == 1


@row("Bus.redrive", "StreamBackend.redrive")
async def redrive(stage: Stage, cut: Cut) -> None:
    """It is back in its group, or dead; never both."""
    (entry_id,) = await stage.hand_back([lambda it: Bury(it, DEATH)])
    returned = await cut(lambda: stage.bus.redrive(stage.dead_topic, everything=True))
    left = (await stage.backend.info(stage.dead_topic)).length
    assert left == 0 or not returned
    assert await stage.ledger() == {entry_id: Spot(DONE) if left else Spot(FREE, 0)}
