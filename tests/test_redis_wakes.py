"""The wake channel on real servers: who is subscribed, and what happens where nobody may be."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.harness import open_world, publish, until
from tests.redis_world import (
    GROUP,
    THEM,
    TOPIC,
    US,
    Listener,
    command,
    ids,
    options,
    receipts,
)
from tests.redis_world import publish as append
from tests.test_wake import PROMPT, SLOW, handed_over, ok
from trio_bus import Delivery, Scope, open_subscription
from trio_bus._backend import Release, Retry
from trio_bus._errors import GroupMissing, PermissionDenied
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.connecting import Session
from trio_bus._redis.replies import as_list, as_text
from trio_bus._redis.schedule import wake_channel

pytestmark = pytest.mark.every_server

CHANNEL = wake_channel(TOPIC)


async def listeners(backend: RedisBackend) -> object:
    """Ask how many connections hear of our topic."""
    return as_list(await command(backend, "PUBSUB", "NUMSUB", CHANNEL))[1]


async def until_listeners(backend: RedisBackend, count: int) -> None:
    """Wait until so many do."""
    with trio.fail_after(10):
        while await listeners(backend) != count:
            await trio.sleep(0.001)


async def test_one_connection_listens_while_there_are_members(backend: RedisBackend) -> None:
    """The first member subscribes, the last one unsubscribes; then the connection goes."""
    assert await listeners(backend) == 0
    async with backend.join(US):
        async with backend.join(THEM), backend.join(attrs.evolve(US, topic="other")):
            await until_listeners(backend, 1)
        await until_listeners(backend, 1)
    with trio.fail_after(10):
        while as_text(await command(backend, "CLIENT", "LIST", "TYPE", "pubsub")):
            await trio.sleep(0.001)


async def test_who_comes_after_the_last_one_left_is_heard_at_once(backend: RedisBackend) -> None:
    """A connection that nobody wanted any more is no failure, however short it was."""
    with trio.fail_after(5):
        for _ in range(15):
            async with backend.join(US):
                await until_listeners(backend, 1)


async def test_a_hand_back_tells_its_group_and_its_time(backend: RedisBackend) -> None:
    """In one message for each call, with the smallest delay; what is lost wakes nobody."""
    ours, theirs = attrs.evolve(US), attrs.evolve(US, group="shipping", consumer="far")
    async with backend.join(ours) as us, backend.join(theirs) as far:
        await until_listeners(backend, 1)
        with trio.fail_after(5):
            assert await us.woken() == await far.woken() == 0.0  # it may have missed something
        await append(backend, 3)
        one, two, three = receipts(await us.read(3, 1))
        await us.settle([Retry(one, 60.0), Release(two, 40.0), Retry(three, 50.0)])
        with trio.fail_after(5):
            assert 39 < await us.woken() < 40.01
        await us.settle([Release(one), Retry(two)])
        with trio.move_on_after(0.1) as waited:
            await us.woken()
        assert waited.cancelled_caught, "nothing was handed back"
        with trio.move_on_after(0.05) as waited:
            await far.woken()
        assert waited.cancelled_caught, "that was another group"


async def test_what_strangers_publish_makes_us_look_and_no_more(backend: RedisBackend) -> None:
    """Whatever it is, it cannot break the connection."""
    async with backend.join(US) as us:
        await until_listeners(backend, 1)
        await us.woken()
        for payload in (b"", b"\xff\xff billing", b"-5 billing", b"9" * 5000, b"1e9", "²".encode()):
            assert await command(backend, "PUBLISH", CHANNEL, payload) == 1
            with trio.fail_after(5):
                assert await us.woken() == 0.0 if payload.partition(b" ")[2] != b"" else True
        assert await listeners(backend) == 1


async def test_after_a_loss_it_listens_again(server_url: str) -> None:
    """All connections are killed; what is released then is taken at once, and nothing is told."""
    settings = attrs.evolve(SLOW, group="shipping")
    async with (
        open_world(server_url) as world,
        open_subscription(world.bus(), settings, ok) as idle,
    ):
        backend = world.backend
        assert isinstance(backend, RedisBackend)
        for _ in range(3):
            await handed_over(world)
            for kind in ("pubsub", "normal"):
                await command(backend, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        took = sorted([await handed_over(world) for _ in range(3)])
        assert took[0] < 3 * PROMPT
        assert idle.statistics().lost_leases == 0
    assert not [event for event in world.recorder.errors if event.scope is Scope.WAKE]


@asynccontextmanager
async def restricted(server_url: str, *rules: str) -> AsyncGenerator[RedisBackend]:
    """Log in as a user with everything but what the rules take away."""
    async with open_redis(server_url, options()) as admin:
        everything = ("on", ">pw", "~*", "&*", "+@all")
        assert await command(admin, "ACL", "SETUSER", "weak", *everything, *rules) == b"OK"
        try:
            yield admin
        finally:
            await command(admin, "ACL", "DELUSER", "weak")


@pytest.mark.parametrize(
    "rules",
    [("-subscribe", "-publish"), ("-subscribe",), ("-publish",), ("resetchannels",), ("-@pubsub",)],
)
async def test_without_the_right_to_listen_there_are_ticks(
    server_url: str, rules: tuple[str, ...]
) -> None:
    """Retries, releases and schedules work; the observer hears of it once, if at all."""
    starts: list[float] = []
    settings = attrs.evolve(SLOW, reclaim_interval=0.2)
    async with restricted(server_url, *rules):
        async with open_world(server_url.replace("://", "://weak:pw@")) as world:

            async def fail_once(delivery: object) -> None:
                starts.append(trio.current_time())
                if len(starts) == 1:
                    raise OSError("later")

            async with open_subscription(world.bus(), settings, fail_once) as subscription:
                await publish(world.bus(), 1)
                await until(lambda: subscription.statistics().handled == 1)
                assert len(starts) == 2
                assert await world.backend.schedule("orders", ((b"n", b"1"),), "x", 0.0) == "x"
                with trio.fail_after(5):
                    while (await world.backend.info("orders")).length < 2:
                        await trio.sleep(0.01)
        told = [event for event in world.recorder.errors if event.scope is Scope.WAKE]
        assert len(told) == (0 if rules == ("-publish",) else 1)
        assert all(isinstance(event.error, PermissionDenied) for event in told)


async def test_who_may_not_listen_knows_its_own_retries(server_url: str) -> None:
    """They start when they are due, and not at the next tick."""
    starts: list[float] = []

    async def put_off_thrice(delivery: Delivery) -> None:
        starts.append(trio.current_time())
        if len(starts) <= 3:
            await delivery.retry("later", delay=0.1)
        elif len(starts) == 4:
            await delivery.release()

    async with (
        restricted(server_url, "-subscribe"),
        open_world(server_url.replace("://", "://weak:pw@")) as world,
        open_subscription(world.bus(), SLOW, put_off_thrice) as subscription,
    ):
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().handled == 1)  # half a minute is a tick
    waits = [after - before for before, after in itertools.pairwise(starts)]
    assert len(waits) == 4
    assert min(waits[:3]) >= 0.1


async def test_who_hears_of_everything_gives_no_hints_to_itself(backend: RedisBackend) -> None:
    """One hand-back is one look."""
    async with backend.join(US) as us, backend.join(THEM) as them:
        await until_listeners(backend, 1)
        await us.woken()
        await them.woken()
        for _ in range(3):
            await append(backend, 1)
            (entry,) = await us.read(1, 1)
            await us.settle([Release(entry.receipt)])
            with trio.fail_after(5):
                await us.woken()
                await them.woken()
            with trio.move_on_after(0.05) as waited:
                await us.woken()
            assert waited.cancelled_caught
            await us.take_over(1)


async def test_the_command_connection_is_no_subscriber(server_url: str) -> None:
    """A server cuts subscribers off whose replies pile up; what is taken over may be large."""
    listener = Listener()
    async with open_redis(server_url, options(listener)) as backend:
        await backend.create_group(TOPIC, GROUP, None)
        large = [((b"n", b"x" * 6_000_000),)] * 8
        async with backend.join(US) as us, backend.join(THEM) as them:
            await until_listeners(backend, 1)
            await backend.append(TOPIC, large)
            entries = await us.read(8, 1)
            assert len(entries) == 8
            await us.settle([Release(receipt) for receipt in receipts(entries)])
            taken = await them.take_over(8)
            assert ids(taken.entries) == ids(entries)
        shown = as_text(await command(backend, "CLIENT", "LIST", "TYPE", "pubsub"))
        assert not shown or len(shown.splitlines()) == 1
    assert not listener.errors


async def test_closing_ends_a_listener_that_cannot_connect(server_url: str) -> None:
    """Also in the middle of a pause after a failure."""
    async with open_redis(server_url, options()) as backend, backend.join(US) as us:
        await until_listeners(backend, 1)
        backend._wakes._connect = _refuse
        await command(backend, "CLIENT", "KILL", "TYPE", "pubsub")
        await trio.sleep(0.2)
        assert await listeners(backend) == 0
        with pytest.raises(GroupMissing):  # other commands go on
            await us.look()


async def _refuse() -> Session:
    raise PermissionDenied("NOPERM no more clients")
