"""The suite of whole subscriptions notices what is wrong in the runtime, and says what it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from hypothesis import Phase, seed, settings

from property_tests import broken_runtimes as runtimes
from property_tests.broken_runtimes import FAULTS, Fault
from trio_bus import MemoryBackend
from trio_bus.testing import InvariantBroken, bus_conformance

pytestmark = pytest.mark.bulk

# The same programs each time: what finds a fault today finds it tomorrow.
SETTINGS = settings(
    max_examples=500,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
SEEDS: dict[Fault, int] = {
    runtimes.acks_what_is_rejected: 5,
    runtimes.does_not_wait_for_its_handlers: 8,
    runtimes.buries_one_too_early: 7,
    runtimes.never_times_out: 6,
    runtimes.never_renews: 6,
    runtimes.counts_cancellation_as_failure: 7,
    runtimes.keeps_what_it_did_not_finish: 5,
}
"""Programs that find a fault sooner than those of which Hypothesis thinks first."""


@asynccontextmanager
async def open_memory() -> AsyncGenerator[MemoryBackend]:
    yield MemoryBackend()


@pytest.mark.parametrize(("fault", "names"), FAULTS, ids=lambda it: getattr(it, "__name__", ""))
def test_a_fault_is_noticed(fault: Fault, names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    case = bus_conformance(open_memory, virtual_time=True)
    case.settings = SETTINGS
    if fault in SEEDS:
        seed(SEEDS[fault])(case.machine)
    fault(monkeypatch)
    with pytest.raises(InvariantBroken) as caught:
        case("test_random_programs").debug()
    assert caught.value.name in names
