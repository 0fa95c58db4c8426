"""Invariant 10: what is bad delays only itself."""

from __future__ import annotations

from trio_bus._config import SubscriptionConfig
from trio_bus._entry_id import EntryId
from trio_bus._modes import OrderingMode
from trio_bus._names import ABANDONED, DEAD, FREE
from trio_bus._subscription.turn import CHECKS_PER_LEASE
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import UNDELIVERED, GroupPlaces, Places

from .hand_over import GRACE
from .rule import Ears, Key, Rule
from .scene import Scene

_READY = (UNDELIVERED, FREE, ABANDONED)


class Neighbours(Rule):
    """One bad entry or one broken group delays only itself.

    At a quiet moment no entry that could start waits while a consumer of its group could take it.
    (A suspect may hold back its neighbours: it runs alone.) Where nobody can be late, and nothing
    goes wrong but deaths, none waits at any moment for longer than a tick: all permits are used.
    """

    number = 10
    name = "neighbours"
    seen_by = "what consumers hold; where entries are, at quiet moments and all the time"
    weakened_by = "until it is over, a fault may keep entries away; suspects run alone"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._now = 0.0
        self._ready: dict[Key, float] = {}
        """Since when each entry that could start is seen to wait."""
        self._suspected: dict[tuple[str, str], float] = {}
        """When a group had suspects last."""

    def hears(self) -> Ears:
        """Listen to the time."""
        return {What.COMMAND: self._hear_time}

    def _hear_time(self, line: Line) -> None:
        self._now = line.time

    def check(self, places: Places) -> None:
        """Look for entries that wait for longer than it takes to start them."""
        if not self.scene.punctual or not self.scene.only_deaths:
            return
        ready = self._find_ready(places)
        self._ready = {key: self._ready.get(key, self._now) for key in ready}
        for where in {key[:2] for key in ready}:
            if self._has_suspects(where):
                self._suspected[where] = self._now
            else:
                self._look(where)

    def _find_ready(self, places: Places) -> list[Key]:
        return [
            (*where, key)
            for where in self.scene.groups
            for key, spot in _spots(places.group(*where))
            if spot in self._ready_places(where, places.group(*where))
        ]

    def _has_suspects(self, where: tuple[str, str]) -> bool:
        """Say whether one waits for its turn, or has it."""
        members = self.scene.groups[where]
        suspects = self.scene.suspects.items()
        return any(key[:2] == where and (not it or it in members) for key, it in suspects)

    def _look(self, where: tuple[str, str]) -> None:
        calm = self._suspected.get(where, 0.0)
        since, which = min((when, key[2]) for key, when in self._ready.items() if key[:2] == where)
        for consumer in self.scene.groups[where].values():
            config, free = consumer.config, consumer.free_since
            if config is None or free is None or not consumer.works:
                continue
            if self._now > max(since, calm, free) + _bound(config):
                words = f"{which} could start since {since:.3f} s"
                self.broken(f"{words}, and {consumer.name} has a free permit")

    def quiet(self, places: Places) -> None:
        """Look for entries that wait for nothing."""
        if not self.scene.calm:
            return
        for where, members in self.scene.groups.items():
            group = places.group(*where)
            ready = 0
            if group is not None:
                places_of = self._ready_places(where, group)
                ready = sum(group.counts.get(place, 0) for place in places_of)
            if not ready or where in self.scene.suspicious:
                continue
            for consumer in members.values():
                if consumer.works and consumer.free_since is not None:
                    words = f"{ready} entries of {where[0]}/{where[1]} could start"
                    self.broken(f"{words}, and {consumer.name} has a free permit")

    def _ready_places(self, where: tuple[str, str], group: GroupPlaces | None) -> tuple[str, ...]:
        """Say where entries could start.

        What is new is not read where too much waits for a key. What comes again may wait for its
        key wherever it is, if anything else is under way, or a handler goes on with something.
        """
        config = self.scene.configs.get(where)
        if group is None or config is None or config.ordering_mode is OrderingMode.NONE:
            return _READY
        waiting = sum(n for place, n in group.counts.items() if place not in {UNDELIVERED, DEAD})
        again = sum(group.counts.get(place, 0) for place in _READY[1:])
        new = _READY[:1] if waiting < config.max_parked else ()
        at_work = any(it.running for it in self.scene.groups[where].values())
        return (*new, *(_READY[1:] if again == waiting and not at_work else ()))


def _spots(group: GroupPlaces | None) -> list[tuple[EntryId, str]]:
    """Return where each entry is, if anything waits at all and that can be seen."""
    if group is None or group.spots is None or not any(it in group.counts for it in _READY):
        return []
    return [(key, spot.place) for key, spot in group.spots.items()]


def _bound(config: SubscriptionConfig) -> float:
    """Return how long it may take: a tick, or to see that a suspect was taken by another."""
    return GRACE + config.reclaim_interval + config.claim_idle_timeout / CHECKS_PER_LEASE
