"""What an observer may hear of one delivery: a small automaton, and a check of what it heard."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from trio_bus import DeathCause, SubscriptionStatistics, Transition, TransitionEvent

ENDS = {
    Transition.ACKED: "handled",
    Transition.RETRIED: "retried",
    Transition.DEAD_LETTERED: "rejected",
    Transition.RELEASED: "released",
    Transition.LEASE_LOST: "lost_leases",
    Transition.VANISHED: "vanished",
    Transition.UNCONFIRMED: "unconfirmed",
}
"""What ends a delivery, and the counter that it raises."""

BEGINNINGS = {Transition.RECEIVED, Transition.TAKEN_OVER}
COUNTERS = ("received", *ENDS.values(), "expired")

Key = tuple[str, int]
"""Consumer and number: one delivery."""

# b: it begins, s: started, x: expired, e: it ends. An end before the start is that of
# AUTO_ON_RECEIVE, or of one that is never started.
_STORY = re.compile(r"b(se|es|xe|e)")
# What runs with it. f: finished: a handler, or blocks.
_RUN = re.compile(r"b?(s(f)*)?")


def letter(transition: Transition) -> str:
    """Return how the patterns call it; nothing for what may come at any time."""
    if transition in BEGINNINGS:
        return "b"
    names = {Transition.STARTED: "s", Transition.EXPIRED: "x", Transition.FINISHED: "f"}
    return "e" if transition in ENDS else names.get(transition, "")


def stories(events: Iterable[TransitionEvent]) -> dict[Key, str]:
    """Return what was heard of each delivery."""
    told: defaultdict[Key, str] = defaultdict(str)
    for event in events:
        if event.delivery is not None:
            assert event.entry_id is not None
            assert event.attempt is not None
            told[event.consumer, event.delivery] += letter(event.transition)
    return told


def check_stories(events: Iterable[TransitionEvent]) -> None:
    """Check that each delivery is a path through the automaton, to its end."""
    for key, story in stories(events).items():
        assert _STORY.fullmatch(story.replace("f", "")), (key, story)
        assert _RUN.fullmatch(re.sub("[xe]", "", story)), (key, story)


def counted(events: Iterable[TransitionEvent], consumer: str) -> Counter[str]:
    """Return the counters that these events should have raised."""
    counts: Counter[str] = Counter()
    for event in events:
        if event.consumer != consumer:
            continue
        counts["received"] += event.transition in BEGINNINGS
        if event.transition is Transition.ACKED and event.cause is DeathCause.EXPIRED:
            counts["expired"] += 1
        elif event.transition in ENDS:
            counts[ENDS[event.transition]] += 1
    return +counts


def counts_of(said: SubscriptionStatistics) -> Counter[str]:
    """Return the counters that are not zero."""
    return +Counter({name: int(getattr(said, name)) for name in COUNTERS})
