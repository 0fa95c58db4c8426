"""``trio-bus bench``: how fast everything is here, beside what is possible and beside others."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus._cli.failing import missing_extra
from trio_bus._cli.stopping import stopped_by_signals
from trio_bus._embedded import find_server

from .catalogue import Scale, quick, works
from .rounds import Bench
from .saving import as_json, save
from .works import SIZE, Area

if TYPE_CHECKING:
    from .display import Display

HELP = "measure how fast publishing and consuming are"
DESCRIPTION = (
    "Measure publishing, consuming, latency, growth, and what idle subscriptions cost: with "
    "trio_bus, on bare sockets (the floors), and with other libraries. Each works in a process of "
    "its own, all take turns, and medians are shown. It uses a server of its own unless --url "
    "names one; what it stores is deleted again."
)
_LARGEST = 1024 * 1024
_AREAS = ", ".join(area.value for area in Area)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--url", default="embedded:", help="a server that may be kept busy")
    parser.add_argument("--only", metavar="AREAS", type=_areas, default=tuple(Area), help=_AREAS)
    parser.add_argument("--peers", action="store_true", help="measure other libraries too")
    parser.add_argument("--quick", action="store_true", help="less of everything: two minutes")
    parser.add_argument(
        "--size", metavar="BYTES", type=_size, default=SIZE, help=f"of each payload ({SIZE})"
    )
    parser.add_argument(
        "--messages", metavar="N", type=_number, default=20_000, help="in a measurement (20,000)"
    )
    parser.add_argument(
        "--rate", metavar="N", type=_number, default=500, help="messages/s for the latency (500)"
    )
    parser.add_argument(
        "--rounds", metavar="N", type=_number, help="of which medians are shown (5; 3 if quick)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--save", metavar="DIRECTORY", type=Path, help="write bench.json, bench.inc and bench.svg"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure; return the exit code."""
    try:
        from .display import Display  # noqa: PLC0415 - it needs an extra
    except ImportError:
        raise missing_extra("cli", "rich, which draws the tables,") from None
    url = str(arguments.url)
    if url.startswith("embedded:"):
        find_server()  # before anything is measured
    shown = _Shown(Display(), as_json=arguments.json, directory=arguments.save)
    return trio.run(_bench, url, _chosen(arguments), shown)


def _chosen(arguments: argparse.Namespace) -> Bench:
    scale = Scale(size=arguments.size, rate=arguments.rate, messages=arguments.messages)
    if arguments.quick:
        scale = quick(scale)
    return Bench(
        size=scale.size,
        rounds=arguments.rounds or (3 if arguments.quick else 5),
        works=works(scale, arguments.only),
        peers=arguments.peers,
    )


@attrs.frozen
class _Shown:
    """What becomes of what was found."""

    display: Display
    as_json: bool = attrs.field(kw_only=True)
    directory: Path | None = attrs.field(kw_only=True)


async def _bench(url: str, bench: Bench, shown: _Shown) -> int:
    async with stopped_by_signals() as stop:
        with shown.display.progress(bench.rounds * len(bench.pairs(url))) as advance:
            report = await bench.run(url, advance)
        if shown.directory is not None:
            save(report, shown.directory)
        if shown.as_json:
            print(as_json(report))
        else:
            shown.display.tables(report)
        return 0
    return stop.exit_code


def _areas(text: str) -> tuple[Area, ...]:
    try:
        return tuple(Area(name) for name in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!a} is not a list of these: {_AREAS}") from None


def _size(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text) or int(text) > _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!a} is not a number from 0 to {_LARGEST:,}")
    return int(text)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!a} is not a number from 1 to 9,999,999")
    return int(text)
