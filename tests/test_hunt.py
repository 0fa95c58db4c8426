"""The hunter finds what is planted and nothing else, and its table is whole."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.hunt.__main__ import all_prey
from tests.hunt.apart import APART
from tests.hunt.examples import Examples
from tests.hunt.finding import LONGEST, Finding, finding
from tests.hunt.hunting import HuntFailed, Prey, ask, hunt
from tests.hunt.suites import SUITES, Suite, suites_for
from tests.hunt.table import Row, read_rows, write_rows
from tests.hunt.worker import search
from tests.put_back.fault import Change, Fault, put
from tests.put_back.trial import copied
from trio_bus import RemoteError
from trio_bus.testing import InvariantBroken

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parent.parent
PREY = all_prey(ROOT)
ROWS = read_rows(ROOT)
BY_NAME = {suite.name: suite for suite in SUITES}
QUICK = ("one permit too many", "from the start")


def test_the_table_has_a_row_for_each_fault_and_each_way_to_put_it() -> None:
    """After a change of the lists: ``python -m tests.hunt --missing``."""
    keys = [prey.key for prey in PREY]
    assert list(ROWS) == keys


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: f"{row.fault}-{row.how}")
def test_each_of_them_is_caught(row: Row) -> None:
    """By a suite, after some examples; by tests only where it is said why no suite can."""
    assert row.shown
    if row.caught_by == "tests":
        assert row.reason == APART[row.fault]
        assert not row.after
    else:
        number, _, unit = row.after.partition(" ")
        assert unit == BY_NAME[row.caught_by].unit
        assert int(number) >= 1
        assert not row.reason


def test_what_is_said_to_be_apart_is_caught_by_tests_alone() -> None:
    """A reason that is none any more goes."""
    by_tests = {row.fault for row in ROWS.values() if row.caught_by == "tests"}
    assert by_tests == set(APART)


def test_the_manual_shows_the_table() -> None:
    """And says which suites there are."""
    page = (ROOT / "docs" / "mutations.rst").read_text()
    assert ":file: mutations.csv" in page
    assert all(f"``{suite.name}``" in page for suite in SUITES)
    assert "\n   mutations\n" in (ROOT / "docs" / "index.rst").read_text()


@pytest.mark.bulk
async def test_a_fault_is_caught_by_the_simulator_as_the_table_says() -> None:
    """The same run of the same scenario, each time."""
    (prey,) = [prey for prey in PREY if prey.key == QUICK]
    row = await hunt(ROOT, prey)
    assert row == ROWS[QUICK]
    assert row.caught_by == "simulation"


@pytest.mark.bulk
async def test_a_copy_without_a_fault_is_caught_by_nothing() -> None:
    with copied(ROOT) as copy:
        found = await ask(copy, BY_NAME["public suites"])
    assert found == Finding(34)


@pytest.mark.bulk
async def test_a_source_that_does_not_work_is_not_caught() -> None:
    """Nor one in which a fault cannot be planted any more."""
    file = "trio_bus/_subscription/permits.py"
    broken = put("a name", file, "self._max_pending = max_pending_acks", "self._max_pending = nil")
    stale = put("a text", file, "no such text", "")
    for putting, words in ((broken, "name 'nil' is not defined"), (stale, "0 times")):
        prey = Prey(Fault("of a test", "Nothing works.", (putting,)), 0, ())
        with pytest.raises(HuntFailed, match=words):
            await hunt(ROOT, prey)


def _group(error: Exception) -> BaseException:
    return BaseExceptionGroup("of a nursery", [error])


@pytest.mark.parametrize(
    ("error", "words", "useless"),
    [
        (
            _group(InvariantBroken(3, "attempts", "too many")),
            "invariant 3, attempts: too many",
            False,
        ),
        (ValueError("one\ntwo"), "ValueError: one", False),
        (AssertionError(), "AssertionError", False),
        (_group(NameError("nil")), "NameError: nil", True),
        (
            RemoteError("ERR Error compiling script"),
            "RemoteError: ERR Error compiling script",
            True,
        ),
    ],
)
def test_what_was_found_is_told_in_a_line(
    error: BaseException, words: str, *, useless: bool
) -> None:
    assert finding(Examples(7, "calm:3"), error) == Finding(7, f"{words} (calm:3)", useless)


def test_a_long_line_is_cut() -> None:
    assert len(finding(Examples(1), ValueError("x" * 1000)).words) == LONGEST


def test_a_cause_tells_that_a_source_does_not_work() -> None:
    """A simulation that failed is raised from what failed."""
    failed = ValueError("it failed")
    failed.__cause__ = _group(AttributeError("no such thing"))
    assert finding(Examples(1), failed).useless


def test_an_example_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.hunt.examples.PATIENCE", 0.05)

    def hang(examples: Examples) -> None:
        examples.begin("here")
        time.sleep(60)

    found = search(Suite("of a test", "runs", hang, ()))
    assert found == Finding(1, "an example has no end here")


def test_suites_are_asked_that_run_what_was_changed() -> None:
    def asked(file: str) -> list[str]:
        return [suite.name for suite in suites_for([Change(file, "", "")])]

    on_memory = ["simulation", "bus", "public suites"]
    assert asked("trio_bus/_subscription/core.py") == on_memory
    assert asked("trio_bus/_policy.py") == on_memory
    of_memory = [*on_memory, "backend", "streams", "backend on a server"]
    assert sorted(asked("trio_bus/_memory/store.py")) == sorted(of_memory)
    assert asked("trio_bus/_redis/scripts/look.lua") == [
        *("backend on a server", "public suites on a server", "bus on a server")
    ]
    assert not asked("tests/server_kinds.py")


def test_rows_are_kept_in_the_order_of_the_faults(tmp_path: Path) -> None:
    """What is in no list any more is left out; what is not known yet is not there."""
    (tmp_path / "docs").mkdir()
    assert read_rows(tmp_path) == {}
    one, two, gone = (Row(name, "how", "bus", "3 programs", 'a, "b"', "") for name in "abc")
    write_rows(tmp_path, [gone, two, one], [one.key, two.key, ("d", "how")])
    assert list(read_rows(tmp_path).values()) == [one, two]
