"""The manual's table of public suites names what exists, and all of it."""

from __future__ import annotations

import re
from pathlib import Path

from trio_bus import testing
from trio_bus.testing._invariants import RULES
from trio_bus.testing._public_suites import PUBLIC_SUITES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "public-suites.rst").read_text()
WORDS = {"expires_at", "Exception", "publish_and_wait"}
"""What else cells name: a field, a class of Python, a function of the kit."""


def _cells() -> list[str]:
    rows = re.findall(r"^   \* - (.+)\n     - (.+)$", PAGE, re.MULTILINE)
    return [here for there, here in rows if there != "There"]


def _named() -> set[str]:
    return {name for cell in _cells() for name in re.findall(r"``([^`]+)``", cell)}


def _defined() -> set[str]:
    places = [ROOT / "tests", ROOT / "property_tests", ROOT / "trio_bus" / "testing"]
    text = "".join(file.read_text() for place in places for file in place.rglob("*.py"))
    return set(re.findall(r"def (test_\w+)", text))


def test_what_the_cells_name_exists() -> None:
    suites = {f"{suite}.{test.__name__}" for suite, its in PUBLIC_SUITES.items() for test in its}
    rules = {rule.__name__ for rule in RULES}
    assert _named() <= suites | rules | _defined() | WORDS
    assert hasattr(testing, "publish_and_wait")


def test_each_test_of_a_suite_has_a_row() -> None:
    suites = {f"{suite}.{test.__name__}" for suite, its in PUBLIC_SUITES.items() for test in its}
    assert suites <= _named()


def test_each_row_says_by_what_or_why_not() -> None:
    reasons = ("Not here: ", "joins with the feature", "join with the feature")
    for cell in _cells():
        assert "``" in cell or any(reason in cell for reason in reasons), cell
