"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
README = (TESTS.parent / "README.md").read_text()
ROWS = re.findall(r"^\| (.+\?) \| (.+) \| `(test_\w+)` \|$", README, re.MULTILINE)


def test_the_first_code_stands_within_25_lines_and_runs() -> None:
    """A newcomer sees it on the first screen, and it does what it says."""
    before, block, *_ = re.split(r"```(?:python)?\n", README)
    assert before.count("\n") + 2 <= 25
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == 'charging for {"id": 7}\n1 handled\n'


def test_every_row_of_the_table_is_found() -> None:
    """No row has another form, which the next test would not see."""
    table = README.split("## What happens when ...?")[1].split("##")[0]
    assert len(ROWS) == len([line for line in table.splitlines() if line.startswith("|")]) - 2
    assert len(ROWS) >= 10


@pytest.mark.parametrize("name", [name for _, _, name in ROWS])
def test_a_row_of_the_table_is_shown_by_one_test(name: str) -> None:
    """The test that it names exists, once, and is not skipped."""
    sources = [path.read_text() for path in TESTS.glob("test_*.py")]
    found = [
        source for source in sources if re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)
    ]
    assert len(found) == 1
    assert not re.search(rf"pytest\.mark\.(skip|xfail).*\n(@.*\n)*(async )?def {name}\(", found[0])
