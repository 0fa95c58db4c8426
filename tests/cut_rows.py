"""Every call of the Redis backend, and what it owes its caller when the connection is cut.

To add a call, add a `Row`: what it needs, the call, and what must be so afterwards.
"""

# pyright: reportPrivateUsage=false
# Whether a read is blocked is seen at its connection.

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import attrs
import pytest
import trio
from msgspec.structs import replace

from tests.cut_world import GROUP, OLDEST, World, check_accounts, ids, membership_of
from trio_bus._backend import (
    Ack,
    Buried,
    Bury,
    Death,
    DeathCause,
    Entry,
    Membership,
    Record,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError, ConnectionLost, OutcomeUnknown, Unsupported
from trio_bus._graves import Grave, Redriven
from trio_bus._info import TopicInfo
from trio_bus._names import DUE, SUSPECT
from trio_bus._once import Append, Once
from trio_bus._redis.replies import as_text
from trio_bus._retention import Retention
from trio_bus._settled import Settled
from trio_bus.testing import Act, Exchange

LEASE = 0.03
"""Seconds: short, where a row waits until one has run out."""
DEATH = Death(DeathCause.REJECTED, "builtins.ValueError", "no such customer")


WHOLE = 2**31
"""After so many bytes of a reply all of it has passed."""


@attrs.frozen
class Cut:
    """Where the connection is cut: before a command of the call, or in the reply to it."""

    command: int
    """Which command of the call, from 0."""
    after: int | None
    """After how many bytes of its reply; None: the server never has that command."""
    exchanges: tuple[Exchange, ...]
    """What the call exchanges when nothing is cut."""

    @property
    def answered(self) -> int:
        """How many replies of the call arrive as a whole."""
        return self.command + (self.after == WHOLE)

    @property
    def is_harmless(self) -> bool:
        """Whether everything arrives before the cut."""
        return self.answered == len(self.exchanges)

    @property
    def is_executed(self) -> bool:
        """Whether the server has certainly executed the whole call."""
        return self.after is not None and self.command == len(self.exchanges) - 1

    @property
    def is_not_executed(self) -> bool:
        """Whether the server has certainly executed nothing of the call."""
        return self.after is None and self.command == 0


@attrs.frozen
class Outcome:
    """How a call ended."""

    result: object
    error: BusError | None = None


Prepare = Callable[[World], Awaitable[None]]
Call = Callable[[World], Awaitable[object]]
Judge = Callable[[World, Outcome, Cut], Awaitable[None]]


@attrs.frozen
class Row:
    """One way to use one method."""

    method: str
    how: str
    prepare: Prepare
    call: Call
    judge: Judge
    lease: float = 60.0
    both_ways: bool = True
    """Whether each byte is cut in order and reset; else they take turns."""
    retention: Retention | None = None

    @property
    def name(self) -> str:
        """What it is called in a report."""
        return f"{self.method}: {self.how}"


def raised(outcome: Outcome, cut: Cut, kind: type[ConnectionLost] = ConnectionLost) -> bool:
    """Check that the call failed if, and only if, an answer was lost; tell which."""
    if cut.is_harmless:
        assert outcome.error is None, outcome
        return False
    assert isinstance(outcome.error, kind), outcome
    return True


# -- publishing


async def nothing(_: World) -> None:
    """Need nothing."""


RECORDS: list[Record] = [((b"n", b"%d" % number),) for number in range(3)]


async def append_one(world: World) -> object:
    return await world.backend.append(world.topic, RECORDS[:1])


async def append_three(world: World) -> object:
    return await world.backend.append(world.topic, RECORDS)


async def judge_append(world: World, outcome: Outcome, cut: Cut) -> None:
    """Ids for what was answered, unknown for the rest; each is there at most once, in order."""
    assert outcome.error is None
    results = cast("list[EntryId | Exception]", outcome.result)
    asked = len(results)
    known = [it for it in results if isinstance(it, EntryId)]
    assert [type(it) for it in results[len(known) :]] == [OutcomeUnknown] * (asked - len(known))
    held = await check_accounts(world)
    stored = await world.stored()
    if cut.after is None:  # what was sent before it may have been executed, and answered
        assert len(known) <= len(stored) <= cut.command
    else:  # all were sent in one write
        assert len(known) == cut.answered
        assert len(stored) == asked
    assert [at for at, _ in stored[: len(known)]] == known
    assert [number for _, number in stored] == [b"%d" % n for n in range(len(stored))]
    assert held == dict.fromkeys([at for at, _ in stored], 1)


ONCE = [Once(str(number), 60.0) for number in range(3)]


async def append_keyed(world: World) -> object:
    return await world.backend.append(world.topic, RECORDS, ONCE)


async def judge_append_keyed(world: World, outcome: Outcome, cut: Cut) -> None:
    """Done again, each is stored once and in order; what was answered stays so."""
    assert outcome.error is None
    results = cast("list[EntryId | Exception]", outcome.result)
    known = [it for it in results if isinstance(it, EntryId)]
    assert [type(it) for it in results[len(known) :]] == [OutcomeUnknown] * (3 - len(known))
    if cut.after is not None:
        assert len(known) == cut.answered
    again = await world.direct.append(world.topic, RECORDS, ONCE)
    assert again[: len(known)] == known
    assert await world.stored() == [(at, b"%d" % number) for number, at in enumerate(again)]
    held = await check_accounts(world)
    assert list(held) == again


async def append_nowait(world: World) -> object:
    results: list[EntryId | Exception] = []
    for record in RECORDS:
        world.backend.append_nowait(world.topic, record, None, results.append)
    while len(results) < len(RECORDS):
        await trio.sleep(0.001)
    return results


async def append_persisted(world: World) -> object:
    appends = [Append(world.topic, record) for record in RECORDS]
    return await world.backend.append_persisted(appends, 0)


async def judge_append_persisted(world: World, outcome: Outcome, cut: Cut) -> None:
    """These servers have no append-only file: whatever is cut, nothing is stored."""
    assert outcome.error is None
    results = cast("list[EntryId | Exception]", outcome.result)
    kinds = {type(it) for it in results}
    assert kinds == ({Unsupported} if cut.is_harmless else {ConnectionLost})
    assert len(set(map(id, results))) == len(RECORDS)
    assert await world.stored() == []
    await check_accounts(world)


# -- groups


async def create_new(world: World) -> object:
    return await world.backend.create_group(world.topic, "second", OLDEST)


async def create_old(world: World) -> object:
    return await world.backend.create_group(world.topic, GROUP, None)


async def judge_create_new(world: World, outcome: Outcome, cut: Cut) -> None:
    """It is new once, whoever is told."""
    if not raised(outcome, cut):
        assert outcome.result is True
    assert await world.backend.create_group(world.topic, "second", OLDEST) is cut.is_not_executed
    groups = {group.name for group in (await world.direct.info(world.topic)).groups}
    assert groups == {GROUP, "second"}
    await check_accounts(world)


async def judge_create_old(world: World, outcome: Outcome, cut: Cut) -> None:
    """It stays as it is."""
    assert raised(outcome, cut) or outcome.result is False
    (group,) = (await world.direct.info(world.topic)).groups
    assert group.last_delivered == OLDEST
    await check_accounts(world)


OWN = "~fan-own"


async def create_own(world: World) -> object:
    return await world.backend.create_private(world.topic, OWN, OLDEST, 60.0)


async def judge_create_own(world: World, outcome: Outcome, cut: Cut) -> None:
    """It is new once, whoever is told."""
    if not raised(outcome, cut):
        assert outcome.result == OLDEST
    again = await world.direct.create_private(world.topic, OWN, OLDEST, 60.0)
    assert again == (OLDEST if cut.is_not_executed else None)
    assert await private_groups(world) == {OWN}
    await check_accounts(world)


async def have_own(world: World) -> None:
    """Let there be a private group with something pending."""
    await world.add(1)
    assert await world.direct.create_private(world.topic, OWN, OLDEST, 60.0) == OLDEST
    async with world.backend.join(own(world)) as member:
        assert len(await member.read(1, 5)) == 1


def own(world: World) -> Membership:
    """Return that of the private group."""
    return attrs.evolve(membership_of(world.topic, "own", 60), group=OWN, expiry=60.0)


async def create_own_again(world: World) -> object:
    return await world.backend.create_private(world.topic, OWN, None, 0.0)


async def judge_create_own_again(world: World, outcome: Outcome, cut: Cut) -> None:
    """It stays as it is, and is kept as long as it was."""
    assert raised(outcome, cut) or outcome.result is None
    await world.member.look()
    assert await private_groups(world) == {OWN}
    await check_accounts(world)


async def forget_own(world: World) -> object:
    async with world.backend.join(own(world)) as member:
        return await member.forget()


async def judge_forget_own(world: World, outcome: Outcome, cut: Cut) -> None:
    """It goes as a whole, or stays. Joining comes before: a connection may be new after that."""
    gone = outcome.error is None or cut.is_executed
    assert outcome.error is not None or outcome.result is True
    assert await private_groups(world) == (set() if gone else {OWN})
    await check_accounts(world)


async def leave_own(world: World) -> None:
    """Let there be one that nobody keeps."""
    assert await world.direct.create_private(world.topic, OWN, OLDEST, 0.0) == OLDEST


async def judge_removed(world: World, outcome: Outcome, cut: Cut) -> None:
    """A look that was answered is no failure; what it does not remove, the next one does."""
    assert (outcome.error is None) == (cut.answered > 0)
    if cut.is_executed:
        assert not await private_groups(world)
    await world.member.look()
    assert not await private_groups(world)
    await check_accounts(world)


async def private_groups(world: World) -> set[str]:
    """Return their names."""
    groups = (await world.direct.info(world.topic)).groups
    return {group.name for group in groups if group.is_private}


async def join_another(world: World) -> object:
    async with world.backend.join(membership_of(world.topic, "other", 60)):
        return None


async def judge_join(world: World, outcome: Outcome, cut: Cut) -> None:
    """It asks what it may do, and changes nothing."""
    assert raised(outcome, cut) or outcome.error is None
    await check_accounts(world)


async def hold_three(world: World) -> None:
    await world.hold(3)


async def ask_info(world: World) -> object:
    return await world.backend.info(world.topic)


async def judge_info(world: World, outcome: Outcome, cut: Cut) -> None:
    """It is told as a whole, or not at all.

    How long a reply is depends on the time; and what comes after a whole reply may be asked again
    on another connection.
    """
    if outcome.error is not None:
        raised(outcome, cut)
    else:
        assert isinstance(outcome.result, TopicInfo)
        assert outcome.result.length == 3
        assert outcome.result.groups[0].pending == 3
    assert await check_accounts(world) == dict.fromkeys(ids(world.entries), 1)


# -- reading


async def three_wait(world: World) -> None:
    """Let three entries wait for a reader that has its connection."""
    await world.hold(1)
    await world.add(3)


async def three_wait_for_the_first_read(world: World) -> None:
    await world.add(3)


async def read_waiting(world: World) -> object:
    return await world.member.read(10, 5)


async def read_blocked(world: World) -> object:
    """Read; the entries come while the read is blocked on the server."""
    reader = world.member._reader._connection
    assert reader is not None
    name = reader.identity.client_id
    read: list[Entry] = []
    errors: list[BusError] = []

    async def read_on() -> None:
        try:
            read.extend(await world.member.read(10, 5))
        except BusError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_on)
        while " flags=b" not in as_text(await world.ask("CLIENT", "LIST", "ID", name)):
            if errors:
                break
        await world.add(1)
    if errors:
        raise errors[0]
    return read


