"""What you test with, when what you test uses trio_bus."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._conditions import Direction, Exchange
from ._fault import Act, Fault
from ._fault_proxy import FaultProxy, open_fault_proxy
from ._invariants import InvariantBroken
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
    from ._bus_conformance import BusConformanceTest, bus_conformance

__all__ = [
    "SCENARIOS",
    "Act",
    "BusConformanceTest",
    "Direction",
    "Exchange",
    "Fault",
    "FaultProxy",
    "Form",
    "Handling",
    "InvariantBroken",
    "Run",
    "Scenario",
    "SimulationFailed",
    "Trouble",
    "bus_conformance",
    "open_fault_proxy",
    "simulate",
]

# Users find them here: see ``trio_bus/__init__.py``.
for _public in (Act, Direction, Exchange, Fault, FaultProxy, InvariantBroken, open_fault_proxy):
    _public.__module__ = __name__
for _simulated in (Form, Handling, Run, Scenario, SimulationFailed, Trouble, simulate):
    _simulated.__module__ = __name__

# These need Hypothesis: they are imported when somebody asks for them.
_LAZY = {
    "BusConformanceTest": "._bus_conformance",
    "bus_conformance": "._bus_conformance",
}


def __getattr__(name: str) -> object:
    """Import what needs the extra ``testing``, at its first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found: object = getattr(import_module(_LAZY[name], __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(f"{name} needs Hypothesis: pip install 'trio-bus[testing]'") from None
    globals()[name] = found
    return found
