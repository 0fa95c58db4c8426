"""All invariants at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from trio_bus.testing._line import Line
from trio_bus.testing._places import Places

from .alone import Alone
from .answers import Answers
from .attempts import Attempts
from .batches import Batches
from .bookings import Bookings
from .bounds import Bounds
from .cancellations import Cancellations
from .closing import Closing
from .contents import Contents
from .deaths import Deaths
from .decisions import Decisions
from .delays import Delays
from .effects import Effects
from .ends import Ends
from .errors import Errors
from .expiry import Expiry
from .fan_out import FanOut
from .findings import Findings
from .hand_over import HandOver
from .in_flight import InFlight
from .inheritance import Inheritance
from .leaks import Leaks
from .leases import Leases
from .lives import Lives
from .neighbours import Neighbours
from .one_place import OnePlace
from .order import Order
from .outages import Outages
from .own_groups import OwnGroups
from .pauses import Pauses
from .progress import Progress
from .promptness import Promptness
from .rate import Rate
from .readable import Readable
from .redrives import Redrives
from .reserved import Reserved
from .retained import Retained
from .rule import Hear, Rule, Subject
from .scene import Scene
from .settings import Settings
from .settled_once import SettledOnce
from .sizes import Sizes
from .tenure import Tenure
from .together import Together

RULES: tuple[type[Rule], ...] = (
    *(Lives, Decisions, Findings, Delays, Answers, Promptness, Settings, Contents, Effects),
    *(OnePlace, SettledOnce, Attempts, Deaths, Readable, OwnGroups),
    *(Bounds, Leases, Tenure, InFlight, Order, Neighbours, Alone, Cancellations, HandOver),
    *(Bookings, Closing, Ends, Leaks, Inheritance, Progress, Batches, Reserved, Errors, Rate),
    *(Pauses, Sizes, Outages, Together, Redrives, FanOut, Retained, Expiry),
)
"""All of them, by their numbers."""

R = TypeVar("R", bound=Rule)


class Judge:
    """Hears a journal line by line, looks at the streams, and raises where an invariant breaks.

    Let it listen to a `Journal`: ``journal.listen(judge.hear)``. It needs constant time for each
    line, and time in proportion to the entries for each look. All of its methods raise
    `InvariantBroken`.

    Args:
      rules: Which invariants; all by default.
      punctual: Whether time is virtual, so that nobody is late for being slow.
      latency: Seconds that a way to the server, or back, takes at most.
    """

    def __init__(
        self,
        rules: Iterable[type[Rule]] = RULES,
        *,
        punctual: bool = True,
        latency: float = 0.0,
    ) -> None:
        self.scene = Scene(punctual=punctual, latency=latency)
        self.rules: tuple[Rule, ...] = tuple(rule(self.scene) for rule in rules)
        self._ears: dict[Subject, list[Hear]] = {}
        for rule in self.rules:
            for subject, hear in rule.hears().items():
                self._ears.setdefault(subject, []).append(hear)
        self._checks = [it.check for it in self.rules if type(it).check is not Rule.check]

    def rule(self, kind: type[R]) -> R:
        """Return the one rule of that class."""
        (found,) = [it for it in self.rules if isinstance(it, kind)]
        return found

    def hear(self, line: Line) -> None:
        """Hear the next line of the journal."""
        self.scene.hear(line)
        for hear in self._ears.get(line.subject, ()):
            hear(line)

    def look(self, places: Places) -> None:
        """Look at the streams, at any moment: *places* are as they are now."""
        for check in self._checks:
            check(places)

    def quiet(self, places: Places) -> None:
        """Look at the streams while nothing is under way: every answer came, every task waits."""
        self.look(places)
        for rule in self.rules:
            rule.quiet(places)

    def finish(self, places: Places | None = None) -> None:
        """Judge the whole run, when it is over and all faults are healed."""
        for rule in self.rules:
            rule.finish(places)