async def read_nothing(world: World) -> object:
    return await world.member.read(10, 0.001)


def judge_read(count: int) -> Judge:
    """Expect that many entries in the end, all of them counted once."""

    async def judge(world: World, outcome: Outcome, cut: Cut) -> None:
        before = dict.fromkeys(ids(world.entries), 1)
        if not raised(outcome, cut):
            assert len(cast("list[Entry]", outcome.result)) == count
        held = await check_accounts(world)
        assert held == dict.fromkeys([at for at, _ in await world.stored()], 1)
        assert len(held) == len(before) + count
        assert held.keys() >= before.keys()

    return judge


# -- taking over


async def lose_a_read(world: World) -> None:
    """Let three entries be delivered to a reader whose connection is reset before they arrive."""
    await three_wait(world)
    fault = world.proxy.in_reply("XREADGROUP", Act.RESET)
    with pytest.raises(OutcomeUnknown):
        await world.member.read(10, 5)
    assert fault.happened == 1
    world.entries.clear()


async def lose_a_take_over(world: World) -> None:
    """Let two entries be taken over by an answer that never comes."""
    await world.member.take_over(1)  # nothing yet; the server knows the script from now on
    await world.hold(3)
    one, two, _ = world.receipts
    await world.member.settle([Release(one), Release(two)])
    fault = world.proxy.in_reply("EVALSHA", Act.RESET)
    with pytest.raises(OutcomeUnknown):
        await world.member.take_over(10)
    assert fault.happened == 1
    assert len(await world.ours()) == 3
    await world.backend._link.wait_connected()


