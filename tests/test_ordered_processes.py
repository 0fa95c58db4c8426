"""The order of keys, while processes are killed and stand still beyond their lease."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from tests.harness import World, open_world
from tests.ordered_process import LEASE
from tests.test_processes import ROOT
from tests.unmeasured import unmeasured
from trio_bus import Bus, EntryId, Message

pytestmark = pytest.mark.any_python

KEYS, MESSAGES = 50, 5000
PATIENCE = 120.0


@asynccontextmanager
async def consuming(url: str, diary: Path) -> AsyncGenerator[trio.Process]:
    """Run a consumer; kill it at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.ordered_process", url, str(diary)],
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**unmeasured(), "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()  # also when it is stopped
        with trio.CancelScope(shield=True):
            await process.wait()


def told(diary: Path) -> list[list[str]]:
    """Return the words of each whole line."""
    return [line.split() for line in diary.read_text().split("\n")[:-1]]


def acked(diary: Path) -> int:
    """Return how many entries are done."""
    return sum(words[0] == "acked" for words in told(diary))


def active(diary: Path) -> int:
    """Return the process that became active last."""
    return [int(words[1]) for words in told(diary) if words[0] == "active"][-1]


async def until_acked(diary: Path, count: int) -> None:
    """Wait until so many entries are done."""
    with trio.fail_after(PATIENCE):
        while acked(diary) < count:
            await trio.sleep(0.05)


async def publish(bus: Bus, count: int) -> dict[str, list[EntryId]]:
    """Publish to all keys in turn; return the entries of each key."""
    found: dict[str, list[EntryId]] = defaultdict(list)
    for start in range(0, count, 500):
        keys = [f"customer-{number % KEYS}" for number in range(start, start + 500)]
        outcome = await bus.publish_batch([Message("orders", b"", key=key) for key in keys])
        outcome.raise_errors()
        for key, result in zip(keys, outcome.results, strict=True):
            assert isinstance(result, EntryId)
            found[key].append(result)
    return found


async def until_finished(world: World) -> None:
    """Wait until the group has finished all."""
    with trio.fail_after(PATIENCE):
        while (await world.group()).oldest is not None:
            await trio.sleep(0.1)
    await trio.sleep(0.5)  # for the last lines


def check(diary: Path, published: dict[str, list[EntryId]], killed: int) -> None:
    """Check that what was done of each key was done in order, one after the other.

    What the killed process had done, the server may know and nobody else.
    """
    began: dict[tuple[str, ...], int] = {}
    ended: dict[tuple[str, ...], int] = {}
    keys: dict[tuple[str, ...], str] = {}
    done: list[tuple[str, ...]] = []
    for at, (word, *rest) in enumerate(told(diary)):
        delivery = tuple(rest[:3])
        if word == "began":
            began[delivery], keys[delivery] = at, rest[3]
        elif word == "ended":
            ended[delivery] = at
        elif word == "acked":
            done.append(delivery)
    known = {entry_id for _, entry_id, _ in done}
    done += [it for it in ended if it[0] == str(killed) and it[1] not in known]
    assert len(done) == len({entry_id for _, entry_id, _ in done}) == MESSAGES
    for key, entries in published.items():
        mine = sorted((began[it], ended[it], it[1]) for it in done if keys[it] == key)
        assert [entry_id for _, _, entry_id in mine] == [str(it) for it in entries]
        for (_, end, _), (begin, _, _) in pairwise(mine):
            assert end < begin, "what is done of one key does not overlap"


@pytest.mark.bulk
@pytest.mark.long
async def test_each_key_keeps_its_order_whoever_dies_or_stands_still(
    server_url: str, tmp_path: Path
) -> None:
    """Three consumers, whose handlers fail one time in ten.

    The active one is killed, then the next one is stopped for longer than its lease, and goes on
    when another one is active.
    """
    diary = tmp_path / "diary"
    diary.touch()
    async with (
        open_world(server_url) as world,
        consuming(server_url, diary),
        consuming(server_url, diary),
        consuming(server_url, diary),
    ):
        with trio.fail_after(PATIENCE):
            while sum(words[0] == "opened" for words in told(diary)) < 3:
                await trio.sleep(0.05)
        published = await publish(world.bus(), MESSAGES)
        await until_acked(diary, MESSAGES // 5)
        killed = active(diary)
        os.kill(killed, signal.SIGKILL)
        await until_acked(diary, 2 * MESSAGES // 5)
        stopped = active(diary)
        os.kill(stopped, signal.SIGSTOP)
        await trio.sleep(LEASE + 1.0)
        with trio.fail_after(PATIENCE):
            while active(diary) == stopped:
                await trio.sleep(0.05)
        os.kill(stopped, signal.SIGCONT)
        await until_finished(world)
        check(diary, published, killed)
        assert len({words[1] for words in told(diary) if words[0] == "active"}) == 3
