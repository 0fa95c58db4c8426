"""Plant faults in a copy of the source, one at a time: the suites have to find each of them.

``python -m tests.hunt`` hunts all of them and writes ``docs/mutations.csv``; names choose some, by
any part of a name. What a hunt finds is written at once, so that one that was ended can go on with
``--missing``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import trio

from tests.put_back.guards import guards
from tests.put_back.lists import FAULTS
from tests.put_back.own import OWN
from tests.put_back.trial import copied

from .hunting import HuntFailed, Prey, ask_tests, hunt, reason_of
from .table import Row, read_rows, write_rows

ROOT = Path(__file__).parent.parent.parent

Hunt = Callable[[Path, Prey], Awaitable[Row]]


def all_prey(root: Path) -> list[Prey]:
    """Return each fault, put in each way."""
    marked = guards(root)
    return [
        Prey(fault, number, marked.get(fault.name, ()))
        for fault in (*FAULTS, *OWN)
        for number in range(len(fault.puttings))
    ]


def main(arguments: Sequence[str]) -> int:
    """Hunt what was asked for; 0 if something caught each of them."""
    asked = _parser().parse_args(arguments)
    names: list[str] = asked.names
    found = read_rows(ROOT) if asked.missing else {}
    known = {key for key, row in found.items() if row.caught_by}
    chosen = [
        prey
        for prey in all_prey(ROOT)
        if prey.key not in known and any(name in prey.fault.name for name in names or [""])
    ]
    with copied(ROOT) as root:  # so that who goes on editing changes nothing here
        escaped = trio.run(
            _hunt_all, root, ask_tests if asked.only_tests else hunt, chosen, asked.jobs
        )
    print(f"{len(chosen)} hunted, {len(escaped)} escaped")
    for prey in escaped:
        print(f"  {prey.fault.name}: {prey.how}")
    return 1 if escaped else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="parts of names of faults")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="hunts at a time (2)")
    parser.add_argument(
        "--missing", action="store_true", help="hunt only what the table does not hold as caught"
    )
    parser.add_argument(
        "--only-tests", action="store_true", help="ask tests alone: no suite was seen to catch it"
    )
    return parser


async def _hunt_all(root: Path, ask: Hunt, chosen: Sequence[Prey], jobs: int) -> list[Prey]:
    """Hunt each, in order; write what was found as it is found; return what nothing caught."""
    order = [prey.key for prey in all_prey(ROOT)]
    left = iter(chosen)
    escaped: list[Prey] = []

    async def hunt_some() -> None:
        nonlocal escaped  # all jobs take from the same ones
        escaped += [prey for prey in left if not await _hunt_one(root, ask, prey, order)]

    async with trio.open_nursery() as nursery:
        for _ in range(jobs):
            nursery.start_soon(hunt_some)
    return escaped


async def _hunt_one(root: Path, ask: Hunt, prey: Prey, order: Sequence[tuple[str, str]]) -> bool:
    """Hunt one, and note what came of it; say whether it was caught."""
    began = trio.current_time()
    try:
        row = await ask(root, prey)
    except HuntFailed as failed:
        print(f"FAILED {prey.fault.name}: {prey.how}\n{failed}", flush=True)
        return False
    rows = read_rows(ROOT) | {row.key: row}
    told = [attrs.evolve(it, reason=reason_of(it.fault, it.caught_by)) for it in rows.values()]
    write_rows(ROOT, told, order)
    words = f"{row.caught_by or 'NOTHING'} {row.after} {row.shown} {row.reason}"
    seconds = trio.current_time() - began
    print(f"{seconds:5.0f} s  {prey.fault.name}: {prey.how}\n         {words}", flush=True)
    return bool(row.caught_by)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
