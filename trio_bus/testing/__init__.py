"""What you test with, when what you test uses trio_bus.

What needs Hypothesis is loaded when it is asked for: without it everything else works.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._conditions import Direction, Exchange
from ._fault import Act, Fault
from ._fault_proxy import FaultProxy, open_fault_proxy
from ._faulty_backend import FaultyBackend
from ._invariants import InvariantBroken
from ._line import Line, What
from ._planned_failures import Done
from ._publish_and_wait import publish_and_wait
from ._recording_observer import RecordingObserver
from ._simulation import (
    SCENARIOS,
    Form,
    Handling,
    Run,
    Scenario,
    SimulationFailed,
    Trouble,
    simulate,
)

if TYPE_CHECKING:
    from ._backend_conformance import (
        Administrator,
        BackendConformanceTest,
        ContractBroken,
        backend_conformance,
    )
    from ._bus_conformance import BusConformanceTest, bus_conformance

__all__ = [
    "SCENARIOS",
    "Act",
    "Administrator",
    "BackendConformanceTest",
    "BusConformanceTest",
    "ContractBroken",
    "Direction",
    "Done",
    "Exchange",
    "Fault",
    "FaultProxy",
    "FaultyBackend",
    "Form",
    "Handling",
    "InvariantBroken",
    "Line",
    "RecordingObserver",
    "Run",
    "Scenario",
    "SimulationFailed",
    "Trouble",
    "What",
    "backend_conformance",
    "bus_conformance",
    "open_fault_proxy",
    "publish_and_wait",
    "simulate",
]

# Users find them here: see ``trio_bus/__init__.py``.
for _public in (
    *(Act, Direction, Done, Exchange, Fault, FaultProxy, FaultyBackend, InvariantBroken),
    *(Line, RecordingObserver, What, open_fault_proxy, publish_and_wait),
):
    _public.__module__ = __name__
for _simulated in (Form, Handling, Run, Scenario, SimulationFailed, Trouble, simulate):
    _simulated.__module__ = __name__

_NEED_HYPOTHESIS = {
    "Administrator": "_backend_conformance",
    "BackendConformanceTest": "_backend_conformance",
    "BusConformanceTest": "_bus_conformance",
    "ContractBroken": "_backend_conformance",
    "backend_conformance": "_backend_conformance",
    "bus_conformance": "_bus_conformance",
}
"""Where each name is that is loaded when it is asked for; see PEP 562."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _NEED_HYPOTHESIS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            module = import_module(f"{__name__}.{_NEED_HYPOTHESIS[name]}")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "hypothesis":
                raise
            raise ImportError(
                f"{__name__}.{name} needs hypothesis: install trio-bus[testing]", name=error.name
            ) from error
        found = globals()[name] = getattr(module, name)
        found.__module__ = __name__
        return found
