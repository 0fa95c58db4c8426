"""What all invariants have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, NoReturn, TypeVar

from trio_bus._entry_id import EntryId
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .broken import InvariantBroken
from .scene import Scene

Hear = Callable[[Line], None]
Subject = What | Transition
Ears = Mapping[Subject, Hear]
Key = tuple[str, str, EntryId]
"""Topic, group and entry."""

T = TypeVar("T")

BEGINS_ANEW = (What.GROUP_DESTROYED, What.TOPIC_DELETED, What.BEGUN)
"""After these a group, or all groups of a topic, know nothing of what was before."""


class Rule:
    """One invariant, which hears every line that concerns it.

    A rule that hears nothing, or is not looked at, costs nothing. `Scene` has heard each line
    before, and tells who is there and what was made to go wrong.
    """

    number: ClassVar[int]
    name: ClassVar[str]
    seen_by: ClassVar[str]
    """What it needs to see: lines, or the places of entries."""
    weakened_by: ClassVar[str]
    """Which declared faults allow what it forbids otherwise."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def hears(self) -> Ears:
        """Say which lines concern it, and what hears them."""
        return {}

    def check(self, places: Places) -> None:
        """Check the streams between two steps."""

    def quiet(self, places: Places) -> None:
        """Check the streams at a moment at which nothing is under way."""

    def finish(self, places: Places | None) -> None:
        """Check what has to be true when the run is over; without *places* by the lines alone."""

    def broken(self, words: str, line: Line | None = None) -> NoReturn:
        """Say that it does not hold.

        Raises:
          InvariantBroken: always.
        """
        raise InvariantBroken(self.number, self.name, words, line)


def key_of(line: Line) -> Key:
    """Return which entry of which group a line is about."""
    assert line.entry_id is not None
    return (line.topic, line.group, line.entry_id)


def each(subjects: Iterable[Subject], hear: Hear) -> dict[Subject, Hear]:
    """Let the same method hear of several subjects."""
    return dict.fromkeys(subjects, hear)


def forget(line: Line, kept: dict[Key, T]) -> None:
    """Drop what is known of an entry, in all groups; or of all that `forget_group` drops."""
    if line.entry_id is None or line.what is What.BEGUN:
        forget_group(line, kept)
    else:
        for key in [it for it in kept if it[0::2] == (line.topic, line.entry_id)]:
            del kept[key]


def forget_group(line: Line, kept: dict[Key, T]) -> None:
    """Drop what is known of the entries of a group, or of all groups of a topic."""
    topic, group = line.topic, line.group
    for key in [it for it in kept if it[0] == topic and (not group or it[1] == group)]:
        del kept[key]