async def judge_strays(world: World, outcome: Outcome, cut: Cut) -> None:
    """What went astray is ours again in the end, and was never counted."""
    if outcome.error is not None:
        raised(outcome, cut)
    else:
        assert dict(world.member._holdings.known) == await world.ours()
    assert await check_accounts(world) == dict.fromkeys([at for at, _ in await world.stored()], 1)


async def a_suspect(world: World) -> None:
    """Let an entry be set apart that was started twice."""
    await world.hold(1)
    (receipt,) = world.receipts
    await world.member.settle([Release(replace(receipt, suspect=True))])
    await world.ask("XCLAIM", world.topic, GROUP, SUSPECT, 0, str(receipt.id), "RETRYCOUNT", 2)


async def take_booked(world: World) -> object:
    return await world.member.take_booked(world.entries[0].id)


async def judge_take_booked(world: World, outcome: Outcome, cut: Cut) -> None:
    """What was taken and not told is a suspect again, uncounted."""
    (key,) = ids(world.entries)
    if raised(outcome, cut):
        assert await world.member.take_over(100) == TakeOver()
        assert await world.pending() == {key: (SUSPECT, 2)}
        await world.member.take_booked(key)
    assert await check_accounts(world) == {key: 3}


async def keep_booking(world: World) -> object:
    return await world.member.keep_booking(world.entries[0].id)


