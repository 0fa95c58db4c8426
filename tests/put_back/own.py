"""Faults of our own, planted so that the suites prove that they would find them."""

from __future__ import annotations

from .own_batches import BATCHES
from .own_expiry import EXPIRY
from .own_fan_out import FAN_OUT
from .own_flow import FLOW
from .own_leasing import LEASING
from .own_memory import MEMORY
from .own_order import ORDER
from .own_redriving import REDRIVING
from .own_retention import RETENTION
from .own_runtime import RUNTIME
from .own_servers import SERVERS
from .own_transactions import TRANSACTIONS

OWN = (
    *(*RUNTIME, *LEASING, *MEMORY, *SERVERS, *TRANSACTIONS, *FLOW, *BATCHES, *REDRIVING),
    *(*FAN_OUT, *RETENTION, *ORDER, *EXPIRY),
)
"""No test says that it guards against one of them: a suite has to find each by itself."""
