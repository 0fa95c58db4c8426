"""Invariant 18: what we reserve is ours."""

from __future__ import annotations

from trio_bus._dead_letter import CONTEXT_PREFIX
from trio_bus.testing._places import Places

from .rule import Rule


class Reserved(Rule):
    """A publisher cannot set the headers that we reserve.

    So a record that says of itself that it was buried is in a dead-letter topic, and nowhere else;
    or it is a copy of one that was there.
    """

    number = 18
    name = "reserved"
    seen_by = "the records of all streams"
    weakened_by = "nothing"

    def finish(self, places: Places | None) -> None:
        """Look for records that say what only we may say."""
        if places is None:
            return
        graves = {config.dead_letter_topic for config in self.scene.configs.values()}
        for topic, there in places.topics.items():
            if topic in graves:
                continue
            for key, record in (there.records or {}).items():
                if topic not in self.scene.copied and any(
                    field.startswith(CONTEXT_PREFIX) for field, _ in record
                ):
                    self.broken(f"{key} in {topic!r} says of itself that it was buried")
