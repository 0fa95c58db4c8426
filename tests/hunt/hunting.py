"""Hunting one fault: it is put into a copy of the project, and every suite looks for it there."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import msgspec
import trio

from tests.put_back.fault import Change, Fault, Stale
from tests.put_back.trial import Verdict, copied, run_trial
from tests.unmeasured import unmeasured

from .apart import APART
from .finding import Finding
from .suites import Suite, suites_for
from .table import Row

LIMIT = 600.0
"""Seconds for one suite, in which every example has a bound of its own."""
TESTS_LIMIT = 180.0
"""Seconds for the tests that guard against a fault."""
TESTS = "tests"
"""What caught a fault that no suite can see."""
UNKNOWN = "?"
"""Stands where nobody has said why no suite can see it."""


class HuntFailed(Exception):
    """A fault cannot be put back any more, or what has it does not work at all."""


@attrs.frozen
class Prey:
    """One fault, put in one way, and the tests that guard against it."""

    fault: Fault
    number: int
    guards: tuple[str, ...]

    @property
    def how(self) -> str:
        """Say how it is put."""
        return self.fault.puttings[self.number].how

    @property
    def key(self) -> tuple[str, str]:
        """Tell it from the others."""
        return self.fault.name, self.how

    @property
    def changes(self) -> tuple[Change, ...]:
        """What puts it."""
        return self.fault.puttings[self.number].changes


async def hunt(root: Path, prey: Prey) -> Row:
    """Say which suite catches it first, in a copy of the project at *root*.

    Raises:
      HuntFailed: it is no fault any more.
    """
    with copied(root) as copy:
        try:
            for change in prey.changes:
                change.make(copy)
        except Stale as stale:
            raise HuntFailed(str(stale)) from stale
        for suite in suites_for(prey.changes):
            found = await ask(copy, suite)
            if found.words:
                after = f"{found.examples} {suite.unit}"
                return Row(*prey.key, suite.name, after, found.words, "")
    return await ask_tests(root, prey)


def reason_of(fault: str, caught_by: str) -> str:
    """Say why no suite can see it, of a fault that only tests caught."""
    return APART.get(fault, UNKNOWN) if caught_by == TESTS else ""


async def ask(copy: Path, suite: Suite) -> Finding:
    """Run one suite in that copy.

    Raises:
      HuntFailed: the source there does not work at all.
    """
    output = f"{suite.name} did not end within {LIMIT:g} s"
    with trio.move_on_after(LIMIT):
        output = await _run(copy, suite.name)
    try:
        found = msgspec.json.decode(output.splitlines()[-1], type=Finding)
    except (IndexError, msgspec.DecodeError):
        raise HuntFailed(output[-4000:]) from None
    if found.useless:
        raise HuntFailed(f"{suite.name}: {found.words}")
    return found


async def _run(copy: Path, name: str) -> str:
    done = await trio.run_process(
        [sys.executable, "-m", "tests.hunt.worker", name],
        cwd=copy,
        env={
            **unmeasured(),
            "PYTHONPATH": str(copy),
            "PYTHONPYCACHEPREFIX": str(copy / "bytecode"),
            "TMPDIR": str(copy),
            "PYTHONHASHSEED": "0",
        },
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    shown = done.stdout if done.returncode == 0 else done.stderr
    return shown.decode(errors="replace")


async def ask_tests(root: Path, prey: Prey) -> Row:
    """Let the tests say that it is there, where no suite can.

    Raises:
      HuntFailed: it is no fault any more.
    """
    reason = reason_of(prey.fault.name, TESTS)
    if not prey.guards:
        return Row(*prey.key, "", "", "nothing", reason)
    report = await run_trial(root, prey.changes, prey.guards, TESTS_LIMIT, prey.fault.select)
    if report.verdict not in {Verdict.CAUGHT, Verdict.MISSED}:
        raise HuntFailed(f"{report.verdict.value}: {report.text[-4000:]}")
    failed = ", ".join(sorted(test.rpartition("::")[2] for test in report.failed))
    caught_by = TESTS if failed else ""
    return Row(*prey.key, caught_by, "", failed or "nothing", reason)
