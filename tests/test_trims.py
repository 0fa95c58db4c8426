"""What a look removes is told to the journal: each entry where it can be seen, or how many."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.faults import FlakyBackend
from tests.test_retention import US, begin
from trio_bus import EntryId, MemoryBackend, Retention
from trio_bus._backend import Ack, Membership, StreamBackend
from trio_bus._look import Look
from trio_bus.testing._ears import Witness
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import Line, What
from trio_bus.testing._simulation.rest import is_trimmed
from trio_bus.testing._trims import looked

KEEPING_ONE = attrs.evolve(US, retention=Retention(max_length=1))


async def told(backend: StreamBackend, us: Membership) -> tuple[list[Line], list[EntryId]]:
    """Finish three, look twice, and return the lines, and the ids of the three."""
    journal = Journal()
    witness = Witness(journal, "us", us)
    async with backend.join(us) as member:
        ids = await begin(backend, 3)
        await member.settle([Ack(it.receipt) for it in await member.read(3, 0)])
        for _ in range(2):
            await looked(member.look, backend, us, witness)
    return [it for it in journal.lines if it.what is What.RETAINED], ids


async def test_each_entry_is_told_with_what_is_behind_it() -> None:
    """In memory, where it is seen."""
    lines, ids = await told(MemoryBackend(), KEEPING_ONE)
    assert [(it.entry_id, it.count) for it in lines] == [(ids[0], 2), (ids[1], 1)]
    assert all(0 <= (it.seconds or 0) < 20 for it in lines)


async def test_elsewhere_it_is_told_how_many() -> None:
    """Once, and not when there were none."""
    lines, _ = await told(FlakyBackend(), KEEPING_ONE)
    assert [(it.entry_id, it.count) for it in lines] == [(None, 2)]


async def test_nothing_is_told_without_a_retention() -> None:
    """Nobody looks for it either."""
    lines, _ = await told(MemoryBackend(), attrs.evolve(US, retention=None))
    assert lines == []


async def test_a_topic_that_is_gone_has_nothing_to_remove() -> None:
    """And so has one that is empty, or for which nobody wants that."""
    backend, retentions = MemoryBackend(), [None, Retention(max_length=0)]
    assert is_trimmed(backend, "{orders}", retentions)
    await told(backend, KEEPING_ONE)
    assert not is_trimmed(backend, "{orders}", retentions)
    assert is_trimmed(backend, "{orders}", [None, Retention(max_length=1)])
    backend.trim("{orders}", 0)
    assert is_trimmed(backend, "{orders}", retentions)
    journal = Journal()
    async with backend.join(US) as member:
        backend.delete_topic("{orders}")
        with pytest.raises(Exception, match="NOGROUP"):
            await looked(member.look, backend, US, Witness(journal, "us", US))
    assert [it.what for it in journal.lines] == [What.MEMBER]


async def test_a_look_that_is_cancelled_removes_nothing() -> None:
    """It waits in one step, and is cancelled there."""
    backend, journal = MemoryBackend(), Journal()
    async with backend.join(KEEPING_ONE) as member:
        await begin(backend, 3)
        with trio.CancelScope() as scope:
            scope.cancel()
            await looked(member.look, backend, KEEPING_ONE, Witness(journal, "us", KEEPING_ONE))
    assert scope.cancelled_caught
    assert [it.what for it in journal.lines] == [What.MEMBER]


async def test_what_is_appended_while_somebody_looks_is_told_too() -> None:
    """The look begins before it, and removes it."""
    backend, journal = MemoryBackend(), Journal()
    us = attrs.evolve(US, retention=Retention(max_length=1, finished=False))
    async with backend.join(us) as member:
        await backend.create_group(us.topic, us.group, EntryId(0))

        async def look() -> Look:
            await backend.append(us.topic, [((b"n", b"1"),), ((b"n", b"2"),)])
            return await member.look()

        await looked(look, backend, us, Witness(journal, "us", us))
    assert [it.count for it in journal.lines if it.what is What.RETAINED] == [1]
