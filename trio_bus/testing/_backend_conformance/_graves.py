"""What is dead: it is listed, and sent back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs

from trio_bus._backend import Bury, Entry, StreamBackend
from trio_bus._dead_letter import dead_letter_of
from trio_bus._entry_id import EntryId
from trio_bus._graves import Grave

from ._batches import Batches
from ._cast import Who
from ._consuming import Consuming
from ._model import Model
from ._picks import DEATH
from ._removals import Removals
from ._settling import Settling
from ._step import Step, exactly, rows_of
from ._world import World

_MOST = 4


@attrs.frozen
class Graves:
    """Lists what is dead, and sends it back."""

    _world: World
    _consuming: Consuming
    _settling: Settling
    _batches: Batches
    _removals: Removals | None

    def bury_and_redrive(self, who: Who, number: int, *, deleted: bool, cancel: int | None) -> None:
        """Bury some, perhaps delete one that they were, send them back, and take them."""
        held = self._batches.hold(who, number)
        self._settling.say(who, [Bury(receipt, DEATH) for receipt in held])
        if deleted and held and self._removals is not None:
            self._removals.delete(who.topic, held[0].id)
        moved = self._world.shape.membership(who).dead_letter_topic is not None
        place: tuple[str, str | None] = ("dead", None) if moved else who.place
        self.redrive(*place, cancel)
        self._consuming.look(who)
        self._consuming.take_over(who, number, None, book=False)
        self._consuming.read(who, number, None)
        self.list(*place)

    def redrive(self, topic: str, group: str | None, cancel: int | None) -> None:
        """List what is dead, and send some of it back, the first one twice."""
        graves = self._graves(topic, group, self.list(topic, group))
        if not graves:
            return

        async def act(model: Model) -> object:
            return await model.redrive([_of_model(model, grave) for grave in graves])

        step = Step(
            "redrive",
            f"redrive {len(graves)} from {topic}",
            graves[0].topic,
            partial(self._world.subject.redrive, graves),
            exactly(act, cancelled=[act]),
        )
        self._world.perform(step, cancel)

    def list(self, topic: str, group: str | None) -> Sequence[Entry]:
        """List all of one place."""
        name = self._world.shape.name(topic)
        step = Step(
            "buried",
            f"list the dead of {topic}{f'.{group}' if group else ''}",
            name,
            partial(_all, self._world.subject, name, group),
            exactly(lambda model: _all(model, name, group)),
        )
        came = rows_of(self._world.perform(step)) or []
        return [it for it in came if isinstance(it, Entry)]

    def _graves(self, topic: str, group: str | None, dead: Sequence[Entry]) -> Sequence[Grave]:
        """Say where they lie that one group gave up."""
        lies_in = self._world.shape.name(topic) if group is None else None
        letters = [(it.id, dead_letter_of(it.record)) for it in dead]
        graves = [
            Grave(it.topic, it.group, it.entry_id, lies_in, entry_id)
            for entry_id, it in letters
            if it is not None
        ]
        alike = [it for it in graves if (it.topic, it.group) == (graves[0].topic, graves[0].group)]
        return [*alike[:_MOST], *alike[:1]]


def _of_model(model: Model, grave: Grave) -> Grave:
    there = grave.lies_in or grave.topic
    return attrs.evolve(
        grave,
        entry_id=model.pairs.mine(grave.topic, grave.entry_id),
        id=None if grave.id is None else model.pairs.mine(there, grave.id),
    )


async def _all(backend: StreamBackend, topic: str, group: str | None) -> object:
    found: list[Entry] = []
    after: EntryId | None = None
    while True:
        rows, after = await backend.buried(topic, group, after)
        found += [Entry(entry_id, record) for entry_id, record in rows]
        if after is None:
            return found
