"""Faults that no suite of random examples can see, and why."""

from __future__ import annotations

APART: dict[str, str] = {
    "a delay is a sleep": "no rule says how long a call may take",
    "a release is not held up": "how often it may come back is promised by no rule",
    "a wake-up is put off": "the next tick finds it, and that is all that the rules promise",
    "a wake-up is lost": "the next tick finds it, and that is all that the rules promise",
    "an option does nothing": "what it changes is when something happens, within what is promised",
    "no test meets a real server": "it is a fault of the tests",
    "the flusher waits when idle": "it is late, within what is promised",
    "zeros become defaults": "it is late, within what is promised, or not in the values drawn",
}
"""By the name of the fault."""
