"""Thousands of whole worlds, each with a seed of its own: no invariant breaks in any of them.

``--hypothesis-profile=thorough`` runs many more; there ``TRIO_BUS_FIRST_SEED`` says with which seed
they begin, so that each night can have seeds of its own.
"""

from __future__ import annotations

import os
from math import ceil

import pytest
from _pytest.mark import ParameterSet

from tests.profiles import times
from trio_bus.testing import SCENARIOS, simulate

TIMES = times()
FIRST_SEED = int(os.environ.get("TRIO_BUS_FIRST_SEED", "0")) if TIMES > 1 else 0
TOTAL = 5_050
FEWER = {
    **dict.fromkeys(("batched", "crowded", "expiring_ordered"), 150),
    **dict.fromkeys(("transacted", "ailing", "stranded", "breathless"), 80),
    **dict.fromkeys(("restless", "prompt", "outage", "redriven", "fanned"), 40),
    **dict.fromkeys(("hurried", "poisoned"), 40),
    **dict.fromkeys(("paused", "ordered_paused", "ordered"), 30),
    **dict.fromkeys(("ordered_troubled", "trimmed", "busy", "forgetful", "expiring"), 20),
}
"""How many of those that take longer than the others, which share the rest."""
_SHARE = ceil((TOTAL - sum(FEWER.values())) / (len(SCENARIOS) - len(FEWER)))
SEEDS = dict.fromkeys(SCENARIOS, _SHARE) | FEWER
"""How many of each scenario."""
PART = 60
"""So many in one test at most, so that several processes can share the work."""
MEASURED = 5
"""So many of each scenario are run where it is measured what they reach: that takes longer."""


def marked(name: str, seeds: range) -> ParameterSet:
    """Return one test; what the first of each scenario reach is measured."""
    bulk = () if seeds.start == FIRST_SEED else (pytest.mark.bulk,)
    return pytest.param(name, seeds, marks=bulk, id=f"{name}-{seeds.start}-{seeds.stop}")


def parts() -> list[tuple[str, range]]:
    """Return all there is to do, the longest first."""
    found: list[tuple[str, range]] = []
    for name, count in reversed(SEEDS.items()):
        end = FIRST_SEED + TIMES * count
        found.append((name, range(FIRST_SEED, FIRST_SEED + MEASURED)))
        starts = range(FIRST_SEED + MEASURED, end, PART)
        found += [(name, range(start, min(start + PART, end))) for start in starts]
    return found


@pytest.mark.parametrize(("name", "seeds"), [marked(*part) for part in parts()])
def test_no_seed_breaks_an_invariant(name: str, seeds: range) -> None:
    """The story of one that does is the text of the error."""
    for seed in seeds:
        simulate(SCENARIOS[name], seed)


def test_there_are_thousands_of_them() -> None:
    assert sum(len(seeds) for _, seeds in parts()) >= 5000
    assert {name for name, _ in parts()} == set(SCENARIOS)