async def give_up_booking(world: World) -> object:
    await world.member.give_up_booking(world.entries[0].id)
    return None


async def judge_booking(world: World, outcome: Outcome, cut: Cut) -> None:
    """It is set apart as before, and whoever takes it gets it."""
    (key,) = ids(world.entries)
    raised(outcome, cut)
    assert await world.pending() == {key: (SUSPECT, 2)}
    await world.backend._link.wait_connected()
    await world.member.take_booked(key)
    assert await check_accounts(world) == {key: 3}


async def something_free(world: World) -> None:
    await world.hold(3)
    await world.member.settle([Release(world.receipts[0])])


async def ask_claimable(world: World) -> object:
    return (await world.member.look()).claimable


def judge_claimable(answer: bool) -> Judge:  # noqa: FBT001 - it is the answer
    """Expect that answer, and that nothing changes."""

    async def judge(world: World, outcome: Outcome, cut: Cut) -> None:
        assert raised(outcome, cut) or outcome.result is answer
        assert await check_accounts(world) == dict.fromkeys(ids(world.entries), 1)

    return judge


async def schedule_two(world: World) -> None:
    """Let two be due."""
    for uid in "ab":
        await world.direct.schedule(world.topic, RECORDS[0], uid, 0.0)


async def ask_look(world: World) -> object:
    return (await world.member.look()).due_in


async def judge_moved(world: World, outcome: Outcome, cut: Cut) -> None:
    """They are appended together, and once."""
    if not raised(outcome, cut):
        assert outcome.result is None
    assert len(await world.stored()) in ({0, 2} if outcome.error else {2})
    await world.member.look()
    assert len(await world.stored()) == 2


async def schedule_one(world: World) -> object:
    return await world.backend.schedule(world.topic, RECORDS[0], "x-k", 60.0, once=60.0)


