"""``trio-bus bench``: what it prints and refuses. How fast anything is, no test asks."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import json
import subprocess
import sys
from typing import cast

import pytest

from tests.redis_world import options
from trio_bus._cli.bench_work import Client, works
from trio_bus._redis import open_redis

pytestmark = [pytest.mark.any_python, pytest.mark.any_server]

COMMAND = [sys.executable, "-W", "error", "-m", "trio_bus._cli", "bench"]
SMALL = ("--messages", "64", "--rounds", "1")


def bench(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=60, check=False)


async def test_each_client_is_measured_in_each_kind_of_work(server_url: str) -> None:
    """The JSON has a positive rate, and its ratio, for each of them; nothing stays behind."""
    done = bench("--json", "--url", server_url, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    report = cast("dict[str, object]", json.loads(done.stdout))
    assert list(report) == ["server", "size", "rounds", "results"]
    assert (report["size"], report["rounds"]) == (256, 1)
    results = cast("list[dict[str, str | float]]", report["results"])
    assert [(row["work"], row["client"]) for row in results] == [
        (work.name, client.value) for work in works(64) for client in work.clients
    ]
    for row in results:
        ours = next(
            mine["rate"]
            for mine in results
            if (mine["work"], mine["client"]) == (row["work"], Client.OURS.value)
        )
        assert float(row["rate"]) > 0
        assert row["ours"] == pytest.approx(float(ours) / float(row["rate"]))
    async with open_redis(server_url, options()) as backend:
        assert await backend._link.call("KEYS", "bench-*") == []


def test_it_brings_its_own_server_and_prints_a_table() -> None:
    """Without a terminal there are no colours and no bar."""
    done = bench(*SMALL, "--size", "10")
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert "payloads of 10 bytes, medians of 1 rounds" in lines[0]
    assert sum("trio floor" in line for line in lines) == 3
    assert sum("1.00 x" in line for line in lines if "| trio_bus " in line) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--size", "x"), "'x' is not a number from 0 to 1,048,576"),
        (("--size", "1048577"), "is not a number"),
        (("--rounds", "0"), "'0' is not a number from 1"),
        (("--messages", "-1"), "--messages"),
        (("--url", "memory:"), "memory: is no server"),
        (("--url", "http://localhost"), "the scheme must be one of redis://"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    """It says what is wrong; nothing was started."""
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert says in line


def test_a_server_that_is_not_there_is_one_line() -> None:
    """That is a failure and no misuse."""
    done = bench("--url", "redis://localhost:1", *SMALL)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
