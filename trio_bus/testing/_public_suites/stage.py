"""What a test of a public suite works with: one backend, and topics that nobody else uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Unpack

import attrs
import trio

from trio_bus._backend import StreamBackend
from trio_bus._backoff import Backoff
from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._delivery import Delivery
from trio_bus._entry_id import EntryId
from trio_bus._info import GroupInfo
from trio_bus._message import Message
from trio_bus._observer import ErrorEvent, TransitionEvent
from trio_bus._options import BusOptions
from trio_bus._subscription import open_subscription
from trio_bus._uid import new_uid
from trio_bus.testing._settings import Settings

PATIENCE = 60.0
"""Seconds of trio's clock after which what should have come will not come."""
SOON = 0.02
"""Seconds: what waits for a tick waits for no longer."""

Handler = Callable[[Delivery], Awaitable[None]]
Test = Callable[["Stage"], Awaitable[None]]
"""One test of a public suite."""


class Deaf:
    """An observer that hears nothing: what these tests make go wrong is no news."""

    def on_error(self, event: ErrorEvent, /) -> None:
        """Do nothing."""

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Do nothing."""


@attrs.define(eq=False)
class Stage:
    """One backend, on which every test has topics of its own."""

    backend: StreamBackend
    _prefix: str = attrs.field(factory=lambda: f"suite-{new_uid()[:8]}")
    _numbers: count[int] = attrs.field(factory=count)

    def bus(self) -> Bus:
        """Make a bus as another process would."""
        return Bus(self.backend, BusOptions(observer=Deaf()))

    def topic(self) -> str:
        """Return a topic that nobody has used."""
        return f"{self._prefix}-{next(self._numbers)}"

    def config(
        self, topic: str, group: str = "group", **settings: Unpack[Settings]
    ) -> SubscriptionConfig:
        """Return settings under which things happen soon, with these changes."""
        config = SubscriptionConfig(
            topic, group, reclaim_interval=SOON, retry_backoff=Backoff(first=SOON, jitter=0.0)
        )
        return attrs.evolve(config, **settings)

    async def group(self, topic: str, name: str = "group") -> GroupInfo:
        """Return what the backend says of a group."""
        info = await self.backend.info(topic)
        (found,) = [group for group in info.groups if group.name == name]
        return found

    async def create_group(self, topic: str, name: str = "group") -> None:
        """Make sure that a group exists that gets what is there already."""
        await self.backend.create_group(topic, name, EntryId(0))

    async def finished(self, topic: str, name: str = "group") -> None:
        """Wait until nothing is left to do for this group; fail if that never comes."""

        async def is_finished() -> bool:
            return (await self.group(topic, name)).oldest is None

        await until(is_finished)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it holds; fail if it never does."""
    with trio.fail_after(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - a backend that is asked wakes nobody
            await trio.sleep(SOON)


def payloads(number: int, prefix: str = "") -> list[bytes]:
    """Return so many different payloads."""
    return [f"{prefix}{it}".encode() for it in range(number)]


async def publish(bus: Bus, topic: str, bodies: Iterable[bytes]) -> list[EntryId]:
    """Publish these in order; return their ids."""
    outcome = await bus.publish_batch([Message(topic, body) for body in bodies])
    outcome.raise_errors()
    return [it for it in outcome.results if isinstance(it, EntryId)]


def _frozen(bodies: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(bodies)


@attrs.define(eq=False)
class Inbox:
    """Collects what handlers get, and waits until everything has come."""

    wanted: frozenset[bytes] = attrs.field(converter=_frozen)
    seen: list[bytes] = attrs.field(factory=list[bytes])
    _complete: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def handle(self, delivery: Delivery) -> None:
        """Be a handler that succeeds."""
        await trio.lowlevel.checkpoint()
        self.put(delivery)

    def put(self, delivery: Delivery) -> None:
        """Note a delivery."""
        self.seen.append(delivery.message.payload)
        if self.wanted <= set(self.seen):
            self._complete.set()

    async def complete(self) -> None:
        """Wait until all that is wanted has come; fail if something never comes."""
        with trio.move_on_after(PATIENCE) as patience:
            await self._complete.wait()
        missing = sorted(self.wanted - set(self.seen))
        assert not patience.cancelled_caught, f"these never came: {missing}"

    def check_exactly_once(self) -> None:
        """Check that everything came once, and nothing else."""
        found = Counter(self.seen)
        again = sorted(body for body, times in found.items() if times > 1)
        assert not again, f"these came more than once: {again}"
        assert set(found) == self.wanted, f"these were never published: {set(found) - self.wanted}"


async def consume_with(
    stage: Stage,
    config: SubscriptionConfig,
    inbox: Inbox,
    *,
    subscriptions: int = 1,
    handle: Handler | None = None,
) -> None:
    """Subscribe until the inbox is complete and the group has nothing left to do."""

    async def subscribe() -> None:
        async with open_subscription(stage.bus(), config, handle or inbox.handle):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(subscriptions):
            nursery.start_soon(subscribe)
        await inbox.complete()
        await stage.finished(config.topic, config.group)
        nursery.cancel_scope.cancel("all came")
