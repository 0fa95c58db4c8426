"""What measures other libraries: on small ones that are played here, and on redis.asyncio."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import attrs
import pytest
import trio

from tests.fake_peers import store
from trio_bus._cli.bench.clients import OURS, PEERS, Client
from trio_bus._cli.bench.order import Order
from trio_bus._cli.bench.peers import driver, on_asyncio, on_trio
from trio_bus._cli.bench.peers.library import Loop, Open
from trio_bus._cli.bench.process import running
from trio_bus._cli.bench.program import answer_to
from trio_bus._cli.bench.rounds import measure
from trio_bus._cli.bench.server import open_server
from trio_bus._cli.bench.works import Area, Kind, Work
from trio_bus._cli.failing import CommandError
from trio_bus._uid import new_uid

pytestmark = [pytest.mark.any_python, pytest.mark.any_server]

FAKES = Path(__file__).parent / "fake_peers"
PLAYED = ("coredis", "streaq", "faststream", "taskiq", "taskiq_redis")
OTHERS = [client for client in PEERS if client.needs is not None]
WORKS = [
    Work(name="p", area=Area.PUBLISH, kind=Kind.PUBLISH, count=6, width=2),
    Work(name="b", area=Area.PUBLISH, kind=Kind.PUBLISH, count=6, batch=3),
    Work(name="c", area=Area.CONSUME, kind=Kind.CONSUME, count=20, width=4),
    Work(name="1", area=Area.CONSUME, kind=Kind.CONSUME, count=3, width=1),
    Work(name="m", area=Area.CONSUME, kind=Kind.BATCHES, count=7, batch=5),
    Work(name="l", area=Area.LATENCY, kind=Kind.LATENCY, count=5, width=4, rate=1000.0),
]


@attrs.frozen
class Floor:
    """The server, which knows what the libraries that are played have stored."""

    socket: object

    def call(self, command: str, key: str, *_: str) -> object:
        if command == "XLEN":
            return len(store.STREAMS[key])
        return [len(store.PENDING[key]), None, None, None]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Play the libraries, and the server."""
    _forget(monkeypatch)
    monkeypatch.setattr(sys, "path", [str(FAKES), *sys.path])
    monkeypatch.setattr(driver, "open_floor", nullcontext)
    monkeypatch.setattr(driver, "Floor", Floor)
    monkeypatch.setattr(driver, "_CHECKS", 2)
    yield
    store.forget()
    _forget(monkeypatch)
    logging.disable(logging.NOTSET)


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next import find what stands first in the path."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PLAYED]:
        monkeypatch.delitem(sys.modules, name)


def peer(client: Client) -> tuple[Open, Loop]:
    program = import_module(f"trio_bus._cli.bench.{client.program}")
    return vars(program)["open_library"], vars(program)["LOOP"]


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
@pytest.mark.parametrize("client", OTHERS, ids=lambda client: client.name)
def test_a_library_is_measured_in_all_that_it_does(client: Client, work: Work) -> None:
    """And all that was measured was published, or handled and acked."""
    if not client.does(work):
        pytest.skip("it has nothing of that kind")
    found = driver.measure(*peer(client), Order("redis://nowhere", "topic", work))
    assert all(figure > 0 for figure in found.values())
    assert ("p50_us" if work.kind is Kind.LATENCY else "rate") in found
    (stored,) = store.STREAMS.values()
    assert len(stored) == work.count + (work.width if work.kind is Kind.PUBLISH else 0)
    assert {len(payload) for payload in stored} == {256}
    assert not any(store.PENDING.values())


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize(
    ("loses", "work", "says"),
    [
        ("publish", WORKS[0], "0 messages were stored, of 8"),
        ("ack", WORKS[2], "20 messages were handled and not acked"),
    ],
)
def test_a_library_that_loses_something_is_not_measured(loses: str, work: Work, says: str) -> None:
    store.LOSES.add(loses)
    measure = partial(driver.measure, *peer(OTHERS[0]))
    answer = answer_to(Order("redis://nowhere", "topic", work), measure)
    assert re.fullmatch(f"Wrong: {says}", answer.error)


def test_a_program_answers_until_nobody_asks() -> None:
    """Nothing of the library is needed before it is measured."""
    command = [sys.executable, "-P", "-W", "error", "-m"]
    running = [
        subprocess.Popen(
            [*command, f"trio_bus._cli.bench.{client.program}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for client in PEERS
    ]
    for process in running:
        with process:
            assert process.communicate(timeout=60)[0] == b""
        assert process.returncode == 0


@pytest.mark.parametrize("loop", [on_trio.LOOP, on_asyncio.LOOP], ids=["trio", "asyncio"])
def test_nobody_waits_for_ever(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was lost never comes."""
    monkeypatch.setattr(on_trio, "PATIENCE", 0.01)
    monkeypatch.setattr(on_asyncio, "PATIENCE", 0.01)

    async def wait() -> dict[str, float]:
        await loop.in_time(loop.event().wait())
        return {}

    with pytest.raises((TimeoutError, trio.TooSlowError)):
        loop.run(wait)


def test_what_runs_beside_ends_with_the_block() -> None:
    ended: list[str] = []

    async def run() -> None:
        try:
            await asyncio.sleep(99)
        finally:
            ended.append("run")

    async def block() -> None:
        async with on_asyncio.beside(run):
            await asyncio.sleep(0.001)
        assert ended == ["run"]

    asyncio.run(block())


def test_what_runs_beside_may_take_a_cancellation_for_something_else() -> None:
    """It is cancelled again; and what it raises is told."""
    heard: list[str] = []

    async def run() -> None:
        try:
            await asyncio.sleep(99)
        except asyncio.CancelledError:
            heard.append("a lost connection")
        await asyncio.sleep(99)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("gone")

    async def block(call: Callable[[], Coroutine[None, None, None]]) -> None:
        async with on_asyncio.beside(call):
            await asyncio.sleep(0.001)

    asyncio.run(block(run))
    assert heard == ["a lost connection"]
    with pytest.raises(LookupError):
        asyncio.run(block(fail))


def test_what_never_ends_ends_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else could end it: asyncio waits for it as long as it takes."""
    monkeypatch.setattr(on_asyncio, "_TRIES", 3)
    monkeypatch.setattr(on_asyncio, "_PAUSE", 0.001)
    exits: list[int] = []
    is_over = False

    def leave(code: int) -> NoReturn:
        nonlocal is_over
        exits.append(code)
        is_over = True
        raise SystemExit(code)

    async def run() -> None:
        while not is_over:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(99)

    async def block() -> None:
        async with on_asyncio.beside(run):
            await asyncio.sleep(0.001)

    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit):
        asyncio.run(block())
    assert exits == [1]


async def test_a_library_whose_process_died_is_measured_in_another_one(server_url: str) -> None:
    """Of ours it is an error: it should not die."""
    work = WORKS[0]
    async with open_server(server_url) as server:
        for client in (PEERS[0], OURS):
            async with running(client) as process:
                process._process.kill()
                if client is OURS:
                    with pytest.raises(CommandError, match="process that measures trio_bus died"):
                        await measure(server, process, client, work)
                else:
                    assert (await measure(server, process, client, work))["rate"] > 0


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
@pytest.mark.parametrize("name", ["open_shared", "open_single"])
def test_redis_is_measured_on_a_real_server(name: str, work: Work, server_url: str) -> None:
    program = import_module("trio_bus._cli.bench.peers.redis_asyncio")
    order = Order(server_url, f"bench-{new_uid()}", work)
    found = driver.measure(vars(program)[name], vars(program)["LOOP"], order)
    assert all(figure > 0 for figure in found.values())
