"""What is done to a topic from outside of groups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice

import trio

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._errors import NotPersisted, Unsupported
from trio_bus._once import Append, Once

from ._cast import ALONE
from ._model import Model
from ._step import Act, Step, exactly, rows_of
from ._world import World

Keys = Sequence[str | None]

_EDGES = {
    "the past": datetime(2020, 1, 1, tzinfo=UTC),
    "the future": datetime(2200, 1, 1, tzinfo=UTC),
}
When = float | str
"""So many units from now, or one of the edges."""
_PATIENCE = 5.0


class Publishing:
    """Appends and schedules."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._shape = world.shape

    def append(self, topic: str, keys: Keys, window: float, cancel: int | None) -> None:
        """Append a record for each key, or for None."""
        world, name = self._world, self._shape.name(topic)
        records = self.records(len(keys))
        once = self._once(keys, window)
        partly = [partial(_append, name, records[:n], once[:n]) for n in range(1, len(keys) + 1)]
        step = Step(
            "append",
            f"append to {topic}{self._keys(keys)}",
            name,
            lambda: world.subject.append(name, records, once),
            exactly(partly[-1], cancelled=partly),
        )
        self._note(topic, world.perform(step, cancel))

    def append_nowait(self, topic: str, key: str | None, window: float) -> None:
        """Queue one record, and wait for its result."""
        world, name = self._world, self._shape.name(topic)
        (record,) = self.records(1)
        (once,) = self._once([key], window)

        async def queue() -> list[EntryId | Exception]:
            came: list[EntryId | Exception] = []
            called = trio.Event()

            def on_result(result: EntryId | Exception) -> None:
                came.append(result)
                called.set()

            world.subject.append_nowait(name, record, once, on_result)
            with trio.move_on_after(_PATIENCE):
                await called.wait()
            return came

        act = partial(_append, name, [record], [once])
        words = f"append_nowait to {topic}{self._keys([key])}"
        self._note(topic, world.perform(Step("append_nowait", words, name, queue, exactly(act))))

    def append_persisted(self, topic: str, keys: Keys, window: float) -> None:
        """Append and wait until disks have it, where the subject can."""
        world, name = self._world, self._shape.name(topic)
        records, once = self.records(len(keys)), self._once(keys, window)
        appends = [Append(name, *both) for both in zip(records, once, strict=True)]

        def outcomes(came: object) -> Sequence[Act]:
            rows = rows_of(came) or []
            if rows and all(isinstance(it, Unsupported) for it in rows):
                return [partial(_refuse, len(appends))]
            return [partial(_append_persisted, name, records, once, rows)]

        words = f"append_persisted to {topic}{self._keys(keys)}"
        call = partial(world.subject.append_persisted, appends, 0)
        self._note(topic, world.perform(Step("append_persisted", words, name, call, outcomes)))

    def schedule(
        self, topic: str, uid: str, when: When, window: float | None, cancel: int | None
    ) -> None:
        """Keep a record until then."""
        world, name = self._world, self._shape.name(topic)
        (record,) = self.records(1)
        moment = _EDGES[when] if isinstance(when, str) else when * self._shape.unit
        once = None if window is None else window * self._shape.unit

        async def act(model: Model) -> object:
            return await model.schedule(name, record, uid, moment, once)

        at = f"for {when}" if isinstance(when, str) else f"in {moment:g} s"
        kept = "" if once is None else f", remembered for {once:g} s"
        step = Step(
            "schedule",
            f"schedule {uid} on {topic} {at}{kept}",
            name,
            lambda: world.subject.schedule(name, record, uid, moment, once),
            exactly(act, cancelled=[act]),
            delays=[] if isinstance(moment, datetime) else [moment],
        )
        world.perform(step, cancel)

    def cancel_scheduled(self, topic: str, uid: str, cancel: int | None) -> None:
        """Take a record out of the schedule."""
        world, name = self._world, self._shape.name(topic)

        async def act(model: Model) -> object:
            return await model.cancel_scheduled(name, uid)

        step = Step(
            "cancel_scheduled",
            f"cancel_scheduled {uid} on {topic}",
            name,
            lambda: world.subject.cancel_scheduled(name, uid),
            exactly(act, cancelled=[act]),
        )
        world.perform(step, cancel)

    def create_group(self, topic: str, group: str, start: int | None, cancel: int | None) -> None:
        """Create a group after one of the last entries; None: after the newest; 0: the oldest."""
        world, name = self._world, self._shape.name(topic)
        seen = world.seen[topic]
        after = None if start is None else seen[-start] if 0 < start <= len(seen) else EntryId(0)

        async def act(model: Model) -> object:
            if after is None or after == EntryId(0):
                return await model.create_group(name, group, after)
            return await model.create_group(name, group, model.pairs.mine(name, after))

        words = f"create_group {topic}.{group} after {after or 'the newest entry'}"
        call = partial(world.subject.create_group, name, group, after)
        world.perform(
            Step("create_group", words, name, call, exactly(act, cancelled=[act])), cancel
        )

    def create_private(self, start: int | None, cancel: int | None) -> None:
        """Create the private group after one of the last entries, as `create_group` does."""
        world, name, group = self._world, self._shape.name(ALONE.topic), ALONE.group
        seen, expiry = world.seen[ALONE.topic], self._shape.expiry
        after = None if start is None else seen[-start] if 0 < start <= len(seen) else EntryId(0)

        async def act(model: Model) -> object:
            if after is None or after == EntryId(0):
                return await model.create_private(name, group, after, expiry)
            mine = model.pairs.mine(name, after)
            return await model.create_private(name, group, mine, expiry)

        words = f"create_private {ALONE.topic}.{group} after {after or 'the newest entry'}"
        call = partial(world.subject.create_private, name, group, after, expiry)
        world.perform(
            Step("create_private", words, name, call, exactly(act, cancelled=[act])), cancel
        )

    def records(self, count: int) -> list[Record]:
        """Make records that are all different."""
        numbers = islice(self._world.numbers, count)
        return [((b"n", str(number).encode()), (b"", b"\0:\r\n")) for number in numbers]

    def _once(self, keys: Keys, window: float) -> list[Once | None]:
        seconds = window * self._shape.unit
        return [None if key is None else Once(key, seconds) for key in keys]

    def _note(self, topic: str, came: object) -> None:
        told = [it for it in rows_of(came) or [] if isinstance(it, EntryId)]
        self._world.seen[topic] += told

    @staticmethod
    def _keys(keys: Keys) -> str:
        return " " + ", ".join("a record" if key is None else f"key {key!r}" for key in keys)


async def _append(
    name: str, records: list[Record], once: list[Once | None], model: Model
) -> list[EntryId | Exception]:
    return await model.append(name, records, once)


async def _refuse(count: int, _: Model) -> object:
    return [Unsupported("")] * count


async def _append_persisted(
    name: str, records: list[Record], once: list[Once | None], came: list[object], model: Model
) -> object:
    """Append; what was stored and not confirmed has no id to compare."""
    added: list[object] = [*await model.append(name, records, once)]
    return [
        theirs if isinstance(theirs, NotPersisted) else mine
        for mine, theirs in zip(added, [*came, *added[len(came) :]], strict=True)
    ]
