"""Fan-out on real servers, in processes that are killed and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.fan_out_process import EXPIRY, SETTINGS
from tests.harness import World, open_world, until
from tests.servers import command
from tests.test_processes import PATIENCE, ROOT, Lines
from trio_bus import Delivery, EntryId, Message, WrongType, open_subscription
from trio_bus._names import own_key

pytestmark = pytest.mark.any_python

MANY = 25
"""Groups that no single look removes."""


@asynccontextmanager
async def process(url: str) -> AsyncGenerator[trio.Process, None]:
    """Run the process; kill it at the end."""
    running = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.fan_out_process", url],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield running
    finally:
        running.kill()
        with trio.CancelScope(shield=True):
            await running.wait()


async def ignore(delivery: Delivery) -> None:
    """Handle one."""


async def publish(world: World, *payloads: bytes) -> None:
    """Publish to the topic."""
    for payload in payloads:
        await world.bus().publish(Message("users", payload))


async def until_groups(world: World, count: int) -> None:
    """Wait until there are so many groups."""
    with trio.fail_after(PATIENCE):
        while len((await world.backend.info("users")).groups) != count:
            await trio.sleep(0.05)


async def until_settled(world: World) -> None:
    """Wait until nobody holds anything."""
    with trio.fail_after(PATIENCE):
        while any(it.pending for it in (await world.backend.info("users")).groups):
            await trio.sleep(0.05)


async def test_the_group_of_a_killed_process_is_removed_by_another(server_url: str) -> None:
    async with open_world(server_url) as world, process(server_url) as victim:
        (name,) = await Lines(victim).until(1)
        async with open_subscription(world.bus(), SETTINGS, ignore):
            await until_groups(world, 2)
            victim.kill()
            await until_groups(world, 1)
        await until_groups(world, 0)
        group = name.decode()
        for key in (own_key("users", "due", group), own_key("users", "tending", group)):
            assert command(server_url, f"EXISTS {key}") == ":0"
        assert command(server_url, f"EXISTS {own_key('users', 'fan_out', '')}") == ":0"


async def test_a_process_that_was_stopped_goes_on_at_the_last_id_it_received(
    server_url: str,
) -> None:
    async with open_world(server_url) as world, process(server_url) as stopped:
        lines = Lines(stopped)
        await lines.until(1)
        await publish(world, b"1", b"2")
        await lines.until(3)
        async with open_subscription(world.bus(), SETTINGS, ignore):
            await until_settled(world)
            stopped.send_signal(signal.SIGSTOP)
            await publish(world, b"3")
            await until_groups(world, 1)
            await publish(world, b"4")
            stopped.send_signal(signal.SIGCONT)
            assert sorted((await lines.until(5))[1:]) == [b"1", b"2", b"3", b"4"]
            await until_groups(world, 2)


async def test_of_many_each_look_removes_some(server_url: str) -> None:
    async with open_world(server_url) as world:
        for number in range(MANY):
            assert await world.backend.create_private("users", f"~fan-{number}", None, 0.1)
        async with open_subscription(world.bus(), SETTINGS, ignore):
            await until_groups(world, 1)


async def test_where_a_private_group_begins(server_url: str) -> None:
    async with open_world(server_url) as world:
        create = world.backend.create_private
        assert await create("users", "~fan-a", None, EXPIRY) == EntryId(0, 0)
        await publish(world, b"1")
        last = (await world.backend.info("users")).oldest
        assert last is not None
        assert await create("users", "~fan-a", None, EXPIRY) is None
        assert await create("users", "~fan-b", None, EXPIRY) == last
        assert await create("users", "~fan-c", EntryId(5, 0), EXPIRY) == EntryId(5, 0)
        assert await create("users", "~fan-d", last, EXPIRY) == last
        for later in (EntryId(last.ms, last.seq + 1), EntryId(last.ms * 10, 0)):
            group = f"~fan-{later}"
            assert await create("users", group, later, EXPIRY) == EntryId(0, 0)


async def test_what_is_no_stream_has_no_group(server_url: str) -> None:
    async with open_world(server_url) as world:
        command(server_url, "SET users text")
        with pytest.raises(WrongType):
            await world.backend.create_private("users", "~fan-a", None, EXPIRY)


async def test_a_group_that_vanished_while_it_is_left_is_gone(server_url: str) -> None:
    async with open_world(server_url) as world:
        async with open_subscription(world.bus(), SETTINGS, ignore):
            command(server_url, "DEL users")
        assert (await world.backend.info("users")).groups == ()


async def test_what_was_released_is_kept_with_the_group(server_url: str) -> None:
    """The sorted sets of a private group go with it."""
    config = attrs.evolve(SETTINGS, max_retry=1)

    async def later(delivery: Delivery) -> None:
        await delivery.retry("later", delay=1000.0)

    async with open_world(server_url) as world:
        async with open_subscription(world.bus(), config, later) as subscription:
            await publish(world, b"1")
            await until(lambda: subscription.statistics().retried == 1)
            due = own_key("users", "due", config.group_of(subscription.name))
            assert command(server_url, f"EXISTS {due}") == ":1"
        assert command(server_url, f"EXISTS {due}") == ":0"


async def test_what_is_told_of_the_dead_goes_with_the_group(server_url: str) -> None:
    """Whoever removes it, and whoever makes it anew, leaves no notes of an earlier life."""

    async def never(delivery: Delivery) -> None:
        await delivery.reject("never")

    async with open_world(server_url) as world:
        async with open_subscription(world.bus(), SETTINGS, never) as subscription:
            group = SETTINGS.group_of(subscription.name)
            notes = own_key("users", "notes", group)
            await publish(world, b"1")
            await until(lambda: subscription.statistics().rejected == 1)
            assert command(server_url, f"EXISTS {notes}") == ":1"
        assert command(server_url, f"EXISTS {notes}") == ":0"
        command(server_url, f"HSET {notes} 1-0 old")
        await world.backend.create_private("users", group, None, EXPIRY)
        assert command(server_url, f"EXISTS {notes}") == ":0"
