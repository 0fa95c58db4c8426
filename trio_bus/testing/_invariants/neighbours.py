"""Invariant 10: what is bad delays only itself."""

from __future__ import annotations

from trio_bus._names import ABANDONED, FREE
from trio_bus.testing._places import UNDELIVERED, Places

from .rule import Rule

_READY = (UNDELIVERED, FREE, ABANDONED)


class Neighbours(Rule):
    """One bad entry or one broken group delays only itself.

    At a quiet moment no entry that could start waits while a consumer of its group could take it.
    (A suspect may hold back its neighbours: it runs alone.)
    """

    number = 10
    name = "neighbours"
    seen_by = "what consumers hold; where entries are at a quiet moment"
    weakened_by = "until it is over, a fault may keep entries away; suspects run alone"

    def quiet(self, places: Places) -> None:
        """Look for entries that wait for nothing."""
        if not self.scene.calm:
            return
        for where, members in self.scene.groups.items():
            group = places.group(*where)
            ready = 0 if group is None else sum(group.counts.get(place, 0) for place in _READY)
            if not ready or where in self.scene.suspicious:
                continue
            for consumer in members.values():
                if consumer.works and consumer.free_since is not None:
                    words = f"{ready} entries of {where[0]}/{where[1]} could start"
                    self.broken(f"{words}, and {consumer.name} has a free permit")
