"""``trio-bus bench``: how fast publishing is here, beside what is possible and beside others."""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus._connect import open_bus
from trio_bus._embedded import find_server
from trio_bus._options import BusOptions
from trio_bus._redis.address import Address
from trio_bus._redis.connecting import connect
from trio_bus._uid import new_uid

from .bench_clients import Clients, open_peer
from .bench_work import Client, Order, Work, works
from .failing import CommandError, missing_extra
from .stopping import stopped_by_signals

if TYPE_CHECKING:
    from .bench_display import Display

HELP = "measure how fast publishing is"
DESCRIPTION = (
    "Publish with one task, with 64 tasks on one bus, and in batches of 1,000: with trio_bus, on a "
    "bare trio socket (the floor), and with redis.asyncio in a process of its own. All take turns, "
    "and medians are shown. It uses a server of its own unless --url names one; what it stores is "
    "deleted again."
)
_LARGEST = 1024 * 1024


@attrs.frozen
class Result:
    """What one client reached in one kind of work."""

    work: str
    client: str
    rate: float
    """Messages per second: the median of all rounds."""
    ours: float
    """The rate of trio_bus divided by this one."""


@attrs.frozen(kw_only=True)
class Report:
    """What the command found."""

    server: str
    size: int
    rounds: int
    results: list[Result]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--url", default="embedded:", help="a server that may be kept busy")
    parser.add_argument(
        "--size", metavar="BYTES", type=_size, default=256, help="of each payload (256)"
    )
    parser.add_argument(
        "--messages", metavar="N", type=_number, default=10_000, help="in each measurement (10,000)"
    )
    parser.add_argument(
        "--rounds", metavar="N", type=_number, default=7, help="of which the median is shown (7)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Measure; return the exit code."""
    try:
        from .bench_display import Display  # noqa: PLC0415 - it needs an extra
    except ImportError:
        raise missing_extra("cli", "rich, which draws the table,") from None
    url = str(arguments.url)
    if url.startswith("memory:"):
        raise CommandError("url: memory: is no server, and there is no floor to compare it with")
    if url.startswith("embedded:"):
        find_server()  # before anything is measured
    bench = Bench(arguments.size, arguments.rounds, works(arguments.messages))
    return trio.run(_bench, url, bench, Display(), bool(arguments.json))


async def _bench(url: str, bench: Bench, display: Display, as_json: bool) -> int:  # noqa: FBT001 - trio.run passes by position
    async with stopped_by_signals() as stop:
        report = await bench.run(url, display)
        if as_json:
            print(json.dumps(attrs.asdict(report), indent=2))
        else:
            display.table(report)
        return 0
    return stop.exit_code


def _size(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text) or int(text) > _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!a} is not a number from 0 to {_LARGEST:,}")
    return int(text)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!a} is not a number from 1 to 9,999,999")
    return int(text)


@attrs.frozen
class Bench:
    """Measures each client in each kind of work; they take turns, so that all see the same day."""

    size: int
    rounds: int
    works: tuple[Work, ...]

    async def run(self, url: str, display: Display) -> Report:
        """Measure on the server of *url*."""
        rates: dict[tuple[Work, Client], list[float]] = defaultdict(list)
        pairs = [(work, client) for work in self.works for client in work.clients]
        async with _open_clients(url) as (server, plain_url, clients):
            with display.progress(self.rounds * len(pairs)) as advance:
                for work, client in pairs * self.rounds:
                    topic = f"bench-{new_uid()}"
                    order = Order(plain_url, topic, client, work, self.size)
                    rates[work, client].append(await clients.measure(order))
                    advance()
        medians = {pair: median(found) for pair, found in rates.items()}
        results = [
            Result(work.name, client.value, rate, medians[work, Client.OURS] / rate)
            for (work, client), rate in medians.items()
        ]
        return Report(server=server, size=self.size, rounds=self.rounds, results=results)


@asynccontextmanager
async def _open_clients(url: str) -> AsyncGenerator[tuple[str, str, Clients]]:
    """Give the name of the server, a URL that redis-py understands, and all who publish there."""
    options = BusOptions()
    async with open_bus(url, options) as bus, open_peer() as peer:
        # (The URL of a bus has no password in it.)
        plain = str(bus.url) if url.startswith("embedded:") else url
        session = await connect(Address.parse(plain), options.connect_timeout)
        try:
            name = f"{session.server.name} {'.'.join(map(str, session.server.version))}"
            yield name, re.sub("^valkey", "redis", plain), Clients(bus, session, peer)
        finally:
            with trio.CancelScope(shield=True):
                await session.wire.aclose()
