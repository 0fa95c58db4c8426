"""``trio-bus simulate``: runs simulated worlds in bulk, on all cores, until one fails."""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import final

import attrs
import msgspec
import trio

from trio_bus._one_error import one_error
from trio_bus.testing import SCENARIOS, SimulationFailed, simulate

from .failing import FAILED, CommandError, say
from .simulate_progress import Advance, progress
from .simulate_work import Answer, Order
from .stopping import stopped_by_signals

HELP = "look for schedules and faults under which trio_bus breaks a promise"
DESCRIPTION = (
    "Run whole programs on simulated streams, in virtual time, each with another seed: it decides "
    "the schedule, the faults and everything else. At the first run that breaks an invariant its "
    "story is printed, with the command that replays it."
)
_SEEDS = 1000
_CHUNK = 20
"""Seeds in one order: short enough for the bar to move, and for the end to be near."""
_END_TIMEOUT = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--seeds", metavar="N", type=_number, help=f"of each scenario ({_SEEDS:,}, or no limit)"
    )
    parser.add_argument("--minutes", metavar="M", type=_minutes, help="how long to go on at most")
    parser.add_argument(
        "--scenario",
        metavar="NAME",
        action="append",
        choices=sorted(SCENARIOS),
        help=f"again and again (all of them): {', '.join(sorted(SCENARIOS))}",
    )
    parser.add_argument("--first-seed", metavar="K", type=_seed, default=0, help="(0)")
    parser.add_argument("--jobs", metavar="N", type=_number, help="processes (one for each core)")
    parser.add_argument(
        "--replay", metavar="SCENARIO:SEED", type=_replay, help="run this one, and tell its story"
    )


def run(arguments: argparse.Namespace) -> int:
    """Simulate; return the exit code."""
    if arguments.replay is not None:
        return _tell(*arguments.replay)
    seeds = arguments.seeds or (None if arguments.minutes else _SEEDS)
    bulk = Bulk(
        scenarios=tuple(arguments.scenario or SCENARIOS),
        first_seed=arguments.first_seed,
        seeds=seeds,
        seconds=60 * arguments.minutes if arguments.minutes else math.inf,
        jobs=arguments.jobs or os.cpu_count() or 1,
    )
    return trio.run(_run, bulk)


def _tell(scenario: str, seed: int) -> int:
    """Tell the story of one run."""
    try:
        print(simulate(SCENARIOS[scenario], seed).story())
    except SimulationFailed as failed:
        print(failed)
        return FAILED
    return 0


async def _run(bulk: Bulk) -> int:
    async with stopped_by_signals() as stop:
        try:
            with progress() as advance:
                await bulk.run(advance)
        finally:
            say(bulk.summary())
        if bulk.story:
            print(bulk.story)
            return FAILED
        return 0
    return stop.exit_code


@attrs.define(kw_only=True)
class Bulk:
    """Many runs."""

    scenarios: tuple[str, ...]
    first_seed: int
    seeds: int | None
    """Of each scenario; None: as many as there is time for."""
    seconds: float
    jobs: int
    runs: int = 0
    virtual: float = 0.0
    """Seconds that passed in the simulated worlds."""
    story: str = ""
    """That of the first run that failed."""

    def orders(self) -> Iterator[Order]:
        """Return all there is to do; scenarios take turns."""
        end = None if self.seeds is None else self.first_seed + self.seeds
        first = self.first_seed
        while end is None or first < end:
            left = _CHUNK if end is None else min(_CHUNK, end - first)
            for scenario in self.scenarios:
                yield Order(scenario, first, left)
            first += left

    def done(self, elapsed: float) -> float:
        """Return the part of all runs that is done, from 0 to 1, after so many seconds."""
        by_time = elapsed / self.seconds
        if self.seeds is None:
            return by_time
        return max(by_time, self.runs / (self.seeds * len(self.scenarios)))

    def summary(self) -> str:
        """Say in a line what was done."""
        worlds = f"{self.runs:,} runs, {self.virtual:,.0f} s of virtual time"
        return f"{worlds}: {'one failed' if self.story else 'no invariant was broken'}"

    async def run(self, advance: Advance) -> None:
        """Do it, until it is done, the time is up, or one has failed."""
        orders = self.orders()
        began = trio.current_time()
        with one_error(), trio.move_on_after(self.seconds) as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(self.jobs):
                    nursery.start_soon(self._work, orders, began, advance, scope)

    async def _work(
        self, orders: Iterator[Order], began: float, advance: Advance, scope: trio.CancelScope
    ) -> None:
        """Let one process work."""
        async with _open_worker() as worker:
            for order in orders:
                answer = await worker.ask(order)
                self.runs += answer.runs
                self.virtual += answer.seconds
                advance(self.done(trio.current_time() - began), self.runs)
                if answer.story:
                    self.story = self.story or answer.story
                    scope.cancel("a run has failed")


@final
class _Worker:
    """A process that simulates."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def ask(self, order: Order) -> Answer:
        """Let it carry out an order.

        Raises:
          CommandError: it died.
        """
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(msgspec.json.encode(order) + b"\n")
        except trio.BrokenResourceError:
            raise _dead(order) from None
        return msgspec.json.decode(await self._line(order), type=Answer)

    async def _line(self, order: Order) -> bytes:
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            data = await self._process.stdout.receive_some()
            if not data:
                raise _dead(order)
            line += data
        return line


def _dead(order: Order) -> CommandError:
    last = order.first_seed + order.count - 1
    seeds = f"{order.scenario}, seeds {order.first_seed} to {last}"
    return CommandError(f"the process that ran {seeds} died", FAILED)


@asynccontextmanager
async def _open_worker() -> AsyncGenerator[_Worker]:
    """Start a process; it ends with the block."""
    process = await trio.lowlevel.open_process(
        # -P: no module of the directory we happen to be in.
        [sys.executable, "-P", "-m", "trio_bus._cli.simulate_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us to handle
    )
    try:
        yield _Worker(process)
    finally:
        with trio.move_on_after(_END_TIMEOUT, shield=True):
            process.kill()
            await process.wait()
            assert process.stdio is not None
            await process.stdio.aclose()


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!a} is not a number from 1 to 999,999,999")
    return int(text)


def _seed(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!a} is not a seed: a number from 0")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!a} is not a number of minutes above 0")
    return minutes


def _replay(text: str) -> tuple[str, int]:
    name, _, seed = text.partition(":")
    if name not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"{name!a} is no scenario: {', '.join(sorted(SCENARIOS))}")
    return name, _seed(seed)
