"""The simulator finds what is wrong in the library, in few seeds, and says which promise broke."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from property_tests import broken_parts as parts
from property_tests import broken_runtimes as runtimes
from trio_bus.testing import (
    SCENARIOS,
    Form,
    Handling,
    Scenario,
    SimulationFailed,
    Trouble,
    simulate,
)

pytestmark = pytest.mark.bulk

CROWD = Scenario(
    name="crowd",
    messages=(8, 8),
    forms=(Form.BATCH,),
    max_in_flight=(16,),
    handlings=(Handling.SUCCEED, Handling.REJECT, Handling.FAIL),
    longest=0.05,
    latencies=(0.02,),
    troubles=(Trouble.DELETED, Trouble.TRIMMED, Trouble.SLOW),
    faults=(4, 8),
    seconds=0.3,
)
"""Many settlements are on their way together, and not all of them are answered the same."""


@attrs.frozen
class Planted:
    """A fault, where it is looked for, and what is found."""

    fault: Callable[[pytest.MonkeyPatch], None]
    scenario: Scenario
    seeds: int
    """So many are enough."""
    names: frozenset[str]
    """One of these invariants breaks."""


def planted(
    fault: Callable[[pytest.MonkeyPatch], None], scenario: str | Scenario, seeds: int, *names: str
) -> Planted:
    found = SCENARIOS[scenario] if isinstance(scenario, str) else scenario
    return Planted(fault, found, seeds, frozenset(names))


PLANTED = (
    planted(runtimes.acks_before_it_handles, "deadly", 5, "decisions"),
    planted(runtimes.takes_one_too_many, "scheduled", 5, "bounds"),
    planted(runtimes.keeps_what_it_did_not_finish, "restless", 50, "lives"),
    planted(runtimes.never_renews, "calm", 50, "leases", "tenure"),
    planted(runtimes.buries_one_too_early, "lossy", 20, "deaths"),
    planted(runtimes.counts_cancellation_as_failure, "restless", 20, "cancellations"),
    planted(runtimes.does_not_wait_for_its_handlers, "restless", 50, "decisions"),
    planted(runtimes.acks_what_is_rejected, "lossy", 20, "decisions"),
    planted(runtimes.never_times_out, "busy", 5, "handler timeout"),
    planted(runtimes.leaves_a_task, "calm", 1, "leaks"),
    planted(parts.loses_a_wake_up, "lossy", 100, "hand-over", "progress"),
    planted(parts.counts_from_one_after_a_take_over, "deadly", 5, "attempts"),
    planted(parts.swaps_the_results_of_a_batch, CROWD, 50, "decisions"),
    planted(parts.retries_twice_as_often, "calm", 5, "deaths"),
    planted(parts.believes_the_second_answer, "lossy", 20, "decisions"),
    planted(parts.never_settles_again, "lossy", 100, "in flight", "progress"),
)


def search(scenario: Scenario, seeds: int) -> SimulationFailed:
    """Return the first failure of so many seeds.

    Raises:
      AssertionError: there is none.
    """
    for seed in range(seeds):
        try:
            simulate(scenario, seed)
        except SimulationFailed as failed:
            return failed
    raise AssertionError(f"no seed of {seeds} finds it")


@pytest.mark.parametrize("row", PLANTED, ids=lambda row: row.fault.__name__)
def test_a_planted_fault_is_found(row: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    row.fault(monkeypatch)
    failed = search(row.scenario, row.seeds)
    assert failed.invariant is not None
    assert failed.invariant.name in row.names
    assert f"broken: invariant {failed.invariant.number}, {failed.invariant.name}" in str(failed)
    assert f"replay: {failed.run.replay}" in str(failed)


def test_nothing_is_found_where_nothing_is_planted() -> None:
    with pytest.raises(AssertionError, match="no seed of 20 finds it"):
        search(CROWD, 20)
