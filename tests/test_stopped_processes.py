"""A consumer process that is stopped (SIGSTOP) for longer than its lease, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.harness import World, open_world, publish
from tests.servers import command
from tests.telling_process import LEASE, SETTINGS
from tests.test_processes import ROOT
from trio_bus import Delivery, EntryId, open_subscription

pytestmark = [pytest.mark.long, pytest.mark.any_python]
PATIENCE = 60.0


@attrs.define
class Told:
    """A process, and what it has told so far: words with an entry id and an attempt."""

    process: trio.Process
    text: str = ""

    def of(self, word: str) -> list[tuple[str, str]]:
        """Return the entries and attempts that were told with this word, in order."""
        rows = [line.split() for line in self.text.split("\n")[:-1]]
        return [(row[1], row[2]) for row in rows if row[0] == word]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read what it tells until the condition holds."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            while not condition():
                chunk = await self.process.stdout.receive_some()
                assert chunk, "the process ended early"
                self.text += chunk.decode()


@asynccontextmanager
async def telling(url: str, form: str) -> AsyncGenerator[Told, None]:
    """Run the process; kill it at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.telling_process", url, form],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        told = Told(process)
        await told.until(lambda: "opened" in told.text)
        yield told
    finally:
        process.kill()  # also when it is stopped
        with trio.CancelScope(shield=True):
            await process.wait()


async def stop_with_a_full_socket(
    world: World, told: Told, form: str = "push"
) -> tuple[list[EntryId], list[EntryId]]:
    """Stop the process while it handles some entries and others are on their way to it.

    A read ends now and then, so that a stop may hit it between two: then it is tried again.

    Returns:
      The entries that it had before the stop, and those that wait in its socket.
    """
    had = await publish(world.bus(), 3)
    await until_pending(world, 3)
    for _ in range(50):
        begun = 1 if form == "pull" else len(had)  # all of it, or it is read later
        await told.until(lambda: len(told.of("began")) >= begun)  # noqa: B023 - called now
        await trio.sleep(0.1)
        told.process.send_signal(signal.SIGSTOP)
        coming = await publish(world.bus(), 1)  # more would not come with the same read
        await trio.sleep(0.05)
        if (await world.group()).pending == len(had) + 1:
            return had, coming
        told.process.send_signal(signal.SIGCONT)
        had += coming
        await until_pending(world, len(had))
    pytest.fail("the process was never in a read when it was stopped")


async def until_pending(world: World, count: int) -> None:
    """Wait until so many entries are pending."""
    with trio.fail_after(PATIENCE):
        while (await world.group()).pending != count:
            await trio.sleep(0.01)


@pytest.mark.bulk
@pytest.mark.parametrize("form", ["push", "pull"])
async def test_what_another_consumer_took_over_is_started_by_nobody_else(
    server_url: str, form: str
) -> None:
    """In flight, in the socket, and waiting in the process: each attempt starts once."""
    starts: list[tuple[str, str]] = []
    go = trio.Event()

    async def take(delivery: Delivery) -> None:
        starts.append((str(delivery.entry_id), str(delivery.state.attempt)))
        await go.wait()

    async with open_world(server_url) as world, telling(server_url, form) as told:
        had, coming = await stop_with_a_full_socket(world, told, form)
        began = told.of("began")
        everything = [str(entry_id) for entry_id in had + coming]
        async with open_subscription(world.bus(), SETTINGS, take) as other:
            with trio.fail_after(PATIENCE):
                while len(starts) < len(everything):
                    await trio.sleep(0.01)
            told.process.send_signal(signal.SIGCONT)
            await told.until(lambda: len(told.of("lease-lost")) == len(everything))
            await told.until(lambda: len(told.of("cancelled")) == len(began))
            # It is alive, and would settle or start by now what is not its own.
            await trio.sleep(LEASE)
            assert other.statistics().lost_leases == 0
            go.set()
            await other.wait_idle()
            assert other.statistics().handled == len(everything)
        assert sorted(starts) == sorted((entry_id, "2") for entry_id in everything)
        assert told.of("began") == began
        assert {attempt for _, attempt in began} == {"1"}
        assert sorted(told.of("lease-lost")) == sorted((entry_id, "1") for entry_id in everything)
        assert told.of("acked") == told.of("retried") == told.of("worked") == []
        (late,) = await publish(world.bus(), 1)
        await told.until(lambda: (str(late), "1") in told.of("began"))


@pytest.mark.bulk
async def test_what_nobody_took_over_goes_on(server_url: str) -> None:
    """Nothing is lost, cancelled or counted twice."""
    async with open_world(server_url) as world, telling(server_url, "push") as told:
        had, coming = await stop_with_a_full_socket(world, told)
        await trio.sleep(1.5 * LEASE)
        told.process.send_signal(signal.SIGCONT)
        assert command(server_url, "SET go 1") == "+OK"
        everything = sorted((str(entry_id), "1") for entry_id in had + coming)
        await told.until(lambda: len(told.of("acked")) == len(everything))
        for word in ("began", "worked", "acked"):
            assert sorted(told.of(word)) == everything
        assert told.of("lease-lost") == told.of("cancelled") == []
        assert (await world.group()).pending == 0
