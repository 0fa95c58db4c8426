"""The list of faults that can be put back is whole, and is what tests and manual say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.hunt.apart import APART
from tests.put_back.ancestor import ANCESTOR
from tests.put_back.fault import Change, Fault, Stale
from tests.put_back.guards import guards
from tests.put_back.lists import FAULTS
from tests.put_back.own import OWN
from tests.put_back.page import page
from tests.put_back.trial import Verdict, run_trial

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parent.parent
GUARDS = guards(ROOT)
SOURCE = "def half(number: int) -> int:\n    return number // 2\n"
PLUGIN = ("trio_bus/testing/__init__.py", "trio_bus/testing/plugin.py")
TESTS = """
import pytest
from trio_bus import half

def test_four():
    assert half(4) == 2

@pytest.mark.parametrize("number", [1, 7])
def test_odd(number):
    assert half(number) * 2 == number - 1
"""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_put_back_and_has_a_guard(fault: Fault) -> None:
    """Or it is said why not."""
    assert bool(fault.puttings) is not bool(fault.unreached)
    assert bool(fault.puttings) is bool(GUARDS.get(fault.name))


def test_those_of_our_own_are_left_to_the_suites() -> None:
    """`tests.hunt` says which one finds them; a test guards only where it is said why none can."""
    assert len(OWN) >= 20
    assert all(fault.puttings and not fault.unreached for fault in OWN)
    assert {fault.name for fault in OWN} & set(GUARDS) <= set(APART)


@pytest.mark.parametrize("fault", [*FAULTS, *OWN], ids=lambda fault: fault.name)
def test_the_source_is_what_a_fault_was_written_for(fault: Fault) -> None:
    """Each text that is changed stands there once, and the ways to put it have names."""
    assert len({putting.how for putting in fault.puttings}) == len(fault.puttings)
    for putting in fault.puttings:
        for change in putting.changes:
            change.check(ROOT)
            assert change.old != change.new


@pytest.mark.parametrize("fault", [*FAULTS, *OWN], ids=lambda fault: fault.name)
def test_a_source_with_a_fault_can_be_read(fault: Fault) -> None:
    """It is a mistake somebody could make, and not one that a compiler finds."""
    for putting in fault.puttings:
        sources: dict[str, str] = {}
        for change in putting.changes:
            before = sources.get(change.file) or (ROOT / change.file).read_text()
            sources[change.file] = before.replace(change.old, change.new)
        for file, source in sources.items():
            if file.endswith(".py"):
                ast.parse(source)


def test_what_tests_say_they_guard_is_a_fault() -> None:
    """Names are unique, and nobody guards what is in no list."""
    names = [fault.name for fault in (*FAULTS, *OWN)]
    assert len(set(names)) == len(names)
    assert set(GUARDS) <= set(names)


def test_all_of_the_ancestor_is_listed() -> None:
    """As many as the design names."""
    assert len(ANCESTOR) == 30
    assert [fault.name for fault in ANCESTOR if fault.unreached] == ["order is lost on retry"]


def test_the_manual_says_what_guards() -> None:
    """After a change: ``python -m tests.put_back --page > docs/faults.rst``."""
    assert (ROOT / "docs" / "faults.rst").read_text() == page(GUARDS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a project with a package, the plugin that pytest knows of, and its tests."""
    files = {"trio_bus/__init__.py": SOURCE, "tests/test_half.py": TESTS}
    for name, text in (files | dict.fromkeys(PLUGIN, "")).items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.bulk
@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("number // 2", "number // 2 + 0", Verdict.MISSED),
        ("number // 2", "(number + 1) // 2", Verdict.CAUGHT),
        ("number // 2", "numer // 2", Verdict.BROKEN),
        ("number // 2", "number /", Verdict.BROKEN),
        ("number // 2", "__import__('time').sleep(1000)", Verdict.HUNG),
        ("number // 3", "number", Verdict.STALE),
        ("number", "count", Verdict.STALE),
    ],
)
async def test_a_trial_tells_what_the_tests_notice(
    project: Path, old: str, new: str, verdict: Verdict
) -> None:
    """Only a test that fails by itself has noticed anything; the project stays as it is."""
    change = Change("trio_bus/__init__.py", old, new)
    timeout = 3.0 if verdict is Verdict.HUNG else 100.0
    report = await run_trial(project, [change], ["tests/test_half.py"], timeout)
    assert report.verdict is verdict, report.text
    failed = {"tests/test_half.py::test_odd"} if verdict is Verdict.CAUGHT else set[str]()
    assert report.failed == failed
    assert (project / "trio_bus" / "__init__.py").read_text() == SOURCE


def test_a_change_is_made_where_it_belongs(tmp_path: Path) -> None:
    """And not at all in a file that is gone."""
    (tmp_path / "one").write_text("a b c")
    Change("one", " b ", "-").make(tmp_path)
    assert (tmp_path / "one").read_text() == "a-c"
    with pytest.raises(Stale, match="two has this 0 times: 'b'"):
        Change("two", "b", "c").check(tmp_path)
