"""Random programs of the two conformance suites, counted, and the same ones each time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from hypothesis import Phase, settings
from hypothesis.control import current_build_context
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from property_tests.test_backend_conformance import operator
from tests.redis_world import options
from tests.servers import end_connections, run_server
from trio_bus import MemoryBackend, open_redis
from trio_bus.testing import backend_conformance, bus_conformance

from .examples import Examples

KIND = "valkey-9.1"
"""The server that the package brings along."""

Machine = type[RuleBasedStateMachine]


@asynccontextmanager
async def open_memory() -> AsyncGenerator[MemoryBackend]:
    """Open an empty backend."""
    yield MemoryBackend()


def bus(examples: Examples) -> None:
    """Run whole subscriptions on memory."""
    _run(bus_conformance(open_memory, virtual_time=True).machine, examples, 250, 30)


def backend(examples: Examples) -> None:
    """Run every operation of the contract on memory."""
    _run(backend_conformance(open_memory, virtual_time=True).machine, examples, 200, 50)


def bus_on_server(examples: Examples) -> None:
    """Run whole subscriptions on a server."""
    with run_server(KIND) as url:
        case = bus_conformance(
            partial(open_redis, url, options()), disconnect=lambda _: end_connections(url)
        )
        _run(case.machine, examples, 4, 20)


def backend_on_server(examples: Examples) -> None:
    """Run every operation of the contract on a server."""
    with run_server(KIND) as url:
        case = backend_conformance(partial(open_redis, url, options()), administrator=operator)
        _run(case.machine, examples, 90, 40)


def _run(machine: Machine, examples: Examples, programs: int, steps: int) -> None:
    class Counted(machine):  # type: ignore[misc, valid-type]  # it is a class
        def __init__(self) -> None:
            super().__init__()
            if not current_build_context().is_final:  # Hypothesis shows again what failed
                examples.begin()

    chosen = settings(
        max_examples=programs,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        print_blob=False,
    )
    run_state_machine_as_test(Counted, settings=chosen)
