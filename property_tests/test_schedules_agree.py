"""Scheduling: the streams in memory and the real servers answer alike."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from random import Random

import attrs
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_bus import BusOptions, EntryId, MemoryBackend, open_redis
from trio_bus.abc import GroupMember, Membership, Record, StreamBackend

PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
STEPS = 60
numbers = itertools.count()
US = Membership(topic="t", group="g", consumer="us", lease=60.0, max_attempt=1000)


@attrs.define
class Script:
    """Random operations on one backend, and what it answered."""

    backend: StreamBackend
    topic: str
    random: Random
    answers: list[object] = attrs.field(factory=list[object])

    async def run(self) -> list[object]:
        """Do them all."""
        await self.backend.create_group(self.topic, "g", EntryId(0))
        async with self.backend.join(attrs.evolve(US, topic=self.topic)) as member:
            for _ in range(STEPS):
                act = self.random.choice([self._schedule, self._schedule, self._cancel, self._look])
                self.answers.append(await act(member))
            entries = await member.read(1000, 0)
        return [*self.answers, *(entry.record for entry in entries)]

    async def _schedule(self, _: GroupMember) -> object:
        at = self.random.choice([PAST, PAST, FUTURE]) + timedelta(days=self.random.randint(0, 2))
        once = self.random.choice([None, 60.0])
        payload = self.random.randbytes(self.random.choice([0, 1, 9, 1000]))
        record: Record = ((payload, b":"), (b"", payload), (payload, b"3:abc"))
        return await self.backend.schedule(self.topic, record, self._uid(), at, once)

    async def _cancel(self, _: GroupMember) -> object:
        return await self.backend.cancel_scheduled(self.topic, self._uid())

    async def _look(self, member: GroupMember) -> object:
        """Look, and say how much is in the stream then."""
        look = await member.look()
        years = None if look.due_in is None else look.due_in // (366 * 86_400)
        return look.claimable, years, (await self.backend.info(self.topic)).length

    def _uid(self) -> str:
        """Return one of a few: some share a marker."""
        return self.random.choice([f"{number}-{mark}" for number in range(5) for mark in "ab"])


# The server need not be empty: each example has a topic of its own.
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_schedules_in_memory_are_those_of_a_server(server_url: str, seed: int) -> None:
    """The same operations, the same answers, the same bytes in the same order."""

    async def compare() -> None:
        topic = f"t{next(numbers)}"
        mine = await Script(MemoryBackend(), topic, Random(seed)).run()  # noqa: S311 - repeatable
        async with open_redis(server_url, BusOptions()) as backend:
            theirs = await Script(backend, topic, Random(seed)).run()  # noqa: S311 - repeatable
        assert mine == theirs

    trio.run(compare)
