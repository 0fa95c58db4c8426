"""Whole worlds in one process: programs on streams that fail, replayed from one number."""

from .faults import Trouble as Trouble
from .handling import Handling as Handling
from .run import Run as Run
from .run import SimulationFailed as SimulationFailed
from .run import simulate as simulate
from .scenario import Form as Form
from .scenario import Scenario as Scenario
from .scenarios import SCENARIOS as SCENARIOS
