"""What the tests of the Redis backend share: a backend on an empty server, and a look inside."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from trio_bus._backend import (
    Death,
    DeathCause,
    Entry,
    Membership,
    Receipt,
    Record,
)
from trio_bus._entry_id import EntryId
from trio_bus._observer import ErrorEvent, Transition, TransitionEvent
from trio_bus._options import BusOptions
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.member import RedisMember
from trio_bus._redis.replies import as_int, as_list, as_text
from trio_bus._redis.resp import Reply

TOPIC, GROUP, DEAD_TOPIC = "{orders}", "billing", "{orders}.dead"
OLDEST = EntryId(0)
DEATH = Death(DeathCause.REJECTED, "builtins.ValueError", "no such customer \udc80")
US = Membership(
    topic=TOPIC, group=GROUP, consumer="us", lease=60.0, max_attempt=3, dead_letter_topic=DEAD_TOPIC
)
THEM = attrs.evolve(US, consumer="them")


@attrs.define
class Listener:
    """An observer that keeps what it hears."""

    errors: list[ErrorEvent] = attrs.field(factory=list[ErrorEvent])

    def on_error(self, event: ErrorEvent, /) -> None:
        """Keep it."""
        self.errors.append(event)

    def on_transition(self, event: TransitionEvent, /) -> None:
        """A backend tells of none but this."""
        assert event.transition is Transition.RECONNECTED, event


def options(listener: Listener | None = None, timeout: float = 5.0) -> BusOptions:
    """Return settings for tests."""
    return BusOptions(
        observer=listener or Listener(), connect_timeout=timeout, command_timeout=timeout
    )


@asynccontextmanager
async def opened(server_url: str) -> AsyncGenerator[RedisBackend]:
    """Give a backend on an empty server, with our group in it."""
    async with open_redis(server_url, options()) as backend:
        assert await backend.create_group(TOPIC, GROUP, OLDEST)
        yield backend


@asynccontextmanager
async def joined(backend: RedisBackend, membership: Membership) -> AsyncGenerator[RedisMember]:
    """Join, and give the member with what only tests look at."""
    async with backend.join(membership) as member:
        assert isinstance(member, RedisMember)
        yield member


async def command(backend: RedisBackend, *words: bytes | str | int) -> Reply:
    """Do what an operator would do."""
    return await backend._link.call(*words)


async def publish(backend: RedisBackend, count: int) -> list[EntryId]:
    """Append numbered records."""
    records: list[Record] = [((b"n", str(number).encode()),) for number in range(count)]
    ids = await backend.append(TOPIC, records)
    return [entry_id for entry_id in ids if isinstance(entry_id, EntryId)]


async def raw_pending(backend: RedisBackend) -> dict[EntryId, tuple[str, int]]:
    """Return who holds what, and how often it was delivered, as the server says it."""
    rows = [as_list(r) for r in as_list(await command(backend, *_pending(TOPIC, GROUP)))]
    return {EntryId.parse(as_text(row[0])): (as_text(row[1]), as_int(row[3])) for row in rows}


def _pending(topic: str, group: str) -> tuple[str | int, ...]:
    return ("XPENDING", topic, group, "-", "+", 10000)


def receipts(entries: Sequence[Entry]) -> list[Receipt]:
    """Return their receipts."""
    return [entry.receipt for entry in entries]


def ids(entries: Sequence[Entry]) -> list[EntryId]:
    """Return their ids."""
    return [entry.id for entry in entries]


async def until_blocked(backend: RedisBackend, count: int = 1) -> None:
    """Wait until that many clients are blocked in a read."""
    with trio.fail_after(10):
        wanted = f"blocked_clients:{count}\r"
        while wanted not in as_text(await command(backend, "INFO", "clients")):
            await trio.sleep(0.001)
