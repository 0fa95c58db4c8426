"""What can go wrong in a simulated world, each as a value that can be shown."""

from __future__ import annotations

from enum import Enum, unique

import attrs


@unique
class Trouble(Enum):
    """A kind of fault that a `Scenario` may ask for."""

    SLOW = "slow"
    """An operation takes long: on its way to the server, or on its way back."""
    LOST = "lost"
    """The connection is lost before the server did it, or after: then the reply is lost."""
    HALF = "half"
    """Of several records or settlements the server does some, and the connection is lost."""
    STRANDED = "stranded"
    """An operation is sent, its process stands still, and the connection is lost: nobody did it."""
    REFUSED = "refused"
    """The server has no memory left: it refuses what writes."""
    DEAF = "deaf"
    """Wake-ups are lost for a while."""
    KILLED = "killed"
    """A process dies, between any two steps of any task."""
    PAUSED = "paused"
    """A process hears nothing from the server, and its handlers stand still, for a while."""
    SUSPENDED = "suspended"
    """All processes stand still, and the server goes on."""
    RESTARTED = "restarted"
    """The server is restarted: all connections are lost, and none is accepted for a while."""
    CLOCK = "clock"
    """The clock of the server is set, forward or back."""
    DELETED = "deleted"
    """An administrator deletes an entry."""
    TRIMMED = "trimmed"
    """An administrator trims the stream."""
    UNGROUPED = "ungrouped"
    """An administrator destroys a group."""
    UNSTREAMED = "unstreamed"
    """An administrator deletes the stream."""


LOSES_ENTRIES = frozenset({Trouble.DELETED, Trouble.TRIMMED, Trouble.UNGROUPED, Trouble.UNSTREAMED})
"""Declared faults: what they take is not lost by the bus."""


@attrs.frozen(kw_only=True)
class Fault:
    """One fault: what happens, when, and to whom. What does not belong to its kind is empty."""

    when: float
    """Seconds since the beginning."""
    trouble: Trouble
    process: str = ""
    """The place of the process; empty for the server."""
    operation: str = ""
    """Of the backend: the next one of this kind is hit. Empty: any."""
    seconds: float = 0.0
    after: bool = False
    """Whether the server has done it when it is hit."""
    number: int = 0
    """How many operations, or steps of tasks, or which entry."""

    @property
    def on_the_wire(self) -> str:
        """Say what an operation will meet."""
        when = "after" if self.after else "before"
        times = f", {self.number} times" if self.number > 1 else ""
        slow = f" by {self.seconds:g} s" if self.trouble is Trouble.SLOW else ""
        return f"{self.operation} {self.trouble.value}{slow} {when} the server did it{times}"

    def __str__(self) -> str:
        parts = [f"{self.when:.3f} s: {self.trouble.value}", self.process, self.operation]
        if self.operation:
            parts.append("after" if self.after else "before")
        parts += [f"{self.seconds:g} s"] if self.seconds else []
        parts += [f"#{self.number}"] if self.number else []
        return " ".join(part for part in parts if part)
