"""Put faults back into a copy of the source, one at a time, and see that a test notices each.

``python -m tests.put_back`` tries all of them; names choose some, by any part of a name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from .fault import Fault
from .guards import guards
from .lists import FAULTS
from .page import page
from .trial import Report, Verdict, copied, run_trial

ROOT = Path(__file__).parent.parent.parent


@attrs.frozen
class Case:
    """One fault, put back in one way."""

    fault: Fault
    number: int

    @property
    def title(self) -> str:
        """Say which, and how."""
        return f"{self.fault.name}: {self.fault.puttings[self.number].how}"


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 0 if every fault was noticed by every test that guards it."""
    asked = _parser().parse_args(arguments)
    if asked.page:
        print(page(guards(ROOT)), end="")
        return 0
    names: list[str] = asked.names
    faults = [it for it in FAULTS if not names or any(name in it.name for name in names)]
    if not faults:
        print(f"no fault is called like {names}")
        return 2
    with copied(ROOT) as root:  # so that who goes on editing changes nothing here
        return trio.run(_try_all, root, faults, asked.jobs, asked.timeout, asked.verbose)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.put_back", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="parts of names of faults")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="trials at a time (2)")
    parser.add_argument(
        "-t", "--timeout", type=float, default=120.0, help="seconds for each trial (120)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show what the tests print")
    parser.add_argument(
        "--page", action="store_true", help="print docs/faults.rst, and nothing else"
    )
    return parser


async def _try_all(
    root: Path,
    faults: Sequence[Fault],
    jobs: int,
    timeout: float,
    verbose: bool,  # noqa: FBT001 - a flag of the command line
) -> int:
    """Try the source as it is, then each case; print a line as each ends."""
    marked = guards(root)
    tests = {fault.name: marked.get(fault.name, ()) for fault in faults}
    limit = trio.CapacityLimiter(jobs)
    healthy: list[bool] = []
    reports: dict[Case, Report] = {}

    async def try_as_it_is(select: str, names: Sequence[str]) -> None:
        async with limit:
            report = await run_trial(root, (), names, timeout * (1 + len(names) // 8), select)
        # Without a fault all pass, or a failure with one would say nothing.
        healthy.append(report.verdict is Verdict.MISSED)
        verdict = "passed" if healthy[-1] else "FAILED"
        print(f"{verdict:7} {report.seconds:6.1f} s  {len(names)} tests of the source as it is")
        print("" if healthy[-1] else report.text, end="", flush=True)

    async def attempt(case: Case) -> None:
        fault = case.fault
        async with limit:
            changes = fault.puttings[case.number].changes
            report = await run_trial(root, changes, tests[fault.name], timeout, fault.select)
        reports[case] = report
        _print(case.title, report, verbose=verbose)

    async with trio.open_nursery() as nursery:
        for select in sorted({fault.select for fault in faults}):
            chosen = [tests[fault.name] for fault in faults if fault.select == select]
            nursery.start_soon(
                try_as_it_is, select, sorted({it for names in chosen for it in names})
            )
    if not all(healthy):
        return 1
    async with trio.open_nursery() as nursery:
        for fault in faults:
            for number in range(len(fault.puttings)):
                nursery.start_soon(attempt, Case(fault, number))
    bad = [case.title for case, report in reports.items() if report.verdict is not Verdict.CAUGHT]
    idle = _idle(faults, tests, reports)
    print(f"{len(reports)} trials, {len(bad)} not caught, {len(idle)} tests that guard nothing")
    for text in bad + idle:
        print(f"  {text}")
    return 1 if bad or idle else 0


def _idle(
    faults: Sequence[Fault], tests: dict[str, tuple[str, ...]], reports: dict[Case, Report]
) -> list[str]:
    """Name the tests that say they guard against a fault and never failed with it."""
    noticed: dict[str, set[str]] = {fault.name: set() for fault in faults}
    for case, report in reports.items():
        noticed[case.fault.name] |= report.failed
    return [
        f"{test} does not notice: {fault.name}"
        for fault in faults
        for test in tests[fault.name]
        if fault.puttings and test not in noticed[fault.name]
    ]


def _print(title: str, report: Report, *, verbose: bool) -> None:
    print(f"{report.verdict.value:7} {report.seconds:6.1f} s  {title}", flush=True)
    if verbose or report.verdict in {Verdict.STALE, Verdict.BROKEN, Verdict.HUNG}:
        print(report.text[-6000:], flush=True)
    for test in sorted(report.failed):
        print(f"{'':17}by {test}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
