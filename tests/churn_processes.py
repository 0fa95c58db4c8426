"""Processes full of guests, which are killed: ``python -m tests.churn_processes ...``.

The process that is started imports everything, once, and forks the others: so a killed one is
replaced within milliseconds. It hears on its standard input that it is to be calm, answers with the
names of those that live, and ends them when its input ends; then it says whom it has killed. It is
not a trio program itself: what runs trio cannot be forked.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import attrs
import trio

from tests.churn import ENOUGH, Guest, Scribe, config, seeded
from trio_bus import BusOptions, open_bus

CALM = "calm"
"""The file that says that nobody is to leave any more."""
LEASE = 2.0
GUESTS = 10
"""How many there are in each process."""
STAY = 3.0
WORK = 0.02
PAUSE = 0.7
"""Seconds from one strike to the next, on the average."""
KILLED = 0.7
"""Which part of those that are struck is killed; the others are stopped for a while."""
LEAST_KILLED = 10
"""So many have to be killed before there is calm, on however slow a machine."""
KINDNESS = 5
"""What `os.nice` gets: other tests run on this machine."""


def main(url: str, directory: str, seed: str, count: str) -> None:
    """Keep *count* processes at work and strike them, until told to be calm, and to end."""
    crowd = Crowd(url, Path(directory), seed, int(count))
    crowd.keep_full()
    print("full", flush=True)
    rng = seeded(seed)
    enough = False
    while not (enough and len(crowd.killed) >= LEAST_KILLED):
        enough = _told(rng.expovariate(1 / PAUSE)) or enough
        crowd.strike(rng)
    crowd.calm()
    print(json.dumps(sorted(crowd.living.values())), flush=True)
    while not _told(1.0):
        crowd.keep_full()
    crowd.end()
    told = {"killed": crowd.killed, "stopped": crowd.paused, "failed": crowd.failed}
    print(json.dumps(told), flush=True)


def _told(patience: float) -> bool:
    """Wait for a byte on standard input, or its end; take it."""
    ready, _, _ = select.select([0], [], [], patience)
    return bool(ready) and len(os.read(0, 1)) <= 1


@attrs.define
class Crowd:
    """The processes, by their ids. Their lifeline is a pipe: they leave when it is closed."""

    url: str
    directory: Path
    seed: str
    count: int
    living: dict[int, str] = attrs.field(factory=dict[int, str])
    killed: list[str] = attrs.field(factory=list[str])
    paused: list[str] = attrs.field(factory=list[str])
    """Those that were, and went on, though perhaps after more than half of a lease."""
    failed: list[str] = attrs.field(factory=list[str])
    """Those that ended and should not have."""
    _born: int = 0
    _stopped: dict[int, float] = attrs.field(factory=dict[int, float])
    """Until when, by `time.monotonic`."""
    _lifeline: tuple[int, int] = attrs.field(factory=os.pipe)

    def keep_full(self) -> None:
        """Replace those that ended."""
        self._reap(os.WNOHANG)
        while len(self.living) < self.count:
            name = f"process-{self._born}"
            self._born += 1
            pid = os.fork()
            if pid == 0:
                os.close(self._lifeline[1])
                life = (self.url, self.directory, name, self.seed, self._lifeline[0])
                _be(name, partial(trio.run, work, *life))
            self.living[pid] = name

    def strike(self, rng: random.Random) -> None:
        """Kill one, or stop it for less or more than a lease; wake those stopped long enough."""
        for pid in [pid for pid, until in self._stopped.items() if until < time.monotonic()]:
            self._go_on(pid)
        pid = rng.choice(sorted(self.living))
        if rng.random() < KILLED:
            self._stopped.pop(pid, None)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self.killed.append(self.living.pop(pid))
        else:
            os.kill(pid, signal.SIGSTOP)
            self.paused.append(self.living[pid])
            self._stopped[pid] = time.monotonic() + rng.random() * 2 * LEASE
        self.keep_full()

    def calm(self) -> None:
        """Let those that are stopped go on; nobody leaves any more."""
        for pid in list(self._stopped):
            self._go_on(pid)
        self.keep_full()
        (self.directory / CALM).touch()

    def end(self) -> None:
        """Let everybody leave."""
        os.close(self._lifeline[1])
        self._reap(0)

    def _go_on(self, pid: int) -> None:
        os.kill(pid, signal.SIGCONT)
        del self._stopped[pid]

    def _reap(self, how: int) -> None:
        """Note those that ended by themselves. They are to end when the lifeline is closed."""
        for pid in list(self.living):
            ended, status = os.waitpid(pid, how)
            if ended:
                name = self.living.pop(pid)
                self._stopped.pop(pid, None)
                if status or how:
                    self.failed.append(f"{name}: {status}")


def _be(name: str, main: Callable[[], None]) -> NoReturn:
    """Be a forked process: end with it, however it ends."""
    try:
        main()
    except BaseException:  # noqa: BLE001 - nothing may come back into the process that forked
        print(f"{name} failed:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


async def work(url: str, directory: Path, name: str, seed: str, lifeline: int) -> None:
    """Be full of guests until the lifeline is closed."""
    os.nice(KINDNESS)
    book = os.open(directory / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(line: str) -> None:
        os.write(book, f"{line}\n".encode())

    options = BusOptions(observer=Scribe(write), connect_timeout=ENOUGH, command_timeout=ENOUGH)
    async with open_bus(url, options) as bus, trio.open_nursery() as nursery:
        for number in range(GUESTS):
            guest = Guest(
                bus=bus,
                config=config(LEASE),
                rng=seeded(seed, name, number),
                write=write,
                is_calm=(directory / CALM).exists,
                stay=STAY,
                work=WORK,
            )
            nursery.start_soon(guest.run)
        await trio.lowlevel.wait_readable(lifeline)
        nursery.cancel_scope.cancel("everybody leaves")


if __name__ == "__main__":
    main(*sys.argv[1:])