async def judge_scheduled(world: World, outcome: Outcome, cut: Cut) -> None:
    """It is in the schedule once, if it is there; with its marker, so that it can be repeated."""
    assert raised(outcome, cut) or outcome.result == "x-k"
    kept = await world.direct.schedule(world.topic, RECORDS[0], "y-k", 60.0, once=60.0)
    if outcome.error is None or cut.is_executed:
        assert kept == "x-k"
    if cut.is_not_executed:
        assert kept == "y-k"
    assert await world.direct.cancel_scheduled(world.topic, kept)
    assert not await world.direct.cancel_scheduled(world.topic, "x-k")


async def schedule_x(world: World) -> None:
    await world.direct.schedule(world.topic, RECORDS[0], "x-k", 60.0, once=60.0)


async def cancel_one(world: World) -> object:
    return await world.backend.cancel_scheduled(world.topic, "x-k")


async def judge_cancelled(world: World, outcome: Outcome, cut: Cut) -> None:
    """It is out of the schedule, or as before."""
    assert raised(outcome, cut) or outcome.result is True
    left = await world.direct.cancel_scheduled(world.topic, "x-k")
    if outcome.error is None or cut.is_executed:
        assert not left
    if cut.is_not_executed:
        assert left


async def everything_to_take(world: World) -> None:
    """Let one entry be free, one due, one abandoned, one exhausted and one deleted."""
    await world.hold(4)
    free, due, exhausted, deleted = world.receipts
    await world.member.settle([Release(free), Retry(due), Retry(exhausted), Release(deleted)])
    await world.ask("XCLAIM", world.topic, GROUP, "~free", 0, str(exhausted.id), "RETRYCOUNT", 3)
    await world.ask("XDEL", world.topic, str(deleted.id))
    await world.add(1)
    async with world.direct.join(membership_of(world.topic, "them", 60)) as them:
        world.entries += await them.read(1, 5)
    await world.wait_leases(2)
    await world.member.look()  # it finds what is abandoned


async def take_over(world: World) -> object:
    return await world.member.take_over(10)


async def judge_take_over(world: World, outcome: Outcome, cut: Cut) -> None:
    """What was taken and not told comes back, uncounted; buried is buried once."""
    free, due, exhausted, deleted, abandoned = ids(world.entries)
    attempts = {free: 1, due: 2, abandoned: 2}
    if not raised(outcome, cut):
        assert isinstance(outcome.result, TakeOver)
        assert {entry.id: entry.attempt for entry in outcome.result.entries} == attempts
        assert ids_of(outcome.result) == ({exhausted}, {deleted})
    world.done.add(exhausted)
    assert await check_accounts(world) == attempts
    assert await world.length(world.dead_topic) == 1


def ids_of(taken: TakeOver) -> tuple[set[EntryId], set[EntryId]]:
    """Return what was buried, and what was gone."""
    return {receipt.id for receipt in taken.buried}, set(taken.gone)


async def an_idle_consumer(world: World) -> None:
    await world.hold(2)
    await world.ask("XGROUP", "CREATECONSUMER", world.topic, GROUP, "idle")
    await world.wait_leases(3)


async def tend(world: World) -> object:
    await world.member.look()
    return None


async def judge_tend(world: World, outcome: Outcome, cut: Cut) -> None:
    """The idle one goes, now or at the next time; nobody else."""
    raised(outcome, cut)
    assert ("idle" in await consumers(world)) == cut.is_not_executed
    assert "us" in await consumers(world)
    assert await check_accounts(world) == dict.fromkeys(ids(world.entries), 1)


async def consumers(world: World) -> set[str]:
    """Return the names of the consumers."""
    (group,) = (await world.direct.info(world.topic)).groups
    return {consumer.name for consumer in group.consumers}


async def finish_three(world: World) -> None:
    await world.hold(3)
    await world.member.settle([Ack(receipt) for receipt in world.receipts])
    world.done.update(ids(world.entries))
    world.entries.clear()


async def look_and_remove(world: World) -> object:
    return (await world.member.look()).trimmed


async def judge_retained(world: World, outcome: Outcome, cut: Cut) -> None:
    """All that goes is gone at once; or nothing is, and then the next look removes it."""
    if not raised(outcome, cut):
        assert outcome.result == 2
    assert await world.length() in ({1, 3} if outcome.error else {1})
    await look_and_remove(world)
    assert await world.length() == 1


# -- settling


async def hold_six(world: World) -> None:
    await world.hold(6)


