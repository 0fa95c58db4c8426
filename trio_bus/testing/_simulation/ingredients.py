"""What scenarios are made of."""

from __future__ import annotations

from .faults import Trouble
from .handling import Handling
from .scenario import Form

OF_OPERATIONS = (Trouble.SLOW, Trouble.LOST, Trouble.LOST, Trouble.HALF, Trouble.REFUSED)
OF_PROCESSES = (Trouble.KILLED, Trouble.PAUSED, Trouble.DEAF, Trouble.SUSPENDED)
OF_ORDER = (
    *("lead", "lead", "survey", "draw", "draw", "draw", "start", "start", "start", "grown"),
    *("settle", "settle", "renew", "look", "create_group", "forget", "recover"),
)
OF_SERVERS = (Trouble.RESTARTED, Trouble.CLOCK)
OF_ADMINISTRATORS = (Trouble.DELETED, Trouble.TRIMMED, Trouble.UNGROUPED, Trouble.UNSTREAMED)

FORMS = tuple(Form)[:9]
ANY = tuple(Handling)[:18]
RESISTING = (
    *(Handling.LATE, Handling.STUBBORN, Handling.STUBBORN, Handling.STUBBORN),
    *(Handling.HANG, Handling.SWALLOW, Handling.MESSY),
)

SENDING_BACK = (
    *(Handling.SUCCEED, Handling.FAIL, Handling.REJECT, Handling.RETRY),
    *(Handling.RETRY_LATER, Handling.RETRY_AT_ONCE, Handling.RELEASE, Handling.RELEASE),
    Handling.RELEASE_LATER,
)
