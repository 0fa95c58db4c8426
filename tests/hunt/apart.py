"""Faults that no suite of random examples can see, and why."""

from __future__ import annotations

APART: dict[str, str] = {
    "a claim forgets what it brought": "nobody holds what a claim buries: no line has to follow",
    "a connection does not come back": "the suites speak to a server that stays: see the cuts",
    "a count is off by one on a server": "what a dead letter says is read by no suite of a server",
    "a dead letter is lost": "no suite has a dead-letter topic that refuses what it is given",
    "a delay is a sleep": "no rule says how long a call may take",
    "a limit that nobody sees": "a record of megabytes would take all the time of a suite",
    "a permit leaks": "one that is left is enough for all that the rules promise",
    "a release is not held up": "how often it may come back is promised by no rule",
    "a schedule loses its order on a server": "no suite asks how things that are due at once come",
    "a shield lacks": "what is handed back late is handed back within what is promised",
    "a suspect has company": "who was with it is told by no line of a suspect that was settled",
    "a wake-up is put off": "the next tick finds it, and that is all that the rules promise",
    "a wake-up is lost": "the next tick finds it, and that is all that the rules promise",
    "an option does nothing": "what it changes is when something happens, within what is promised",
    "no test meets a real server": "it is a fault of the tests",
    "results of a batch are swapped": "on a server a batch whose entries fare differently is rare",
    "results of a batch are swapped on a server": "a renewal of several, one of them gone, is rare",
    "the next look comes too late": "the next tick finds it, and that is all there is",
    "the next look comes too late on a server": "the next tick finds it, and that is all there is",
    "the flusher waits when idle": "it is late, within what is promised",
    "zeros become defaults": "it is late, within what is promised, or not in the values drawn",
}
"""By the name of the fault."""