def settlements(world: World) -> list[Settlement]:
    """Return one of each kind."""
    acked, retried, delayed, released, postponed, buried = world.receipts
    return [
        Ack(acked),
        Retry(retried),
        Retry(delayed, 3600),
        Release(released),
        Release(postponed, 3600),
        Bury(buried, DEATH),
    ]


async def settle(world: World) -> object:
    return await world.member.settle(settlements(world))


async def judge_settle(world: World, outcome: Outcome, cut: Cut) -> None:
    """Asked again, what had happened is lost to us, and the rest is done; in the end all is so."""
    acked, retried, delayed, released, postponed, buried = ids(world.entries)
    if raised(outcome, cut, OutcomeUnknown):
        again = await world.member.settle(settlements(world))
        allowed = {Settled.DONE, Settled.LOST}
        allowed -= {Settled.DONE} if cut.is_executed else set[Settled]()
        allowed -= {Settled.LOST} if cut.is_not_executed else set[Settled]()
        assert set(again) <= allowed, again
    else:
        assert outcome.result == [Settled.DONE] * 6
    pending = await world.pending()
    assert pending.pop(released) == ("~free", 0)
    assert pending.pop(retried) == (DUE, 1)
    assert pending == {delayed: (DUE, 1), postponed: (DUE, 0)}
    assert await world.length(world.dead_topic) == 1
    world.done |= {acked, buried}
    assert await check_accounts(world) == {released: 1, retried: 2}


async def hold_three_and_lose_one(world: World) -> None:
    await world.hold(3)
    await world.ask("XCLAIM", world.topic, GROUP, "~free", 0, str(world.entries[1].id), "JUSTID")


async def renew(world: World) -> object:
    return await world.member.renew(world.receipts)


async def judge_renew(world: World, outcome: Outcome, cut: Cut) -> None:
    """What is lost is told, now or at the next renewal; what is ours stays ours."""
    one, lost, two = ids(world.entries)
    if not raised(outcome, cut):
        assert outcome.result == {lost: Settled.LOST}
    assert await world.member.renew(world.receipts) == {lost: Settled.LOST}
    held = await check_accounts(world)
    assert held == {one: 1, lost: 2, two: 1}


async def hold_none(world: World) -> None:
    await world.hold(2)
    await world.member.settle([Ack(receipt) for receipt in world.receipts])
    world.done.update(ids(world.entries))


async def forget(world: World) -> object:
    return await world.member.forget()


def judge_forget(goes: bool) -> Judge:  # noqa: FBT001 - it is the answer
    """Expect that we go, or stay with what we own."""

    async def judge(world: World, outcome: Outcome, cut: Cut) -> None:
        assert raised(outcome, cut) or outcome.result is goes
        assert ("us" in await consumers(world)) == (not goes or cut.is_not_executed)
        assert await world.member.forget() is goes
        held: Mapping[EntryId, int] = {} if goes else dict.fromkeys(ids(world.entries), 1)
        assert await check_accounts(world) == held

    return judge


# -- dead letters


async def bury_three(world: World) -> None:
    """Let three entries lie in the dead-letter topic."""
    await world.hold(3)
    assert (
        await world.member.settle([Bury(it, DEATH) for it in world.receipts]) == [Settled.DONE] * 3
    )
    world.done.update(ids(world.entries))


async def read_buried(world: World) -> object:
    return await world.backend.buried(world.dead_topic, None, None)


async def judge_buried(world: World, outcome: Outcome, cut: Cut) -> None:
    """All are told, or nothing; what is read stays where it is."""
    if not raised(outcome, cut):
        found, _ = cast("tuple[list[Buried], EntryId | None]", outcome.result)
        assert len(found) == 3
    assert await world.length(world.dead_topic) == 3
    assert await check_accounts(world) == {}


async def graves(world: World) -> list[Grave]:
    found, _ = await world.direct.buried(world.dead_topic, None, None)
    return [
        Grave(world.topic, GROUP, entry.id, world.dead_topic, at)
        for entry, (at, _) in zip(world.entries, found, strict=True)
    ]


async def redrive(world: World) -> object:
    return await world.backend.redrive(await graves(world))


