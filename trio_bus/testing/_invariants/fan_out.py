"""Promises about fan-out: every subscription gets every message, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from trio_bus._entry_id import EntryId
from trio_bus._modes import BalanceMode, StartPosition
from trio_bus._names import is_private
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import DONE, GroupPlaces, Places, TopicPlaces

from .rule import Ears, Rule, each
from .scene import Scene

_LOOKS = 2
"""Looks of others after which a group is gone that nobody keeps: the first may be older than it
was heard."""
_NOTHING = EntryId(0, 0)


@attrs.define
class _Own:
    """What is known of one private group."""

    begin: EntryId
    """After which entry it began first."""
    newest: EntryId
    """What was confirmed last before that."""
    kept_until: float
    given: set[EntryId] = attrs.field(factory=set[EntryId])
    finished: set[EntryId] = attrs.field(factory=set[EntryId])
    looks: int = 0
    """How often others have looked since its expiry was over."""
    destroyed: bool = False
    left: bool = False


class FanOut(Rule):
    """With FAN_OUT every subscription gets every message from its start on, and its group goes.

    What its group was not given lies before its start, or was deleted; what it was given is
    finished by itself alone. When it is left its group is gone. A group that nobody keeps is gone
    once others have looked after ``fan_out_expiry``; one that is kept is not removed.
    """

    number = 0
    name = "fan-out"
    seen_by = "what the server begins, keeps, gives and ends; groups, and where entries are"
    weakened_by = (
        "topics that were deleted; after a fault a group may outlive a subscription that was left; "
        "a clock that was moved, and real time, keep it for longer or shorter"
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._own: dict[tuple[str, str], _Own] = {}
        self._confirmed: dict[str, set[EntryId]] = {}

    def hears(self) -> Ears:
        """Listen to the lives of private groups, and to what they are given."""
        return {
            What.PUBLISHED: self._hear_confirmed,
            What.BEGUN: self._hear_begun,
            What.JOINED: self._hear_joined,
            What.KEPT: self._hear_kept,
            What.GIVEN: self._hear_given,
            **each((What.ACKED, What.BURIED, What.DROPPED, What.NO_EFFECT), self._hear_finished),
            What.LEFT: self._hear_left,
            **each((What.GROUP_DESTROYED, What.TOPIC_DELETED), self._hear_destroyed),
        }

    def _hear_confirmed(self, line: Line) -> None:
        if line.entry_id is not None:
            self._confirmed.setdefault(line.topic, set()).add(line.entry_id)

    def _hear_begun(self, line: Line) -> None:
        begin, until = line.entry_id or _NOTHING, line.time + (line.seconds or 0.0)
        own = self._own.get((line.topic, line.group))
        if own is None:
            newest = max(self._confirmed.get(line.topic, ()), default=_NOTHING)
            self._own[line.topic, line.group] = _Own(begin, newest, until)
            return
        is_exact = self.scene.punctual and What.CLOCK_STEPPED not in self.scene.faults
        if is_exact and not own.destroyed and line.time < own.kept_until:
            words = f"{line.group!r} was removed, and is kept until {own.kept_until:.3f} s"
            self.broken(words, line)
        own.kept_until, own.looks, own.destroyed = until, 0, False

    def _hear_joined(self, line: Line) -> None:
        own, config = self._own.get((line.topic, line.group)), line.config
        if own is None or config is None or config.balance_mode is BalanceMode.COMPETING:
            return
        if config.start in {None, StartPosition.NEWEST} and own.begin < own.newest:
            self.broken(f"{line.group!r} begins after {own.begin}, and not with what is new", line)

    def _hear_kept(self, line: Line) -> None:
        for (topic, group), own in self._own.items():
            if topic == line.topic and group == line.group:
                own.kept_until, own.looks = line.time + (line.seconds or 0.0), 0
            elif topic == line.topic and line.detail == "look" and line.time > own.kept_until:
                own.looks += 1

    def _hear_given(self, line: Line) -> None:
        own = self._own.get((line.topic, line.group))
        if own is not None and line.entry_id is not None:
            own.given.add(line.entry_id)

    def _hear_finished(self, line: Line) -> None:
        own = self._own.get((line.topic, line.group))
        ends = line.what is not What.NO_EFFECT or line.detail.startswith("ack: ")
        if own is not None and line.entry_id is not None and ends:
            own.finished.add(line.entry_id)

    def _hear_left(self, line: Line) -> None:
        own = self._own.get((line.topic, line.group))
        if own is not None:
            own.left = self.scene.calm

    def _hear_destroyed(self, line: Line) -> None:
        if line.what is What.TOPIC_DELETED:
            self._confirmed.pop(line.topic, None)
        for topic, group in list(self._own):
            if topic == line.topic and group == line.group:
                self._own[topic, group].destroyed = True
            elif topic == line.topic and line.what is What.TOPIC_DELETED:
                del self._own[topic, group]

    def check(self, places: Places) -> None:
        """Look for groups that should be gone."""
        for topic, there in places.topics.items():
            for group in filter(is_private, there.groups):
                own = self._own.get((topic, group))
                if own is not None and own.left:
                    self.broken(f"{group!r} is there, and its subscription was left")
                if own is not None and own.looks >= _LOOKS:
                    self.broken(f"{group!r} is there, and was kept until {own.kept_until:.3f} s")

    def quiet(self, places: Places) -> None:
        """Look for what a group should have been given: all between its start and where it is."""
        for topic, there in places.topics.items():
            for group in filter(is_private, there.groups):
                own = self._own.get((topic, group))
                if own is not None:
                    self._look_at(group, own, there.groups[group], self._entries(topic, there))

    def _look_at(
        self, name: str, own: _Own, group: GroupPlaces, entries: Iterable[EntryId]
    ) -> None:
        for entry_id in sorted(entries):
            if not own.begin < entry_id <= group.last_delivered:
                continue
            if entry_id not in own.given:
                self.broken(f"{entry_id} was never given to {name!r}")
            spot = None if group.spots is None else group.spots[entry_id]
            if spot is not None and spot.place == DONE and entry_id not in own.finished:
                self.broken(f"{entry_id} counts as done in {name!r}: nobody finished it")

    def finish(self, places: Places | None) -> None:
        """Look once more."""
        if places is not None:
            self.check(places)

    def _entries(self, topic: str, there: TopicPlaces) -> Iterable[EntryId]:
        """Return what is in a stream, as far as it is known."""
        if there.records is not None:
            return there.records
        deleted = self.scene.deleted
        return (it for it in self._confirmed.get(topic, ()) if (topic, it) not in deleted)
