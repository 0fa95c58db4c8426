"""Tending a group: one member does it for all, whoever that is, and what it finds is for all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.harness import World, open_world
from trio_bus._backend import Ack, Entry, Membership, Receipt, Record, Release
from trio_bus._entry_id import EntryId
from trio_bus._patience import patience
from trio_bus._settled import Settled

pytestmark = pytest.mark.every_server

NEVER = 3600.0
"""Seconds: no test lasts until then."""
SOON = 0.001
US = Membership(topic="orders", group="billing", consumer="us", lease=SOON, max_attempt=3)
THEM = attrs.evolve(US, consumer="them")
HOLDER = attrs.evolve(US, consumer="holder")


@pytest.fixture
async def group(backend_url: str) -> AsyncGenerator[World]:
    """Give a world with our group in it."""
    async with open_world(backend_url) as world:
        await world.backend.create_group("orders", "billing", EntryId(0))
        yield world


@asynccontextmanager
async def held(world: World, count: int, who: Membership = HOLDER) -> AsyncGenerator[list[Entry]]:
    """Let a consumer hold so many entries, for longer than the shortest lease."""
    records: list[Record] = [((b"n", b"%d" % number),) for number in range(count)]
    await world.backend.append("orders", records)
    async with world.backend.join(who) as member:
        entries = await member.read(count, 5)
        assert len(entries) == count
        await trio.sleep(0.01)
        yield entries


def ids(entries: Iterable[Entry]) -> list[EntryId]:
    """Return their ids."""
    return [entry.id for entry in entries]


async def names(world: World) -> set[str]:
    """Return the names of the consumers."""
    return {consumer.name for consumer in (await world.group()).consumers}


async def test_a_group_is_tended_once_in_a_while_whoever_looks(group: World) -> None:
    """What one member did a moment ago no other does again; who is less patient does it."""
    async with (
        group.backend.join(attrs.evolve(US, tend_every=NEVER)) as us,
        group.backend.join(attrs.evolve(THEM, tend_every=NEVER)) as them,
        group.backend.join(attrs.evolve(US, consumer="hasty")) as hasty,
    ):
        assert not (await us.look()).claimable
        async with held(group, 1):
            assert not (await them.look()).claimable
            assert not (await us.look()).claimable
            assert (await hasty.look()).claimable
            assert (await them.look()).claimable, "what was found is there for all"


async def test_whoever_comes_next_tends_when_a_tender_died(group: World) -> None:
    """There is no office: a member that is gone, or stopped, takes nothing with it."""
    often = attrs.evolve(THEM, tend_every=0.1)
    async with group.backend.join(attrs.evolve(often, consumer="dying")) as dying:
        assert not (await dying.look()).claimable
    async with held(group, 1), group.backend.join(often) as them:
        with trio.fail_after(5):
            while not (await them.look()).claimable:
                await trio.sleep(0.01)


async def test_what_was_abandoned_is_for_all_and_counts(group: World) -> None:
    """Its owner has lost it; all are woken for it, and who found it need not take it."""
    async with (
        held(group, 2) as (one, two),
        group.backend.join(HOLDER) as holder,
        group.backend.join(US) as us,
        group.backend.join(THEM) as them,
    ):
        await holder.settle([Release(two.receipt)])
        with trio.fail_after(5):
            assert await them.woken() == 0
        with trio.move_on_after(0.2):  # one more, where it has just begun to listen
            await them.woken()
        assert (await us.look()).claimable
        with trio.fail_after(5):
            assert await them.woken() == 0
        assert (await group.group()).released == 2
        assert await holder.renew([one.receipt]) == {one.id: Settled.LOST}
        assert await holder.settle([Ack(one.receipt)]) == [Settled.LOST]
        taken = await them.take_over(5)
        assert [(it.id, it.attempt) for it in taken.entries] == [(two.id, 1), (one.id, 2)]


async def test_our_own_entries_are_never_abandoned_by_us(group: World) -> None:
    """Somebody else has to say that we are late."""
    async with held(group, 1, US) as (entry,), group.backend.join(US) as us:
        assert not (await us.look()).claimable
        assert await us.settle([Ack(entry.receipt)]) == [Settled.DONE]


async def test_abandoned_entries_that_were_deleted_are_told_once(group: World) -> None:
    """They are not pending any more."""
    async with held(group, 2) as (gone, kept), group.backend.join(US) as us:
        group.delete_entry(gone.id)
        look = await us.look()
        assert (look.gone, look.claimable) == ((gone.id,), True)
        assert (await us.look()).gone == ()
        taken = await us.take_over(5)
        assert (ids(taken.entries), taken.gone) == ([kept.id], ())
    assert (await group.group()).pending == 1


async def test_who_looks_is_not_idle(group: World) -> None:
    """Whatever its read waits for. That counts no delivery."""
    async with held(group, 1, US) as (entry,), group.backend.join(US) as us:
        await trio.sleep(0.3)
        began = trio.current_time()
        await us.look()
        (consumer,) = (await group.group()).consumers
        assert consumer.idle <= trio.current_time() - began + 0.001
        assert await us.settle([Ack(Receipt(entry.id, 1))]) == [Settled.DONE]


async def test_who_owns_nothing_and_looks_no_more_is_removed(group: World) -> None:
    """After two leases, or two ticks where those are longer; who owns something stays."""
    patient = attrs.evolve(THEM, lease=NEVER)
    assert patience(patient) == 2 * NEVER
    assert patience(attrs.evolve(THEM, tend_every=NEVER)) == 4 * NEVER
    async with held(group, 1), group.backend.join(US) as us, group.backend.join(patient) as them:
        await them.look()
        await trio.sleep(0.05)
        await them.look()
        assert await names(group) == {"holder", "them"}
        await trio.sleep(0.05)
        await us.look()
        assert await names(group) == {"holder", "us"}, "it held something until now"
        await us.look()
        assert await names(group) == {"us"}
