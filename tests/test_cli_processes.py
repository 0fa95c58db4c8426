"""The processes that commands start, and what the command itself does when all else fails."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import subprocess
import sys

import attrs
import msgspec
import pytest

from trio_bus import EntryId, StartPosition, _cli
from trio_bus._cli import consume, info
from trio_bus._cli.bench.order import Answer, Order
from trio_bus._cli.bench.works import Area, Kind, Work
from trio_bus._cli.failing import say
from trio_bus._cli.simulate_work import Answer as Simulated
from trio_bus._cli.simulate_work import Order as Seeds
from trio_bus._uid import new_uid
from trio_bus.testing import SCENARIOS, simulate

pytestmark = [pytest.mark.any_server, pytest.mark.any_python]

WORK = Work(name="two tasks", area=Area.PUBLISH, kind=Kind.PUBLISH, count=8, width=2)


def run(module: str, *arguments: str, told: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a module of the command as its parent does, to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", "-m", f"trio_bus._cli.{module}", *arguments],
        input=told,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_the_worker_of_the_demo_ends_with_its_parent(server_url: str) -> None:
    """Its standard input is the parent."""
    ran = run("worker", server_url)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_a_process_that_simulates_answers_each_order() -> None:
    orders = [Seeds("calm", 3, 1), Seeds("lossy", 4, 2)]
    ran = run("simulate_worker", told=b"".join(msgspec.json.encode(it) + b"\n" for it in orders))
    assert (ran.returncode, ran.stderr) == (0, b"")
    answers = [msgspec.json.decode(line, type=Simulated) for line in ran.stdout.splitlines()]
    assert answers == [
        Simulated(it.count, sum(simulate(SCENARIOS[it.scenario], seed).seconds for seed in seeds))
        for it in orders
        for seeds in [range(it.first_seed, it.first_seed + it.count)]
    ]


@pytest.mark.parametrize("program", ["ours", "trio_floor", "floor", "peers.redis_asyncio"])
def test_a_process_that_measures_answers_each_order(program: str, server_url: str) -> None:
    """And says so when it cannot."""
    order = Order(server_url, f"bench-{new_uid()}", WORK)
    gone = attrs.evolve(order, url="redis://127.0.0.1:1")
    ran = run(
        f"bench.{program}", told=b"".join(msgspec.json.encode(it) + b"\n" for it in (order, gone))
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    good, bad = (msgspec.json.decode(line, type=Answer) for line in ran.stdout.splitlines())
    assert good.figures["rate"] > 0
    assert not good.error
    assert re.match("Connection(Lost|Error): ", bad.error)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "trio-bus: No space left on device\n",
        ),
        (OSError("odd"), 1, "trio-bus: odd\n"),
        (KeyboardInterrupt(), 128 + signal.SIGINT, "trio-bus: interrupted\n"),
    ],
)
def test_what_nobody_expects_is_one_line(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(_cli, "_run", fail)
    assert _cli.main([]) == code
    assert capsys.readouterr().err == said


def test_where_nobody_hears_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell may have closed both ends."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        monkeypatch.setattr(sys, "stdout", None)
        say("it is lost")
        _cli._flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


def test_where_to_start_has_three_ways_to_say_it() -> None:
    assert consume._start("oldest") is StartPosition.OLDEST
    assert consume._start("newest") is StartPosition.NEWEST
    assert consume._start("7-1") == EntryId(7, 1)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_what_is_no_interval_is_named(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is not a number of seconds"):
        info._seconds(text)
