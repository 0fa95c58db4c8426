"""Putting one fault back, in a copy of the project, and seeing which tests notice."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from enum import Enum, unique
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import trio

from tests.unmeasured import unmeasured

from .fault import Change, Stale

COPIED = ("trio_bus", "tests", "property_tests", "docs", "conftest.py", "pyproject.toml")
TEXTS = ("README.md", "CHANGELOG.md", "LICENSE", "noxfile.py")

# How a source looks that does not work at all. It is no fault that somebody could make by mistake.
_NONSENSE = re.compile(
    r"^(?:E|\s*\|).*\b(?:(?:Import|ModuleNotFound|Syntax|Name|UnboundLocal|Attribute|Type)Error: "
    r"|Error compiling script|script_error|nonexistent global variable)",
    re.MULTILINE,
)


@unique
class Verdict(Enum):
    """What came of a trial."""

    CAUGHT = "caught"
    """At least one test failed, by what it asserts or by a bound of its own."""
    MISSED = "missed"
    """All tests passed."""
    STALE = "stale"
    """The source has changed: the fault cannot be put back in this way any more."""
    BROKEN = "broken"
    """The source with the fault does not work at all, or the tests could not run."""
    HUNG = "hung"
    """A test did not end, and has no bound that says so."""


@attrs.frozen
class Report:
    """What a trial has shown."""

    verdict: Verdict
    seconds: float
    failed: frozenset[str] = frozenset()
    """The ids of the tests that failed, without parameters."""
    text: str = ""


async def run_trial(
    root: Path, changes: Sequence[Change], tests: Sequence[str], timeout: float, select: str = ""
) -> Report:
    """Make the changes in a copy of the project at *root*; run the tests there.

    Args:
      root: The project; it stays as it is.
      changes: What to change.
      tests: The ids of the tests.
      timeout: Seconds that they may take together.
      select: Which of their variants to run: as ``pytest -k``.

    Cancellation: the tests are ended, and the copy is removed.
    """
    began = trio.current_time()
    with copied(root) as copy:
        try:
            for change in changes:
                change.make(copy)
        except Stale as stale:
            return Report(Verdict.STALE, 0.0, text=str(stale))
        output = "did not end"
        with trio.move_on_after(timeout) as patience:
            output = await _pytest(copy, (*tests, "-k", select))
        seconds = trio.current_time() - began
        if patience.cancelled_caught:
            return Report(Verdict.HUNG, seconds, text=f"no end within {timeout:g} s")
        return _judge(copy / "report.xml", output, seconds)


@contextmanager
def copied(root: Path) -> Generator[Path]:
    """Copy what tests need; to a short path, since the sockets of servers lie below it."""
    home = Path(tempfile.mkdtemp(prefix="pb-", dir="/tmp"))
    try:
        for name in COPIED + TEXTS:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, home / name, ignore=shutil.ignore_patterns("_build"))
            elif source.exists():
                shutil.copy2(source, home)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _pytest(copy: Path, arguments: Sequence[str]) -> str:
    """Run the tests of the copy on the package of the copy; return what was printed."""
    kept = {name: text for name, text in unmeasured().items() if "PYTEST" not in name}
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
        *("--junitxml=report.xml", "-o", "junit_family=xunit1", f"--basetemp={copy}/t", *arguments),
    ]
    done = await trio.run_process(
        command,
        cwd=copy,
        env={
            **kept,
            "PYTHONPATH": str(copy),
            "PYTHONPYCACHEPREFIX": str(copy / "bytecode"),
            "TMPDIR": str(copy),
        },
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def _judge(report: Path, output: str, seconds: float) -> Report:
    if not report.exists():
        return Report(Verdict.BROKEN, seconds, text=output)
    failed: set[str] = set()
    nonsense: set[str] = set()
    errors: set[str] = set()
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - our own pytest wrote it
    for case in cases:
        name = case.get("name", "").partition("[")[0]
        test = f"{case.get('file', '')}::{name}"
        for failure in case.findall("failure"):
            (nonsense if _NONSENSE.search(failure.text or "") else failed).add(test)
        errors.update(test for _ in case.findall("error"))
    if failed:
        return Report(Verdict.CAUGHT, seconds, frozenset(failed), output)
    broken = nonsense or errors or not cases
    return Report(Verdict.BROKEN if broken else Verdict.MISSED, seconds, text=output)