async def judge_redriven(world: World, outcome: Outcome, cut: Cut) -> None:
    """Done again, each is back once, uncounted, and no dead letter is left."""
    if raised(outcome, cut):
        found, _ = await world.direct.buried(world.dead_topic, None, None)
        left = [at for at, _ in found]
        again = await world.direct.redrive(
            [
                Grave(world.topic, GROUP, entry.id, world.dead_topic, at)
                for entry, at in zip(world.entries[3 - len(left) :], left, strict=True)
            ]
        )
        assert again == [Redriven.DONE] * len(left)
    else:
        assert outcome.result == [Redriven.DONE] * 3
    assert await world.length(world.dead_topic) == 0
    world.done.clear()
    assert await check_accounts(world) == dict.fromkeys(ids(world.entries), 1)


ROWS = [
    Row("buried", "in a topic", bury_three, read_buried, judge_buried),
    Row("redrive", "three", bury_three, redrive, judge_redriven),
    Row("append", "one", nothing, append_one, judge_append),
    Row("append", "many", nothing, append_three, judge_append),
    Row("append", "with keys", nothing, append_keyed, judge_append_keyed),
    Row("append_nowait", "many", nothing, append_nowait, judge_append),
    Row(
        "append_persisted",
        "refused",
        nothing,
        append_persisted,
        judge_append_persisted,
        both_ways=False,
    ),
    Row("create_group", "new", nothing, create_new, judge_create_new),
    Row("create_group", "there already", nothing, create_old, judge_create_old),
    Row("create_private", "new", nothing, create_own, judge_create_own),
    Row("create_private", "there already", have_own, create_own_again, judge_create_own_again),
    Row("forget", "a private group", have_own, forget_own, judge_forget_own),
    Row("look", "a private group is over", leave_own, tend, judge_removed),
    Row("join", "another", nothing, join_another, judge_join),
    Row("info", "with a group", hold_three, ask_info, judge_info),
    Row("read", "what waits", three_wait, read_waiting, judge_read(3)),
    Row(
        "read",
        "for the first time",
        three_wait_for_the_first_read,
        read_waiting,
        judge_read(3),
        both_ways=False,
    ),
    Row("read", "blocked", hold_three, read_blocked, judge_read(1)),
    Row("read", "nothing", hold_three, read_nothing, judge_read(0)),
    Row("schedule", "with a key", nothing, schedule_one, judge_scheduled),
    Row("cancel_scheduled", "one", schedule_x, cancel_one, judge_cancelled),
    Row("look", "two are due", schedule_two, ask_look, judge_moved),
    Row("look", "yes", something_free, ask_claimable, judge_claimable(answer=True)),
    Row("look", "no", hold_three, ask_claimable, judge_claimable(answer=False)),
    Row("take_over", "of all kinds", everything_to_take, take_over, judge_take_over, lease=LEASE),
    Row("read", "after a lost read", lose_a_read, read_nothing, judge_strays, both_ways=False),
    Row(
        "read",
        "after a lost take-over",
        lose_a_take_over,
        read_nothing,
        judge_strays,
        both_ways=False,
    ),
    Row("take_over", "after a lost read", lose_a_read, take_over, judge_strays, both_ways=False),
    Row(
        "take_over",
        "after a lost take-over",
        lose_a_take_over,
        take_over,
        judge_strays,
        both_ways=False,
    ),
    Row("take_booked", "a suspect", a_suspect, take_booked, judge_take_booked),
    Row("keep_booking", "of a suspect", a_suspect, keep_booking, judge_booking),
    Row("give_up_booking", "of a suspect", a_suspect, give_up_booking, judge_booking),
    Row("forget", "after a lost read", lose_a_read, forget, judge_strays, both_ways=False),
    Row("look", "an idle consumer", an_idle_consumer, tend, judge_tend, lease=LEASE),
    Row(
        "look",
        "three are finished",
        finish_three,
        look_and_remove,
        judge_retained,
        retention=Retention(max_length=1),
    ),
    Row("settle", "in all ways", hold_six, settle, judge_settle),
    Row("renew", "with one lost", hold_three_and_lose_one, renew, judge_renew),
    Row("forget", "owning nothing", hold_none, forget, judge_forget(goes=True)),
    Row("forget", "owning something", hold_three, forget, judge_forget(goes=False)),
]
