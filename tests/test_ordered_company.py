"""The order of keys beside transactions and deaths, servers that forget, and who keeps no order."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import attrs
import trio
from trio.testing import MockClock

from tests.harness import World, open_world, until
from tests.mortal import MortalProcess
from tests.restartable import running
from tests.servers import command
from tests.test_ordered_settings import COPIES, read_all, text_of
from tests.test_ordering import LEASE, ORDERED, flaky, publish
from trio_bus import (
    Bus,
    BusOptions,
    Delivery,
    MemoryBackend,
    Message,
    OrderingMode,
    OutcomeUnknown,
    PublishError,
    open_bus,
    open_subscription,
)
from trio_bus.testing import Done

COPYING = attrs.evolve(ORDERED, output_topics=(COPIES,), drain_timeout=0.0)
TEXTS = [f"{key}{number}" for number in range(1, 6) for key in "abc"]
PATIENCE = 30.0


def of_key(texts: list[str], key: str) -> list[str]:
    """Return those of one key."""
    return [text for text in texts if text.startswith(key)]


async def copy(delivery: Delivery) -> None:
    """Publish the same in a transaction; it takes a second."""
    async with delivery.transaction() as tx:
        await tx.publish(Message(COPIES, delivery.message.payload))
        await trio.sleep(1.0)


async def test_a_process_that_is_killed_in_a_transaction_commits_nothing(
    autojump_clock: MockClock,
) -> None:
    """The next one goes on with the same messages: each has its outputs once, in order."""
    streams = MemoryBackend()

    async def live(process: MortalProcess) -> None:
        async with open_subscription(process.bus, COPYING, copy):
            await trio.sleep_forever()

    first, second = MortalProcess(streams), MortalProcess(streams)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.live, live)
        await trio.sleep(0.1)
        nursery.start_soon(second.live, live)
        await publish(Bus(streams), *TEXTS)
        await trio.sleep(2.5)
        first.die()
        bus = Bus(streams)
        with trio.fail_after(60.0):
            while (await bus.info(COPIES)).length < len(TEXTS):
                await trio.sleep(0.1)
        await trio.sleep(2 * LEASE)
        second.die()
    copies = await read_all(bus, COPIES)
    assert sorted(copies) == sorted(TEXTS)
    assert all(of_key(copies, key) == of_key(TEXTS, key) for key in "abc")


async def test_a_commit_whose_answer_is_lost_frees_its_key_once(
    autojump_clock: MockClock, world: World
) -> None:
    """It has happened, and is asked again: the next of its key comes after it."""
    flaky(world).fail("settle", OutcomeUnknown("cut"), done=Done.EVERYTHING)
    await publish(world.bus(), "a1", "a2", "b1")
    async with open_subscription(world.bus(), COPYING, copy) as s:
        await until(lambda: s.statistics().handled == 3)
    copies = await read_all(world.bus(), COPIES)
    assert of_key(copies, "a") == ["a1", "a2"]
    assert sorted(copies) == ["a1", "a2", "b1"]


@attrs.define
class Watch:
    """Handlers of several consumers, and whether two of one key ever run at once."""

    done: list[str] = attrs.field(factory=list[str])
    running: list[str] = attrs.field(factory=list[str])
    overlaps: list[str] = attrs.field(factory=list[str])

    async def __call__(self, delivery: Delivery) -> None:
        """Handle one."""
        key = delivery.message.key
        if key in self.running:
            self.overlaps.append(text_of(delivery))
        self.running.append(key)
        try:
            await trio.sleep(0.02)
        finally:
            self.running.remove(key)
        self.done.append(text_of(delivery))


async def publish_somehow(bus: Bus) -> None:
    """Publish all, again if that failed: the bus may not know yet that the server is gone."""
    while True:
        try:
            await publish(bus, *TEXTS)
        except PublishError:
            await trio.sleep(0.01)
        else:
            return


async def check_forgotten(url: str, forget: Callable[[], Awaitable[None]]) -> None:
    """Let the server forget everything while a consumer leads and works: the order begins anew."""
    watch, settings = Watch(), attrs.evolve(ORDERED, claim_idle_timeout=1.0)
    options = BusOptions(connect_timeout=PATIENCE)
    async with (
        open_bus(url, options) as bus,
        open_subscription(bus, settings, watch) as one,
        open_bus(url, options) as other,
        open_subscription(other, settings, watch) as two,
    ):
        await publish(bus, *(f"old-{text}" for text in TEXTS))
        await until(lambda: len(watch.done) >= 3, PATIENCE)
        await forget()
        with trio.fail_after(PATIENCE):
            await publish_somehow(bus)
        await until(lambda: set(TEXTS) <= set(watch.done), PATIENCE)
        await until(lambda: one.statistics().active != two.statistics().active, PATIENCE)
    assert watch.overlaps == []
    for key in "abc":
        first = list(dict.fromkeys(of_key(watch.done, key)))
        assert first == of_key(TEXTS, key)


async def test_a_server_that_forgets_all_while_a_consumer_leads(server_url: str) -> None:
    async def forget() -> None:
        await trio.lowlevel.checkpoint()
        command(server_url, "FLUSHALL")

    await check_forgotten(server_url, forget)


async def test_a_server_without_persistence_is_restarted_while_a_consumer_leads(
    server_kind: str,
) -> None:
    with running(server_kind) as server:

        async def forget() -> None:
            await trio.lowlevel.checkpoint()
            server.kill()
            for file in Path(server.url.removeprefix("unix://")).parent.glob("appendonly*"):
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            server.start()

        await check_forgotten(server.url, forget)


async def check_mixed(world: World) -> None:
    """Who keeps no order takes what is new, whatever its key; all is handled, and once."""
    ordered, loose = list[str](), list[str]()

    async def note(delivery: Delivery) -> None:
        ordered.append(text_of(delivery))
        await trio.sleep(0.02)

    async def note_loosely(delivery: Delivery) -> None:
        loose.append(text_of(delivery))
        await trio.sleep(0.02)

    free = attrs.evolve(ORDERED, ordering_mode=OrderingMode.NONE, max_in_flight=2)
    bus = world.bus()
    async with (
        open_subscription(bus, ORDERED, note) as one,
        open_subscription(bus, free, note_loosely) as two,
    ):
        await until(lambda: one.statistics().active)
        for text in TEXTS:
            await publish(bus, text)
        await until(lambda: one.statistics().handled + two.statistics().handled == len(TEXTS))
        await trio.sleep(0.2)
    assert sorted(ordered + loose) == sorted(TEXTS)
    for key in "abc":
        mine = of_key(ordered, key)
        assert all(earlier < later for earlier, later in pairwise(mine))


async def test_who_keeps_no_order_in_the_group_loses_nothing_in_memory(
    autojump_clock: MockClock, world: World
) -> None:
    await check_mixed(world)


async def test_who_keeps_no_order_in_the_group_loses_nothing_on_a_server(server_url: str) -> None:
    async with open_world(server_url) as world:
        await check_mixed(world)
