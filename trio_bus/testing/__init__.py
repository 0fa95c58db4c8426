"""What you test with, when what you test uses trio_bus."""

from __future__ import annotations

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

__all__ = [
    "SCENARIOS",
    "Act",
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
    "open_fault_proxy",
    "simulate",
]

# Users find them here: see ``trio_bus/__init__.py``.
for _public in (Act, Direction, Exchange, Fault, FaultProxy, InvariantBroken, open_fault_proxy):
    _public.__module__ = __name__
for _simulated in (Form, Handling, Run, Scenario, SimulationFailed, Trouble, simulate):
    _simulated.__module__ = __name__
