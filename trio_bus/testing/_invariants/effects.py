"""A promise about transactions: outputs and ack together, or neither."""

from __future__ import annotations

from trio_bus.testing._effects import Effect, effect_in
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget_group, key_of
from .scene import Scene


class Effects(Rule):
    """The outputs of a transaction are there where its delivery was acked with them, and once.

    All of them, in their order, from the same step on; nothing of one that was not committed. Who
    is told that it has committed has, or the entry was finished by whoever took it over.
    """

    number = 0
    name = "effects"
    seen_by = "what the server does, transactions that are told their end; records of output topics"
    weakened_by = "groups and topics that were deleted, outputs that were deleted or trimmed"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._committed: dict[Key, int] = {}
        self._finished: dict[Key, Line] = {}

    def hears(self) -> Ears:
        """Listen to what the server finishes, and to answers to transactions."""
        return {
            **each((What.ACKED, What.BURIED, What.DROPPED), self._hear_finished),
            What.VERB_DONE: self._hear_answer,
            **each(BEGINS_ANEW, self._hear_destroyed),
        }

    def _hear_finished(self, line: Line) -> None:
        self._finished[key_of(line)] = line
        if line.count:
            self._committed[key_of(line)] = line.count

    def _hear_answer(self, line: Line) -> None:
        key = key_of(line)
        known = key[:2] in self.scene.witnessed and not self._is_destroyed(key)
        if line.detail == "commit" and known and key not in self._finished:
            self.broken(
                f"{line.entry_id} is told to be committed, and nobody has finished it", line
            )

    def _hear_destroyed(self, line: Line) -> None:
        forget_group(line, self._committed)
        forget_group(line, self._finished)

    def check(self, places: Places) -> None:
        """Compare the outputs that are there with what the server has committed."""
        topics = self._output_topics()
        if not topics:
            return
        if any((places.topics[topic].records is None) for topic in topics & set(places.topics)):
            self._count(places, topics)
        else:
            self._compare(self._found(places, topics))

    def _compare(self, found: dict[Key, list[Effect]]) -> None:
        for key, effects in found.items():
            if not self._is_destroyed(key):
                self._check_one(key, effects)
        for key, count in self._committed.items():
            if key not in found and not self._is_destroyed(key):
                self.broken(f"{key[2]} was acked with {count} outputs, and none is there")

    def _check_one(self, key: Key, effects: list[Effect]) -> None:
        first, parts = effects[0], [effect.part for effect in effects]
        if {effect.author for effect in effects} != {first.author} or len(parts) > first.parts:
            self.broken(f"{key[2]} has its outputs in {key[1]!r} more than once")
        if parts != list(range(first.parts)):
            self.broken(f"{key[2]} has outputs {parts} of {first.parts}")
        if key[:2] in self.scene.witnessed and self._committed.get(key) != first.parts:
            self.broken(f"{key[2]} has outputs, and was not acked with them in {key[1]!r}")

    def _count(self, places: Places, topics: set[str]) -> None:
        """Count, where only figures can be seen."""
        there = sum(places.topics[topic].length for topic in topics & set(places.topics))
        committed = sum(self._committed.values())
        if there < committed:
            self.broken(f"{there} outputs are there, and {committed} were acked with them")

    def _found(self, places: Places, topics: set[str]) -> dict[Key, list[Effect]]:
        found: dict[Key, list[Effect]] = {}
        for topic in sorted(topics & set(places.topics)):
            for record in (places.topics[topic].records or {}).values():
                effect = effect_in(record)
                if effect is not None:
                    key = (effect.topic, effect.group, effect.entry_id)
                    found.setdefault(key, []).append(effect)
        return found

    def _output_topics(self) -> set[str]:
        """Return where transactions publish; nothing, if anything was removed there."""
        removed = self.scene.uprooted | {topic for topic, _ in self.scene.deleted}
        topics = {it for config in self.scene.configs.values() for it in config.output_topics}
        return set() if topics & removed else topics

    def _is_destroyed(self, key: Key) -> bool:
        return key[:2] in self.scene.destroyed or key[0] in self.scene.uprooted
