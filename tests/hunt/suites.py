"""The suites that look for faults, each with the same examples each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import attrs

from property_tests.stream_sequences import Sequence as Commands
from property_tests.stream_servers import connect
from property_tests.test_stream_against_servers import compare
from tests.put_back.fault import Change
from tests.server_kinds import real_version
from tests.servers import run_server
from trio_bus._memory.dialects import dialect_of
from trio_bus.testing import SCENARIOS, simulate

from .examples import Examples
from .programs import KIND, backend, backend_on_server, bus, bus_on_server
from .publics import publics, publics_on_server

SEEDS = 50
"""Of each scenario."""
SEQUENCES = 60
COMMANDS = 1000
"""In each of them."""


@attrs.frozen
class Suite:
    """A suite, what one of its examples is, and where it can find anything."""

    name: str
    unit: str
    search: Callable[[Examples], None]
    """Raise what it finds."""
    sees: tuple[str, ...]
    """How the files begin that it runs."""


def simulation(examples: Examples) -> None:
    """Run the scenarios in turn, seed by seed."""
    for seed in range(SEEDS):
        for scenario in SCENARIOS.values():
            examples.begin(f"{scenario.name}:{seed}")
            simulate(scenario, seed)


def faithful(examples: Examples) -> None:
    """Compare the pure streams with a server."""
    dialect = dialect_of(real_version(KIND))
    with run_server(KIND) as url, connect(url) as wire:
        for seed in range(SEQUENCES):
            examples.begin()
            now_ms = int(time.time() * 1000)
            compare(wire, dialect, Commands(seed, now_ms).operations(COMMANDS), now_ms)


_RUNTIME = ("trio_bus/_subscription/", "trio_bus/_")
_SERVER = "trio_bus/_redis/"
_MEMORY = "trio_bus/_memory/"
_LOCAL = (_MEMORY, "trio_bus/_wake.py", "trio_bus/_gate.py")

SUITES = (
    Suite("streams", "sequences", faithful, (_MEMORY,)),
    Suite("backend on a server", "programs", backend_on_server, (_SERVER, _MEMORY)),
    Suite("simulation", "runs", simulation, _RUNTIME),
    Suite("bus", "programs", bus, _RUNTIME),
    Suite("backend", "programs", backend, _LOCAL),
    Suite("public suites", "tests", publics, _RUNTIME),
    Suite("public suites on a server", "tests", publics_on_server, (_SERVER,)),
    Suite("bus on a server", "programs", bus_on_server, (_SERVER,)),
)
"""In the order in which they are asked."""


def suites_for(changes: Sequence[Change]) -> Iterator[Suite]:
    """Give those that run what was changed."""
    for suite in SUITES:
        if any(_sees(suite, change.file) for change in changes):
            yield suite


def _sees(suite: Suite, file: str) -> bool:
    if file.startswith(_SERVER):
        return _SERVER in suite.sees
    return file.startswith(suite.sees)
