"""The simulator: one number repeats a run, here and elsewhere, and it finds what is planted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import cast

from trio_bus.testing import SCENARIOS, Scenario, simulate

ORDERS_ONLY = Scenario(name="orders-only", messages=(3, 3), consumers=(2, 2), max_in_flight=(1,))

PRINT_DIGESTS = """
import json
from trio_bus.testing import SCENARIOS, simulate
print(json.dumps({name: simulate(it, 7).digest for name, it in SCENARIOS.items()}))
"""


def digests(hash_seed: str) -> dict[str, str]:
    """Run a seed of every scenario in another process; return the digests."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRINT_DIGESTS],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return cast("dict[str, str]", json.loads(ran.stdout))


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """Whatever order hashes give to sets, and wherever objects lie in memory."""
    here = {name: simulate(it, 7).digest for name, it in SCENARIOS.items()}
    assert digests("0") == digests("77") == here
    assert len(set(here.values())) == len(SCENARIOS)


def test_seeds_differ_in_their_schedules() -> None:
    """One world, of which nothing but the schedule differs: its tasks run in many orders."""
