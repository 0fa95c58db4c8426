"""Consumers in processes of their own, and what happens when one is killed, or stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.harness import World, numbered, open_world, publish
from tests.unmeasured import unmeasured

ROOT = Path(__file__).parent.parent
PUBLISHED = 300
HELD = 50
PATIENCE = 60.0


@asynccontextmanager
async def consumer(url: str, mode: str) -> AsyncGenerator[trio.Process, None]:
    """Run a consumer process; kill it at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.consumer_process", url, mode],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**unmeasured(), "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


class Lines:
    """The lines that a process has printed so far."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self._text = b""

    async def until(self, count: int) -> list[bytes]:
        """Read until there are so many different lines; return them."""
        with trio.fail_after(PATIENCE):
            while len(set(self._complete())) < count:
                chunk = await self._stdout.receive_some()
                assert chunk, "the process ended early"
                self._text += chunk
        return self._complete()

    def _complete(self) -> list[bytes]:
        return self._text.split(b"\n")[:-1]


async def finished(world: World) -> None:
    """Wait until nothing is pending."""
    with trio.fail_after(PATIENCE):
        while (await world.group()).pending:
            await trio.sleep(0.01)


@pytest.mark.bulk
async def test_a_consumer_killed_with_50_entries_loses_none(server_url: str) -> None:
    """SIGKILL leaves no time for a word: the other takes over when the lease is over."""
    async with open_world(server_url) as world, consumer(server_url, "hold") as victim:
        await world.backend.create_group("orders", "billing", None)
        await publish(world.bus(), PUBLISHED)
        held = await Lines(victim).until(HELD)
        group = await world.group()
        assert len(held) == group.pending == HELD
        victim.kill()
        await victim.wait()
        async with consumer(server_url, "handle") as survivor:
            handled = await Lines(survivor).until(PUBLISHED)
            await finished(world)
    assert sorted(handled, key=int) == numbered(PUBLISHED), "each of them, and each once"
    assert set(held) <= set(handled)


@pytest.mark.bulk
async def test_a_process_stopped_for_longer_than_its_lease_settles_nothing(
    server_url: str,
) -> None:
    """Others have taken over. When it goes on its handlers are cancelled, and their verbs raise."""
    async with open_world(server_url) as world, consumer(server_url, "cling") as sleeper:
        await world.backend.create_group("orders", "billing", None)
        await publish(world.bus(), HELD)
        lines = Lines(sleeper)
        await lines.until(HELD)
        sleeper.send_signal(signal.SIGSTOP)
        async with consumer(server_url, "handle") as other:
            handled = await Lines(other).until(HELD)
            await finished(world)
            sleeper.send_signal(signal.SIGCONT)
            told = await lines.until(2 * HELD)
            assert sorted(set(told) - set(numbered(HELD))) == sorted(
                b"lost " + payload for payload in numbered(HELD)
            )
            await finished(world)
    assert sorted(handled) == sorted(numbered(HELD)), "each of them, and each once"
