"""A backend behind a fault proxy, and the accounts that have to be right after every fault."""

# pyright: reportPrivateUsage=false
# Whether a connection owes a reply is known only inside.

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from tests.redis_world import Listener, options
from trio_bus._backend import Ack, Entry, Membership, Receipt, Record
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost
from trio_bus._names import DEAD, DUE
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.member import RedisMember
from trio_bus._redis.pipeline import Pipeline
from trio_bus._redis.replies import as_int, as_list, as_text
from trio_bus._redis.resp import Reply
from trio_bus._retention import Retention
from trio_bus._settled import Settled
from trio_bus.testing import FaultProxy

GROUP = "billing"
OLDEST = EntryId(0)


@attrs.define(eq=False)
class World:
    """One topic with its group, one backend behind the proxy, and one on a direct way."""

    topic: str
    proxy: FaultProxy
    backend: RedisBackend
    direct: RedisBackend
    member: RedisMember
    lease: float
    entries: list[Entry] = attrs.field(factory=list[Entry])
    """What the row prepared, and we hold."""
    done: set[EntryId] = attrs.field(factory=set[EntryId])
    """What was settled for good, and so may be nowhere."""
    token: int = 0
    """Of whoever keeps an order."""

    @property
    def receipts(self) -> list[Receipt]:
        """What settles `entries`."""
        return [entry.receipt for entry in self.entries]

    @property
    def dead_topic(self) -> str:
        """Where entries are buried."""
        return f"{self.topic}.dead"

    async def ask(self, *words: bytes | str | int) -> Reply:
        """Ask the server past the proxy."""
        return await self.direct._link.call(*words)

    async def add(self, count: int) -> list[EntryId]:
        """Append so many records past the proxy."""
        records: list[Record] = [((b"n", b"%d" % number),) for number in range(count)]
        ids = await self.direct.append(self.topic, records)
        return [entry_id for entry_id in ids if isinstance(entry_id, EntryId)]

    async def hold(self, count: int) -> None:
        """Add so many and let us hold them."""
        await self.add(count)
        while len(self.entries) < count:
            self.entries += await self.member.read(count - len(self.entries), 5)

    async def wait_leases(self, count: float) -> None:
        """Wait for so many leases, by the clock of the server."""
        await trio.sleep(count * self.lease)

    async def length(self, topic: str | None = None) -> int:
        """Count the entries of a topic, this one if it is not given."""
        return as_int(await self.ask("XLEN", topic or self.topic))

    async def stored(self) -> list[tuple[EntryId, bytes]]:
        """Return ids and numbers of all entries."""
        rows = [as_list(row) for row in as_list(await self.ask("XRANGE", self.topic, "-", "+"))]
        return [
            (EntryId.parse(as_text(row[0])), as_text(as_list(row[1])[1]).encode()) for row in rows
        ]

    async def pending(self) -> dict[EntryId, tuple[str, int]]:
        """Return who holds what, and how often it was delivered."""
        asked = await self.ask("XPENDING", self.topic, GROUP, "-", "+", 1000)
        rows = [as_list(row) for row in as_list(asked)]
        return {EntryId.parse(as_text(row[0])): (as_text(row[1]), as_int(row[3])) for row in rows}

    async def ours(self) -> dict[EntryId, int]:
        """Return what the server says we hold."""
        return {at: count for at, (who, count) in (await self.pending()).items() if who == "us"}


@asynccontextmanager
async def opened(
    proxy: FaultProxy,
    direct: RedisBackend,
    topic: str,
    lease: float,
    retention: Retention | None = None,
) -> AsyncGenerator[World]:
    """Open a world of its own on an empty topic."""
    membership = attrs.evolve(membership_of(topic, "us", lease), retention=retention)
    async with open_redis(proxy.url, options(Listener())) as backend:
        # Its connection would mix what it exchanges with what the call does; no call depends on it.
        backend._wakes.close()
        assert await direct.create_group(topic, GROUP, OLDEST)
        async with backend.join(membership) as member:
            assert isinstance(member, RedisMember)
            yield World(topic, proxy, backend, direct, member, lease)


def membership_of(topic: str, consumer: str, lease: float) -> Membership:
    """Return a membership of the group in that topic."""
    return Membership(
        topic=topic,
        group=GROUP,
        consumer=consumer,
        lease=lease,
        max_attempt=3,
        dead_letter_topic=f"{topic}.dead",
    )


async def check_link(world: World) -> None:
    """Every command gets its own reply, and nothing is owed afterwards."""
    link = world.backend._link
    for attempt in range(5):  # a dead connection may be met before its end is
        try:
            assert await link.call("ECHO", f"{world.topic} {attempt}") == (
                f"{world.topic} {attempt}".encode()
            )
            break
        except ConnectionLost:
            continue
    words = [f"{world.topic} {number}" for number in range(3)]
    assert await link.call_many([("ECHO", word) for word in words]) == [
        word.encode() for word in words
    ]
    assert all(owes_nothing(pipeline) for pipeline in pipelines(world))


def pipelines(world: World) -> list[Pipeline]:
    """Return the connections of this world that are open."""
    readers = [world.member._reader._connection, world.member._scout._connection]
    every = [None if reader is None else reader.pipeline for reader in readers]
    every.append(world.backend._link.current)
    return [pipeline for pipeline in every if pipeline is not None and pipeline.is_open]


def owes_nothing(pipeline: Pipeline) -> bool:
    """Tell whether nothing is queued, owed, or counted as such."""
    return not (pipeline._owed or pipeline._outbox) and pipeline._credit.held == (0, 0)


async def read_on(world: World) -> list[Entry]:
    """Read what is there, as a subscription does: again after a loss."""
    for _ in range(3):
        try:
            return await world.member.read(100, 0.001)
        except ConnectionLost:
            continue
    raise AssertionError("three reads were lost")


async def check_accounts(world: World) -> dict[EntryId, int]:
    """Take everything that can be had; return it with its attempts.

    Nothing may be lost, nothing left with us that we do not know, nothing owed.
    """
    await check_link(world)
    # Lost replies make the portions smaller: one call need not bring all.
    while await read_on(world):
        pass
    assert dict(world.member._holdings.known) == await world.ours()
    while (await world.member.take_over(100)).entries:
        pass
    held = dict(world.member._holdings.known)
    assert held == await world.ours()
    elsewhere = await world.pending()
    assert {who for who, _ in elsewhere.values()} <= {"us", DUE, DEAD}, elsewhere
    stored = {entry_id for entry_id, _ in await world.stored()}
    assert elsewhere.keys() <= stored
    # What is not pending was settled for good; nothing is undelivered, for we have read all.
    assert stored - elsewhere.keys() <= world.done
    assert not elsewhere.keys() & world.done
    await check_link(world)
    await settle_all(world)
    return held


async def settle_all(world: World) -> None:
    """Settle what we hold: each was ours, and then nothing is."""
    receipts = [entry.receipt for entry in world.member._holdings._known.values()]
    results = await world.member.settle([Ack(receipt) for receipt in receipts])
    assert results == [Settled.DONE] * len(receipts)
    assert await world.ours() == {}
    assert not world.member._holdings.known
    again = await world.member.settle([Ack(receipt) for receipt in receipts])
    assert again == [Settled.LOST] * len(receipts)


def ids(entries: Sequence[Entry]) -> list[EntryId]:
    """Return their ids."""
    return [entry.id for entry in entries]
