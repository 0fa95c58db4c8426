"""Faults that no suite of random examples can see, and why."""

from __future__ import annotations

APART: dict[str, str] = {
    "a claim forgets what it brought": "nobody holds what a claim buries: no line has to follow",
    "a delay is a sleep": "no rule says how long a call may take",
    "a deleted entry ends its handler": "handlers may end as cancelled when entries are deleted",
    "a drain starts handlers": "what has begun before the end may go on: the moment is too short",
    "a lease is counted from the answer": "it takes renewals that fail until a lease is over",
    "a lost lease goes unnoticed": "a handler may resist: no rule says when it ends",
    "a permit leaks": "one that is left is enough for all that the rules promise",
    "a release is not held up": "how often it may come back is promised by no rule",
    "a shield lacks": "what is handed back late is handed back within what is promised",
    "a suspect has company": "who was with it is told by no line of a suspect that was settled",
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
