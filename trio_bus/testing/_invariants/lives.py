"""What an observer may hear of one delivery: a small automaton, which counts as well."""

from __future__ import annotations

from collections import Counter

from trio_bus._backend import DeathCause
from trio_bus._observer import Transition
from trio_bus._subscription import SubscriptionStatistics
from trio_bus.testing._line import Line

from .rule import Ears, Rule, each
from .scene import BEGINNINGS, ENDS, Scene

COUNTERS = ("received", *ENDS.values(), "expired")
_LETTERS: dict[Transition, str] = {
    **dict.fromkeys(BEGINNINGS, "b"),
    **dict.fromkeys(ENDS, "e"),
    Transition.STARTED: "s",
    Transition.EXPIRED: "x",
    Transition.FINISHED: "f",
}
# What may follow what. An end before the start is that of AUTO_ON_RECEIVE, or of one that is never
# started; the former may expire before it starts. What finishes is a handler, or blocks, any number
# of times once it was started.
_NEXT: dict[str, dict[str, str]] = {
    "": {"b": "b"},
    "b": {"s": "bs", "e": "be", "x": "bx"},
    "bs": {"f": "bs", "e": "bse"},
    "be": {"s": "bes", "x": "bex"},
    "bx": {"e": "bxe"},
    "bse": {"f": "bse"},
    "bes": {"f": "bes"},
    "bex": {},
    "bxe": {},
}
_OVER = {"be", "bse", "bes", "bex", "bxe"}


def figures_of(said: SubscriptionStatistics) -> Counter[str]:
    """Return the counters of a subscription that are not zero, by their names."""
    return +Counter({name: int(getattr(said, name)) for name in COUNTERS})


class Lives(Rule):
    """Each delivery begins once and ends once, and what is told between is one of few paths.

    See `Transition`. When its subscription is closed, each has ended; and the figures of
    `SubscriptionStatistics` are the transitions that were told.
    """

    number = 0
    name = "lives"
    seen_by = "what observers are told of each delivery"
    weakened_by = "the dead tell nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._lives: dict[str, dict[int, str]] = {}
        self._counts: dict[str, Counter[str]] = {}

    def hears(self) -> Ears:
        """Listen to the steps of deliveries."""
        counted = (*BEGINNINGS, *ENDS)
        return {
            **each(_LETTERS, self._hear_step),
            **each(counted, self._hear_counted),
            Transition.CLOSED: self._hear_closed,
        }

    def _hear_counted(self, line: Line) -> None:
        assert line.transition is not None
        counts = self._counts.setdefault(line.consumer, Counter())
        if line.transition in BEGINNINGS:
            counts["received"] += 1
        elif line.transition is Transition.ACKED and line.cause is DeathCause.EXPIRED:
            counts["expired"] += 1
        else:
            counts[ENDS[line.transition]] += 1
        self._hear_step(line)

    def _hear_step(self, line: Line) -> None:
        if line.delivery is None or line.transition is None:
            return
        lives = self._lives.setdefault(line.consumer, {})
        life = lives.get(line.delivery, "")
        after = _NEXT[life].get(_LETTERS[line.transition])
        if after is None:
            which = f"delivery {line.delivery} of {line.consumer}"
            self.broken(f"{which} is told {line.transition.value} {_SAID[life]}", line)
        if line.attempt is None or line.entry_id is None:
            self.broken(f"delivery {line.delivery} has no entry or no attempt", line)
        lives[line.delivery] = after

    def _hear_closed(self, line: Line) -> None:
        for delivery, life in self._lives.get(line.consumer, {}).items():
            if life not in _OVER:
                which = f"delivery {delivery} of {line.consumer}"
                self.broken(f"{which} has not ended {_SAID[life]}, and all is closed", line)

    def told(self, consumer: str) -> int:
        """Return of how many deliveries that consumer was told."""
        return len(self._lives.get(consumer, {}))

    def check_statistics(self, consumer: str, said: SubscriptionStatistics) -> None:
        """Compare the figures of a subscription with what its observer was told.

        Raises:
          InvariantBroken: they differ.
        """
        told, figures = self._counts.get(consumer, Counter[str]()), figures_of(said)
        for name in COUNTERS:
            if figures[name] != told[name]:
                words = f"{consumer} says {name}={figures[name]}"
                self.broken(f"{words}, and its observer heard of {told[name]}")


_SAID = {
    "": "before it began",
    "b": "after it began",
    "bs": "after it started",
    "be": "after it ended",
    "bx": "after it expired",
    "bse": "after it ended",
    "bes": "after it ended and started",
    "bex": "after it ended and expired",
    "bxe": "after it expired and ended",
}
