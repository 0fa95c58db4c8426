"""``trio-bus demo``: real events through a real server, with a death in the middle."""

from __future__ import annotations

import argparse
import signal
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_bus._embedded import find_server

from .failing import FAILED, CommandError, missing_extra
from .play import Play
from .stopping import stopped_by_signals
from .verdict import checks
from .weather import Expected, load

if TYPE_CHECKING:
    from .display import Display

HELP = "watch real events flow through a real server"
DESCRIPTION = (
    "Start a Valkey server of its own, replay four years of Seattle's weather through it to two "
    "groups, kill a consumer in the middle (kill -9), and prove that nothing was lost. Takes some "
    "seconds and leaves nothing behind."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--plain", action="store_true", help="no colours and no bars")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return the exit code."""
    try:
        from .display import Display  # noqa: PLC0415 - it needs an extra
    except ImportError:
        raise missing_extra("cli", "rich, which draws the demo,") from None
    find_server()  # before anything is drawn
    return trio.run(_demo, Display(plain=arguments.plain), Expected.of(load()))


async def _demo(display: Display, expected: Expected) -> int:
    async with stopped_by_signals() as stop:
        display.on_unread = partial(stop.end, signal.SIGPIPE)
        outcome = await Play(display, expected).run()
        proof = checks(outcome, expected)
        display.means(outcome.tally.means)
        display.proof(proof)
        if not all(check.ok for check in proof):
            raise CommandError("the sums are wrong: see the table", FAILED)
        return stop.exit_code if stop.signal == signal.SIGPIPE else 0
    display.note("stopped; nothing is left behind")
    return stop.exit_code
