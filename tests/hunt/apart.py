"""Faults that no suite of random examples can see, and why."""

from __future__ import annotations

APART: dict[str, str] = {
    "a connection does not come back": "the suites speak to a server that stays: see the cuts",
    "a delay is a sleep": "no rule says how long a call may take",
    "a deleted entry ends its handler": "handlers may end as cancelled when entries are deleted",
    "a drain starts handlers": "what has begun before the end may go on: the moment is too short",
    "a lease is counted from the answer": "it takes renewals that fail until a lease is over",
    "a lost lease goes unnoticed": "a handler may resist: no rule says when it ends",
    "a release is not held up": "how often it may come back is promised by no rule",
    "a wake-up is put off": "the next tick finds it, and that is all that the rules promise",
    "a wake-up is lost": "the next tick finds it, and that is all that the rules promise",
    "an option does nothing": "what it changes is when something happens, within what is promised",
    "no test meets a real server": "it is a fault of the tests",
    "the end of a lease is overlooked": "it takes renewals that fail until a lease is over",
    "the flusher waits when idle": "it is late, within what is promised",
    "what waits to be settled is not renewed": "its answer says the same when the lease was lost",
    "zeros become defaults": "it is late, within what is promised, or not in the values drawn",
}
"""By the name of the fault."""
