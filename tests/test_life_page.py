"""The manual's page about the two lives says what the code does."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from tests.harness import World, config, open_world, until
from tests.ledger import DONE, Spot, buried_in, ledger_of
from tests.redis_world import command
from trio_bus import (
    AckMode,
    Backoff,
    BusOptions,
    Delivery,
    EntryId,
    MemoryBackend,
    Message,
    RedisBackend,
    SubscriptionConfig,
    SubscriptionState,
    Transition,
    open_subscription,
)
from trio_bus._backend import GroupMember, Membership
from trio_bus._names import RESERVED_CONSUMERS

pytestmark = pytest.mark.any_python

PAGE = (Path(__file__).parent.parent / "docs" / "life.rst").read_text()
_CELL = r"\n     - (.+(?:\n       .+)*)"
ROWS = {
    told: (place.strip("`"), attempt)
    for told, _, place, attempt in re.findall(rf"   \* - ``([A-Z_]+)``{_CELL}{_CELL}{_CELL}", PAGE)
}
"""By transition, where the table says that the entry is then, and what becomes of its attempt."""


def test_every_state_of_the_code_is_on_the_page_and_no_other() -> None:
    known = {member.name for member in (*Transition, *SubscriptionState)}
    others = {"MANUAL", "AUTO_ON_RECEIVE"} | {"UNDELIVERED", "IN", "FLIGHT", "DONE", "DEAD"}
    words = set(re.findall(r"\b[A-Z][A-Z_]+\b", PAGE))
    assert words == known | others
    assert set(re.findall(r"~[a-z]+", PAGE)) == RESERVED_CONSUMERS


def test_every_setting_on_the_page_exists() -> None:
    fields = {
        field.name for kind in (SubscriptionConfig, BusOptions) for field in attrs.fields(kind)
    }
    settings = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", PAGE))
    assert len(settings) > 5
    assert settings - fields == {"open_subscription", "expires_at", "trio_bus"}


DEAD_TOPIC = "{orders}.dead"
SETTINGS = attrs.evolve(
    config(), retry_backoff=Backoff(first=1000.0, jitter=0.0), drain_timeout=0.0
)
"""What waits for its next attempt goes on waiting; what hangs is not waited for."""
THIEF = Membership(topic="orders", group="billing", consumer="them", lease=0.001, max_attempt=9)
"""To whom the leases of others are over."""


async def hang(delivery: Delivery) -> None:
    """Go on for ever."""
    await trio.sleep_forever()


async def succeed(delivery: Delivery) -> None:
    """Do nothing."""


async def fail(delivery: Delivery) -> None:
    """Fail."""
    raise OSError


async def reject(delivery: Delivery) -> None:
    """Give it up."""
    await delivery.reject("never")


async def delete(world: World, delivery: Delivery) -> None:
    """Delete the entry from its stream, and fail."""
    if isinstance(world.backend, MemoryBackend):
        world.backend.delete_entry("orders", delivery.entry_id)
    else:
        assert isinstance(world.backend, RedisBackend)
        await command(world.backend, "XDEL", "orders", str(delivery.entry_id))
    raise OSError


Scene = Callable[[World], AbstractAsyncContextManager[str]]
"""A scene gives the name of the consumer that has the entry, if one has."""


async def told(world: World, transition: Transition) -> None:
    """Wait until the observer has heard of it."""
    await until(lambda: len(world.recorder.ids(transition)) == 1)


@asynccontextmanager
async def handled(
    transition: Transition, settings: SubscriptionConfig, world: World
) -> AsyncGenerator[str]:
    """Let a handler do what leads there."""
    handlers: dict[Transition, Callable[[Delivery], Awaitable[None]]] = {
        Transition.ACKED: succeed,
        Transition.UNSETTLED: succeed,
        Transition.RETRIED: fail,
        Transition.DEAD_LETTERED: reject,
        Transition.VANISHED: partial(delete, world),
    }
    handler = handlers.get(transition, hang)
    async with open_subscription(world.bus(), settings, handler) as subscription:
        await told(world, transition)
        if transition is Transition.EXPIRED:
            await told(world, Transition.DEAD_LETTERED)
        yield subscription.name


@asynccontextmanager
async def cancelled(world: World) -> AsyncGenerator[str]:
    """Cancel the handler by leaving."""
    with trio.CancelScope() as scope:
        async with open_subscription(world.bus(), SETTINGS, hang):
            await told(world, Transition.STARTED)
            scope.cancel()
    await told(world, Transition.RELEASED)
    yield ""


async def steal(thief: GroupMember) -> None:
    """Take it from whoever has it."""
    while not (await thief.take_over(1)).entries:
        await trio.sleep(0.01)
        await thief.look()


@asynccontextmanager
async def stolen(world: World) -> AsyncGenerator[str]:
    """Let another consumer take it over, to whom our lease is over."""
    settings = attrs.evolve(SETTINGS, claim_idle_timeout=0.5)
    async with open_subscription(world.bus(), settings, hang):
        await told(world, Transition.STARTED)
        async with world.backend.join(THIEF) as them:
            await steal(them)
            await told(world, Transition.LEASE_LOST)
            yield "them"


@asynccontextmanager
async def taken_over(world: World) -> AsyncGenerator[str]:
    """Give it back, and let another consumer take it."""
    async with cancelled(world):
        pass
    async with open_subscription(world.bus(), SETTINGS, hang) as subscription:
        await told(world, Transition.TAKEN_OVER)
        yield subscription.name


@asynccontextmanager
async def finished(world: World) -> AsyncGenerator[str]:
    """Let the handler end, and settle nothing."""
    settings = attrs.evolve(SETTINGS, ack_mode=AckMode.MANUAL)
    async with open_subscription(world.bus(), settings, succeed) as subscription:
        await told(world, Transition.FINISHED)
        yield subscription.name


@asynccontextmanager
async def suspected(world: World) -> AsyncGenerator[str]:
    """Let it lose two owners; who finds it is at work with something else, and has it wait."""
    await world.backend.create_group("orders", "billing", EntryId(0))
    async with world.backend.join(THIEF) as first:
        assert await first.read(1, 1.0)
        async with world.backend.join(attrs.evolve(THIEF, consumer="them, too")) as second:
            await steal(second)
            await world.bus().publish(Message("orders", b"order 8"))
            settings = attrs.evolve(SETTINGS, claim_idle_timeout=1.0)
            async with open_subscription(world.bus(), settings, hang) as subscription:
                await told(world, Transition.SUSPECTED)
                yield subscription.name


SCENES: dict[Transition, Scene] = {
    Transition.TAKEN_OVER: taken_over,
    Transition.FINISHED: finished,
    Transition.SUSPECTED: suspected,
    Transition.RELEASED: cancelled,
    Transition.LEASE_LOST: stolen,
    Transition.UNSETTLED: partial(
        handled, Transition.UNSETTLED, attrs.evolve(SETTINGS, ack_mode=AckMode.MANUAL)
    ),
    **{
        transition: partial(handled, transition, SETTINGS)
        for transition in (
            Transition.RECEIVED,
            Transition.STARTED,
            Transition.ACKED,
            Transition.RETRIED,
            Transition.DEAD_LETTERED,
            Transition.EXPIRED,
            Transition.VANISHED,
        )
    },
}


def test_every_transition_of_an_entry_is_a_row_with_a_scene() -> None:
    of_others = {"OPENED", "DRAINING", "CLOSED", "GROUP_RECREATED", "RECONNECTED", "UNCONFIRMED"}
    of_others |= {"PAUSED", "RESUMED", "OUTAGE_BEGAN", "OUTAGE_ENDED", "ACTIVE", "STANDBY"}
    assert set(ROWS) == {transition.name for transition in Transition} - of_others
    assert set(ROWS) == {transition.name for transition in SCENES}


BEFORE = {Transition.RECEIVED: 0, Transition.TAKEN_OVER: 0, Transition.SUSPECTED: 2}
"""The attempt that the entry of a scene has before, if that is not 1."""


@pytest.mark.parametrize("transition", SCENES, ids=lambda transition: transition.name)
async def test_an_entry_is_where_the_table_says(transition: Transition, backend_url: str) -> None:
    place, attempt = ROWS[transition.name]
    past = datetime.now(UTC) - timedelta(hours=1) if transition is Transition.EXPIRED else None
    async with open_world(backend_url) as world:
        entry_id = await world.bus().publish(Message("orders", b"order 7", expires_at=past))
        async with SCENES[transition](world) as consumer:
            ledger = await ledger_of(world.backend, "orders", "billing")
            buried = await buried_in(world.backend, DEAD_TOPIC)
            pending = (await world.group()).pending
    assert buried == ([entry_id] if place == "dead" else [])
    if place == "gone":
        assert (ledger, pending) == ({}, 0)
    elif place in {"done", "dead"}:
        assert (ledger, attempt) == ({entry_id: Spot(DONE)}, "stays")
    else:
        before = BEFORE.get(transition, 1)
        count = before + {"up": 1, "stays": 0, "down": -1}[attempt]
        place = consumer if place == "in flight" else place
        assert ledger[entry_id] == Spot(place, count)
