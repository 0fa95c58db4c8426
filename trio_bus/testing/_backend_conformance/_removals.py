"""What an administrator does."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError

from ._administrator import Administrator, Exhauster
from ._model import Model
from ._step import Act, Step, exactly
from ._world import World


class Removals:
    """Removes entries, groups and streams, under the hands of those who use them."""

    def __init__(self, world: World, administrator: Administrator) -> None:
        self._world = world
        self._administrator = administrator

    def delete_entry(self, topic: str, which: int) -> None:
        """Delete one of those entries that were seen."""
        seen = self._world.seen[topic]
        if seen:
            self.delete(topic, seen[-1 - which % len(seen)])

    def delete(self, topic: str, entry_id: EntryId) -> None:
        """Delete this entry."""
        name = self._world.shape.name(topic)
        self._do(
            f"the administrator deletes {entry_id} of {topic}",
            name,
            lambda: self._administrator.delete_entry(name, entry_id),
            lambda model: model.delete_entry(name, model.pairs.mine(name, entry_id)),
        )

    def trim(self, topic: str, length: int) -> None:
        """Remove all but the newest entries."""
        name = self._world.shape.name(topic)
        self._do(
            f"the administrator trims {topic} to {length}",
            name,
            lambda: self._administrator.trim(name, length),
            lambda model: model.trim(name, length),
        )

    def destroy_group(self, topic: str, group: str) -> None:
        """Remove a group."""
        name = self._world.shape.name(topic)
        self._do(
            f"the administrator destroys the group {topic}.{group}",
            name,
            lambda: self._administrator.destroy_group(name, group),
            lambda model: model.destroy_group(name, group),
        )

    def delete_topic(self, topic: str) -> None:
        """Remove a stream. Time passes, so that new ids are greater."""
        name = self._world.shape.name(topic)
        self._do(
            f"the administrator deletes {topic}",
            name,
            lambda: self._administrator.delete_topic(name),
            lambda model: model.delete_topic(name),
        )
        self._world.sleep(0.005)

    def use_up(self, topic: str) -> bool:
        """Let a stream take nothing more; say whether the administrator knows how."""
        name, administrator = self._world.shape.name(topic), self._administrator
        if not isinstance(administrator, Exhauster):
            return False
        self._do(
            f"the administrator uses up {topic}",
            name,
            lambda: administrator.use_up(name),
            lambda model: model.use_up(name),
        )
        return True

    def _do(
        self, words: str, name: str, theirs: Callable[[], object], mine: Callable[[Model], object]
    ) -> None:
        async def call() -> object:
            with suppress(BusError):
                done = theirs()
                if inspect.isawaitable(done):
                    await cast("Awaitable[object]", done)
            return None

        async def act(model: Model) -> object:
            with suppress(BusError):
                mine(model)
            return None

        expected: Act = act
        self._world.perform(Step("info", words, name, call, exactly(expected)))
