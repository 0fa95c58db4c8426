"""What the runtime's tests share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

import attrs
import trio

from tests.servers import command
from trio_bus._backend import Membership, StreamBackend
from trio_bus._backoff import Backoff
from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._connect import open_backend
from trio_bus._dead_letter import DeadLetter
from trio_bus._entry_id import EntryId
from trio_bus._info import GroupInfo
from trio_bus._memory import MemoryBackend
from trio_bus._message import Message
from trio_bus._observer import ErrorEvent, Transition, TransitionEvent
from trio_bus._options import BusOptions
from trio_bus._subscription import open_subscription
from trio_bus.testing._ears import JournalObserver
from trio_bus.testing._invariants import Judge, Lives
from trio_bus.testing._invariants.closing import Closing
from trio_bus.testing._journal import Journal

PATIENCE = 20.0
"""Seconds of trio's clock after which a condition that should come true is a failure."""

GHOST = Membership(
    topic="orders", group="billing", consumer="ghost", lease=0.1, max_attempt=4, tend_every=0.01
)
"""Whoever dies."""


@attrs.define
class Recorder:
    """An observer that remembers."""

    errors: list[ErrorEvent] = attrs.field(factory=list[ErrorEvent])
    transitions: list[TransitionEvent] = attrs.field(factory=list[TransitionEvent])

    def on_error(self, event: ErrorEvent, /) -> None:
        """Remember."""
        self.errors.append(event)

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Remember."""
        self.transitions.append(event)

    def ids(self, transition: Transition) -> list[EntryId | None]:
        """Return the entries that went through this."""
        return [event.entry_id for event in self.transitions if event.transition is transition]


def told_lives(told: Iterable[TransitionEvent]) -> Lives:
    """Check what an observer was told of deliveries and subscriptions, from their beginnings.

    Each delivery goes a way that there is, and has ended when its subscription is closed.
    """
    journal, judge = Journal(lambda: 0.0), Judge([Lives, Closing])
    journal.listen(judge.hear)
    observer = JournalObserver(journal, "a process")
    for event in told:
        observer.on_transition(event)
    return judge.rule(Lives)


@attrs.define
class World:
    """One set of streams, with as many buses on it as a test wants."""

    url: str
    backend: StreamBackend
    recorder: Recorder = attrs.field(factory=Recorder)

    def bus(self, max_payload_bytes: int = 4 * 1024 * 1024) -> Bus:
        """Make a bus, as another process would."""
        options = BusOptions(observer=self.recorder, max_payload_bytes=max_payload_bytes)
        return Bus(self.backend, options)

    async def group(self, topic: str = "orders", name: str = "billing") -> GroupInfo:
        """Return what the server says of one group."""
        info = await self.backend.info(topic)
        (group,) = [group for group in info.groups if group.name == name]
        return group

    def destroy_group(self, topic: str = "orders", name: str = "billing") -> None:
        """Do what an administrator should not."""
        if isinstance(self.backend, MemoryBackend):
            self.backend.destroy_group(topic, name)
        else:
            assert command(self.url, f"XGROUP DESTROY {topic} {name}") == ":1"

    def delete_entry(self, entry_id: EntryId, topic: str = "orders") -> None:
        """Take an entry out of its stream, pending or not."""
        if isinstance(self.backend, MemoryBackend):
            assert self.backend.delete_entry(topic, entry_id)
        else:
            assert command(self.url, f"XDEL {topic} {entry_id}") == ":1"


@asynccontextmanager
async def open_world(url: str) -> AsyncGenerator[World, None]:
    """Open the streams at *url*."""
    recorder = Recorder()
    async with open_backend(url, BusOptions(observer=recorder)) as backend:
        yield World(url, backend, recorder)


def config(topic: str = "orders", group: str = "billing") -> SubscriptionConfig:
    """Return settings that make things happen soon."""
    return SubscriptionConfig(
        topic,
        group,
        reclaim_interval=0.02,
        retry_backoff=Backoff(first=0.01, jitter=0.0),
        dead_letter_topic=f"{{{topic}}}.dead",
    )


def numbered(count: int) -> list[bytes]:
    """Return the payloads of `publish`."""
    return [str(number).encode() for number in range(count)]


def messages(count: int, topic: str = "orders") -> list[Message]:
    """Return messages whose payloads are the numbers from 0."""
    return [Message(topic, payload) for payload in numbered(count)]


async def publish(bus: Bus, count: int, topic: str = "orders") -> list[EntryId]:
    """Publish so many numbered messages."""
    outcome = await bus.publish_batch(messages(count, topic))
    outcome.raise_errors()
    return [result for result in outcome.results if isinstance(result, EntryId)]


async def buried(world: World) -> DeadLetter:
    """Return the story of the dead letter."""
    dead = SubscriptionConfig("{orders}.dead", "undertaker")
    async with open_subscription(world.bus(), dead) as letters:
        letter = (await letters.receive()).dead_letter
    assert letter is not None
    return letter


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until *condition* holds; fail after a while."""
    with trio.fail_after(patience):
        while not condition():
            await trio.sleep(0.005)


async def lose_twice(world: World) -> None:
    """Publish an entry whose owners die of it: it is a suspect."""
    bus = world.bus()
    await world.backend.create_group("orders", "billing", EntryId(0))
    await bus.publish(Message("orders", b"suspect"))
    async with world.backend.join(GHOST) as ghost:
        assert len(await ghost.read(1, 0.1)) == 1
    async with world.backend.join(attrs.evolve(GHOST, consumer="another")) as ghost:
        await trio.sleep(GHOST.lease)
        await ghost.look()
        assert len((await ghost.take_over(1)).entries) == 1
    await trio.sleep(GHOST.lease)
