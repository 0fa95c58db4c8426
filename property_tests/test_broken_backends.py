"""The conformance suite notices every promise that is broken."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from hypothesis import Phase, settings

from property_tests.broken_backends import BROKEN, BrokenBackend
from trio_bus.abc import StreamBackend
from trio_bus.testing._backend_conformance import ContractBroken, backend_conformance

# The same programs each time: what finds a fault today finds it tomorrow.
SETTINGS = settings(
    max_examples=500,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
)


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_promise_is_noticed(kind: type[BrokenBackend]) -> None:
    @asynccontextmanager
    async def open_broken() -> AsyncGenerator[StreamBackend]:
        yield kind()

    case = backend_conformance(open_broken, virtual_time=True)
    case.settings = SETTINGS
    with pytest.raises(ContractBroken, match="breaks the contract"):
        case("runTest").debug()
