"""A backend to try calls on, and what must be true of it after each."""

# pyright: reportPrivateUsage=false
# What a connection owes is told by no public call.

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import attrs
import trio

from tests.cutting import running_tasks
from tests.harness import Recorder
from tests.ledger import Ledger, consumers_holding, held_by, ledger_of
from tests.redis_world import command
from tests.servers import processes
from trio_bus import Backoff, Bus, BusOptions, Message, Scope, SubscriptionConfig
from trio_bus._backend import (
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Record,
    Settlement,
    StreamBackend,
)
from trio_bus._connect import open_backend
from trio_bus._entry_id import EntryId
from trio_bus._redis import RedisBackend
from trio_bus._redis.member import RedisMember
from trio_bus._redis.pipeline import Pipeline
from trio_bus._redis.replies import as_bytes

GROUP = "billing"
BOUND = 5.0
"""Seconds within which everything is as it was."""
RECORD: Record = ((b"n", b"1"),)


@attrs.frozen
class BaseLine:
    """What there is while nothing is going on."""

    tasks: list[str]
    connections: int
    processes: set[int]
    pipeline: Pipeline | None


@attrs.define(eq=False)
class Stage:
    """One backend, and a topic for each call."""

    url: str
    home: Path | None
    backend: StreamBackend
    bus: Bus
    recorder: Recorder
    topic: str = ""
    _numbers: count[int] = attrs.field(factory=count)

    @property
    def dead_topic(self) -> str:
        """Where what is given up goes: in the slot of the topic."""
        return f"{{{self.topic}}}.dead"

    @property
    def config(self) -> SubscriptionConfig:
        """Settings under which nothing happens by itself: what was given back stays there."""
        return SubscriptionConfig(
            self.topic,
            GROUP,
            reclaim_interval=60.0,
            retry_backoff=Backoff(first=60.0, jitter=0.0),
            dead_letter_topic=self.dead_topic,
        )

    def membership(self, consumer: str = "us") -> Membership:
        """Return one whose lease does not run out, and which buries what was delivered once."""
        return Membership(
            topic=self.topic,
            group=GROUP,
            consumer=consumer,
            lease=60.0,
            max_attempt=1,
            dead_letter_topic=self.dead_topic,
        )

    async def next_topic(self) -> None:
        """Go on with an empty topic that has our group."""
        self.topic = f"topic-{next(self._numbers)}"
        await self.backend.create_group(self.topic, GROUP, EntryId(0))

    def message(self) -> Message:
        """Return something to publish."""
        return Message(self.topic, b"1")

    async def append(self, number: int) -> list[EntryId]:
        """Append as many messages; return their ids."""
        outcome = await self.bus.publish_batch([self.message()] * number)
        outcome.raise_errors()
        return [it for it in outcome.results if isinstance(it, EntryId)]

    async def length(self) -> int:
        """Return how many entries the topic has."""
        return (await self.backend.info(self.topic)).length

    async def ledger(self) -> Ledger:
        """Return where every entry of the topic is."""
        return await ledger_of(self.backend, self.topic, GROUP)

    async def consumers(self) -> set[str]:
        """Name the consumers of our group."""
        (group,) = [it for it in (await self.backend.info(self.topic)).groups if it.name == GROUP]
        return {consumer.name for consumer in group.consumers}

    async def private_groups(self) -> set[str]:
        """Name the private groups of the topic."""
        found = (await self.backend.info(self.topic)).groups
        return {group.name for group in found if group.is_private}

    async def hand_back(self, make: Sequence[Callable[[Receipt], Settlement]]) -> list[EntryId]:
        """Append entries that another consumer reads and settles like this; return their ids."""
        await self.append(len(make))
        async with self.backend.join(self.membership("them")) as them:
            entries = await them.read(len(make), 1.0)
            await them.settle([to(it.receipt) for to, it in zip(make, entries, strict=True)])
            return [entry.id for entry in entries]

    @asynccontextmanager
    async def member(self, held: int = 0) -> AsyncGenerator[tuple[GroupMember, list[Entry]], None]:
        """Be a consumer that holds so many entries."""
        await self.append(held)
        async with self.backend.join(self.membership()) as member:
            yield member, await member.read(held, 1.0) if held else []

    async def check_known(self, member: GroupMember, expected: dict[EntryId, int]) -> None:
        """Check that we hold on the server what we should, and know it."""
        assert held_by(await self.ledger(), "us") == expected
        if isinstance(member, RedisMember):
            assert dict(member._holdings.known) == expected
            assert not member._holdings.is_suspected, "nothing was lost"

    async def base_line(self) -> BaseLine:
        """Look at everything that a call could leave behind."""
        pids = {pid for pid, _ in processes(self.home)} if self.home else set[int]()
        if not isinstance(self.backend, RedisBackend):
            return BaseLine(running_tasks(), 0, pids, None)
        clients = as_bytes(await command(self.backend, "CLIENT", "LIST")).count(b"\n")
        return BaseLine(running_tasks(), clients, pids, self.backend._link.current)

    async def check(self, base: BaseLine) -> None:
        """Check that the connection is the same, works and owes nothing, and all is as it was."""
        if isinstance(self.backend, RedisBackend):
            with trio.fail_after(BOUND):
                token = f"is it {self.topic}?"
                assert await command(self.backend, "ECHO", token) == token.encode()
            pipeline = self.backend._link.current
            assert pipeline is not None
            assert not pipeline._owed
            assert not pipeline._outbox
            assert pipeline._credit.held == (0, 0)
        await self._until_equal(base)
        # A cancellation is no error, and loses no connection.
        assert not [it for it in self.recorder.errors if it.scope is not Scope.HANDLER]
        assert not consumers_holding(await self.ledger())

    async def _until_equal(self, base: BaseLine) -> None:
        """Wait, since the server and the operating system take a moment to end things."""
        with trio.move_on_after(BOUND):
            while await self.base_line() != base:
                await trio.sleep(0.001)
        assert await self.base_line() == base


@asynccontextmanager
async def open_stage(url: str, home: Path | None = None) -> AsyncGenerator[Stage, None]:
    """Open the backend at *url*; with the *home* of the tests, look at their processes too."""
    recorder = Recorder()
    options = BusOptions(observer=recorder, connect_timeout=5.0, command_timeout=5.0)
    async with open_backend(url, options) as backend:
        yield Stage(url, home, backend, Bus(backend, options), recorder)
