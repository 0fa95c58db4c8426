"""Groups that belong to one consumer each, and until when they are kept."""

from __future__ import annotations

import math

from trio_bus._backend import Membership
from trio_bus._names import own_key

from .sorted_set import SortedSet
from .store import Store

_MOST_REMOVED = 10
"""How many groups one look removes."""


def private_groups(store: Store, topic: str) -> SortedSet:
    """Return the private groups of a topic, each with the time until which it is kept."""
    return store.sorted_set(own_key(topic, "fan_out", ""))


def keep(store: Store, us: Membership, now_ms: int) -> None:
    """Keep the group of this membership, if it is private, for another expiry."""
    if us.expiry is not None:
        until_ms = now_ms + math.ceil(us.expiry * 1000)
        private_groups(store, us.topic).add(us.group, until_ms)


def ends(store: Store, topic: str) -> list[float]:
    """Return when the first of them has to be removed, if there is one and nobody keeps it."""
    first = private_groups(store, topic).first_after(-math.inf)
    return [] if first is None else [first]


def remove_expired(store: Store, topic: str, now_ms: int) -> None:
    """Remove groups that nobody keeps any more."""
    for group in private_groups(store, topic).up_to(now_ms, _MOST_REMOVED):
        remove(store, topic, group)


def remove(store: Store, topic: str, group: str) -> None:
    """Remove a private group and what belongs to it."""
    stream = store.find_stream(topic)
    if stream is not None and stream.groups.pop(group, None) is not None:
        store.mark_changed(topic)
    store.delete(own_key(topic, "due", group))
    private_groups(store, topic).remove(group)
