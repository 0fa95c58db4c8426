"""The manual's pages about the suites say what the suites say."""

from __future__ import annotations

import re
from pathlib import Path

from tests.promise_table import table
from trio_bus.testing import SCENARIOS

DOCS = Path(__file__).parent.parent / "docs"


def test_the_promises_are_those_that_a_failure_quotes() -> None:
    """After a change: ``python -m tests.promise_table > docs/promises.inc``."""
    assert (DOCS / "promises.inc").read_text() == table()


def test_every_scenario_is_explained_in_its_own_words() -> None:
    page = (DOCS / "simulation.rst").read_text()
    told = dict(re.findall(r"^``(\w+)``\n   (.+)$", page, re.MULTILINE))
    assert told == {scenario.name: scenario.about for scenario in SCENARIOS.values()}
