"""Consumers join, leave, are cancelled and killed at random, while messages flow: nothing is lost.

Each run has a seed of its own, which is shown when it fails; CHURN_SEED repeats one.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.churn import DEAD_TOPIC, GROUP, TOPIC, Guest, Scribe, config, messages, seeded
from tests.churn_account import PATIENCE, Account, group_of, wait_empty, wait_finished
from tests.churn_processes import CALM, GUESTS, LEAST_KILLED
from tests.harness import World, open_world
from tests.ledger import buried_in
from tests.redis_world import command
from tests.servers import run_server
from trio_bus import Bus, BusOptions, EntryId, RedisBackend
from trio_bus._backend import StreamBackend
from trio_bus._redis.replies import as_text

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parent.parent
OLDEST = EntryId(0)
PUBLISHED = 20_000
PROCESSES = 20
SECONDS = 30.0


def new_seed() -> str:
    """Choose one, and show it."""
    seed = os.environ.get("CHURN_SEED") or secrets.token_hex(4)
    print(f"CHURN_SEED={seed}")
    return seed


async def publish(bus: Bus, count: int, seconds: float) -> EntryId:
    """Publish so many messages within about so many seconds; return the last id."""
    begun, step = trio.current_time(), max(1, count // 100)
    last = OLDEST
    for first in range(0, count, step):
        numbers = range(first, min(first + step, count))
        outcome = await bus.publish_batch(messages(numbers))
        outcome.raise_errors()
        last = max(result for result in outcome.results if isinstance(result, EntryId))
        await trio.sleep_until(begun + seconds * numbers.stop / count)
    return last


async def churn(world: World, count: int, seconds: float) -> None:
    """Let 20 guests of one process come and go; check that each message is handled once."""
    seed, lines, calm = new_seed(), list[str](), trio.Event()
    await world.backend.create_group(TOPIC, GROUP, OLDEST)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            guest = Guest(
                bus=Bus(world.backend, BusOptions(observer=Scribe(lines.append))),
                config=config(60.0),
                rng=seeded(seed, number),
                write=lines.append,
                is_calm=calm.is_set,
                stay=seconds / 10,
                work=0.02,
            )
            nursery.start_soon(guest.run)
        last = await publish(world.bus(), count, seconds)
        while sum(line.startswith("joined") for line in lines) <= 60:
            await trio.sleep(0.05)
        calm.set()
        await wait_finished(world.backend, last)
        nursery.cancel_scope.cancel()
    account = Account.of({"here": lines}, guests=20)
    account.check(count, await buried_in(world.backend, DEAD_TOPIC))
    assert not account.errors
    for number, (done,) in account.done.items():
        assert done.attempt == 1 + account.failed[number], "leaving does not count"
    assert (await group_of(world.backend)).consumers == ()


@pytest.mark.bulk
async def test_who_comes_and_goes_handles_each_message_once(autojump_clock: MockClock) -> None:
    async with open_world("memory:") as world:
        await churn(world, 1000, 30.0)


@pytest.mark.bulk
async def test_who_comes_and_goes_on_a_server_handles_each_message_once(server_url: str) -> None:
    async with open_world(server_url) as world:
        await churn(world, 500, 1.5)


@attrs.frozen
class Crowd:
    """The process that starts and kills the others."""

    process: trio.Process
    directory: Path

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            char = await self.process.stdout.receive_some(1)
            assert char, "it ended early"
            line += char
        return line.decode()

    async def calm(self) -> list[str]:
        """Let nobody be killed or leave any more; return who lives."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"c")
        names: list[str] = json.loads(await self.line())
        return names

    async def end(self) -> dict[str, list[str]]:
        """Let everybody leave, and end; return who was killed, and who failed."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        told: dict[str, list[str]] = json.loads(await self.line())
        assert await self.process.wait() == 0
        return told

    async def all_gone(self) -> None:
        """Wait for those that it has forked: they leave without it, and share its output."""
        assert self.process.stdout is not None
        with trio.move_on_after(PATIENCE):
            while await self.process.stdout.receive_some():
                pass

    def books(self) -> dict[str, list[str]]:
        """Return what each process has written."""
        books = [path for path in self.directory.iterdir() if path.name != CALM]
        return {path.name: path.read_text().splitlines() for path in books}


def _environment() -> dict[str, str]:
    """Return what the processes get: nobody measures what is killed, and it is slow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def crowded(url: str, seed: str) -> AsyncGenerator[Crowd]:
    """Run so many processes."""
    with tempfile.TemporaryDirectory() as directory:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.churn_processes", url, directory, seed, str(PROCESSES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # if it is killed, those that it has stopped go on, and end
            cwd=ROOT,
            env=_environment(),
        )
        crowd = Crowd(process, Path(directory))
        try:
            assert await crowd.line() == "full\n"
            yield crowd
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                await crowd.all_gone()


async def wait_forgotten(backend: StreamBackend, crowd: Crowd, living: list[str]) -> None:
    """Wait until all have come back, and the group knows no consumers but those."""

    async def wrong() -> list[str]:
        account = Account.of(crowd.books(), GUESTS)
        names = {name for name, place in account.living.items() if place in living}
        away = ["away"] * (PROCESSES * GUESTS - len(names))
        group = await group_of(backend)
        return away + [it.name for it in group.consumers if it.name not in names]

    await wait_empty(wrong, pause=0.5)


async def server_seconds(backend: StreamBackend) -> float:
    """Return the processor time that the server has used."""
    assert isinstance(backend, RedisBackend)
    lines = as_text(await command(backend, "INFO", "cpu")).splitlines()
    told = dict(line.split(":") for line in lines if ":" in line)
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


@pytest.mark.bulk
@pytest.mark.long
async def test_200_consumers_in_20_processes_that_are_killed_lose_nothing(
    record_property: Callable[[str, object], None],
) -> None:
    seed = new_seed()
    with run_server("valkey-9.1") as url:
        async with open_world(url) as world, crowded(url, seed) as crowd:
            await world.backend.create_group(TOPIC, GROUP, OLDEST)
            begun, used = trio.current_time(), await server_seconds(world.backend)
            last = await publish(world.bus(), PUBLISHED, SECONDS)
            busy = (await server_seconds(world.backend) - used) / (trio.current_time() - begun)
            living = await crowd.calm()
            await wait_finished(world.backend, last)
            assert len(living) == PROCESSES
            await wait_forgotten(world.backend, crowd, living)
            with trio.fail_after(5 * PATIENCE):
                told = await crowd.end()
            group = await group_of(world.backend)
            account = Account.of(crowd.books(), GUESTS, told["killed"], told["stopped"])
            account.check(PUBLISHED, await buried_in(world.backend, DEAD_TOPIC))
    measured = (
        f"{len(told['killed'])} processes killed, {account.joined.total()} consumers joined, "
        f"{account.repeated} messages handled again, {len(account.lost)} leases lost, "
        f"the server was busy for {busy:.0%} of a core"
    )
    print(measured, dict(account.errors))
    record_property("measured", measured)
    assert len(told["killed"]) >= LEAST_KILLED
    assert told["failed"] == []
    assert group.consumers == (), "everybody is gone but those that are reserved"
