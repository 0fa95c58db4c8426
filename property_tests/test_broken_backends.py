"""The conformance suite notices every promise that is broken, and says which."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import Phase, seed, settings

from property_tests.broken_backends import BROKEN, BrokenBackend
from trio_bus.abc import StreamBackend
from trio_bus.testing import ContractBroken, backend_conformance

pytestmark = pytest.mark.bulk

# The same programs each time: what finds a fault today finds it tomorrow.
SETTINGS = settings(
    max_examples=600,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
)
SEEDS = {
    "ForgottenKeys": 2,
    "SociableSuspects": 6,
    "MisnamedRenewals": 5,
    "CountedRelease": 5,
    "LeakyTakeOver": 4,
    "DoubleBooking": 5,
}
"""Programs that find a fault sooner than those of which Hypothesis thinks first."""


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_promise_is_noticed(
    kind: type[BrokenBackend], record_property: Callable[[str, object], None]
) -> None:
    """Few programs are needed, and the message quotes the promise."""
    programs = 0

    @asynccontextmanager
    async def open_broken() -> AsyncGenerator[StreamBackend]:
        nonlocal programs
        programs += 1
        yield kind()

    case = backend_conformance(open_broken, virtual_time=True)
    case.settings = SETTINGS
    if kind.__name__ in SEEDS:
        seed(SEEDS[kind.__name__])(case.machine)
    with pytest.raises(ContractBroken, match="breaks the contract") as caught:
        case("runTest").debug()
    quoted = [line.strip() for line in str(caught.value).splitlines()]
    assert any(line.startswith(BROKEN[kind]) for line in quoted), str(caught.value)
    record_property("measured", f"{kind.__name__} is noticed by program {programs}")
