"""What one member waits for, and another does."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from trio_bus._backend import Record, Release, Retry
from trio_bus._settled import Settled

from ._cast import Who
from ._consuming import Consuming, reading
from ._model import Model
from ._picks import Pick, delays_of, describe
from ._publishing import Publishing
from ._settling import Settling
from ._step import Act, Ended, Step, exactly, rows_of
from ._world import World, let_wait, told

_ALL = 100
"""More entries than a program appends."""
_PATIENCE = 5.0
"""Seconds within which whoever should be woken is."""
_EARLY = 0.005
"""Seconds by which a time that is told may be rounded."""


def _entries(came: object) -> object:
    """Return what the read brought, of what was appended and read."""
    rows = rows_of(came)
    return rows[1] if rows else came


class Meetings:
    """Reads that wait, and waits to be woken."""

    def __init__(
        self, world: World, publishing: Publishing, consuming: Consuming, settling: Settling
    ) -> None:
        self._world = world
        self._publishing = publishing
        self._consuming = consuming
        self._settling = settling

    def wait_to_read(self, who: Who, then: str) -> None:
        """Read with a timeout; *then* is what happens meanwhile: see the rule."""
        world = self._world
        member, name = world.member(who), world.shape.name(who.topic)
        records = self._publishing.records(1)
        timeout = world.shape.unit / 2 if then == "nothing" else _PATIENCE

        ended = [math.nan]

        async def wait() -> object:
            came: list[object] = []
            added: list[object] = []
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    came.append(await told(lambda: member.read(3, timeout)))

                nursery.start_soon(read)
                await let_wait(world.pump)
                if then in {"an append", "an append and a cancellation"}:
                    added += await world.subject.append(name, records)
                if then in {"a cancellation", "an append and a cancellation"}:
                    nursery.cancel_scope.cancel()
                ended[0] = trio.current_time()
            return [added, came[0] if came else Ended.CANCELLED]

        words = f"{who} waits for entries; meanwhile: {then}"
        outcomes = partial(self._read_outcomes, who, name, records, append="append" in then)
        calm = then in {"nothing", "a cancellation"}
        also = "append" if "append" in then else ""
        step = Step("read", words, name, wait, outcomes, calm, also=also, ended=lambda: ended[0])
        came = world.perform(step)
        self._consuming.note(who, _entries(came))

    def _read_outcomes(
        self,
        who: Who,
        name: str,
        records: list[Record],
        came: object,
        *,
        append: bool,
    ) -> Sequence[Act]:
        entries = _entries(came)

        async def act(read: Act, order: str, model: Model) -> object:
            waited = await told(lambda: read(model)) if order == "read first" else None
            added = await model.append(name, records) if append else []
            if order != "read first":
                waited = await told(lambda: read(model))
            return [added, Ended.CANCELLED if entries is Ended.CANCELLED else waited]

        # What was there before the append was read before it.
        orders = ("read first", "append first") if append else ("read first",)
        return [
            partial(act, read, order)
            for order in orders
            for read in reading(self._world, who, 3, entries)
        ]

    def two_wait_to_read(self, one: Who, other: Who) -> None:
        """Let members of two groups of a topic wait, and append one record for both."""
        world, name = self._world, self._world.shape.name(one.topic)
        for who in (one, other):
            self._consuming.read(who, _ALL, None)  # so that nothing is there when they begin
        records = self._publishing.records(1)
        members = [world.member(who) for who in (one, other)]

        async def wait() -> object:
            came: dict[int, object] = {}

            async def read(place: int) -> None:
                came[place] = await told(lambda: members[place].read(3, _PATIENCE))

            async with trio.open_nursery() as nursery:
                for place in range(len(members)):
                    nursery.start_soon(read, place)
                    await let_wait(world.pump)
                added = await world.subject.append(name, records)
            return [added, came[0], came[1]]

        async def act(model: Model) -> object:
            added = await model.append(name, records)
            return [added, *[await told(partial(self._read, it, model)) for it in (one, other)]]

        words = f"{one} and {other} wait for entries; meanwhile: an append"
        came = world.perform(Step("read", words, name, wait, exactly(act), also="append"))
        for who, entries in zip((one, other), (rows_of(came) or [[], [], []])[1:], strict=True):
            self._consuming.note(who, entries)

    async def _read(self, who: Who, model: Model) -> object:
        return await self._consuming.mine(who, model).read(3, 0.0)

    def wake_by_word(self, who: Who, pick: Pick) -> None:
        """Wait to be woken while a member of the group, itself or another, hands something back."""
        other, words = self._settling.choose(who, [pick])
        if not words:
            return
        who = Who(*other.place, who.consumer)
        world = self._world
        member = world.member(other)

        async def act() -> object:
            return await member.settle(words)

        async def mine(model: Model) -> object:
            return await self._settling.settling(other, words, model)

        meanwhile = f"{other} settles: {describe(words[0])}"
        delay = max(delays_of(words), default=0.0)
        hands_back = isinstance(words[0], Retry | Release)
        done = [Settled.DONE]
        self._wake(
            who,
            meanwhile,
            delay,
            act,
            mine,
            by="settle",
            rings=lambda it: hands_back and it == done,
        )
        self._settling.note(other, words, None)

    def wake_by_schedule(self, who: Who, uid: str, delay: float) -> None:
        """Wait to be woken while a message is scheduled on the topic."""
        world, name = self._world, self._world.shape.name(who.topic)
        (record,) = self._publishing.records(1)
        seconds = delay * world.shape.unit
        meanwhile = f"schedule {uid} on {who.topic} in {seconds:g} s"
        new: list[bool] = []

        async def act() -> object:
            before = (await world.subject.info(name)).scheduled
            answer = await world.subject.schedule(name, record, uid, seconds)
            new.append((await world.subject.info(name)).scheduled > before)
            return answer

        async def mine(model: Model) -> object:
            return await model.schedule(name, record, uid, seconds)

        self._wake(who, meanwhile, seconds, act, mine, by="schedule", rings=lambda _: any(new))

    def _wake(
        self,
        who: Who,
        meanwhile: str,
        delay: float,
        act: Callable[[], Awaitable[object]],
        mine: Act,
        *,
        by: str,
        rings: Callable[[object], bool],
    ) -> None:
        world = self._world
        member, name = world.member(who), world.shape.name(who.topic)
        ended = [math.nan]

        async def meet() -> object:
            heard: list[float] = []
            rang = trio.Event()

            async def listen() -> None:
                while True:
                    heard.append(await member.woken())
                    if heard[-1] <= delay + _EARLY:
                        rang.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await let_wait(world.pump)
                rang = trio.Event()  # what was told before is another matter
                result = await told(act)
                ended[0] = trio.current_time()
                if rings(result):
                    with trio.move_on_after(_PATIENCE):
                        await rang.wait()
                woken = rang.is_set() or not rings(result)
                nursery.cancel_scope.cancel()
            return [result, woken]

        async def model(it: Model) -> object:
            return [await told(lambda: mine(it)), True]

        def outcomes(_: object) -> Sequence[Act]:
            return (model,)

        words = f"{who} waits to be woken within {delay:g} s; meanwhile: {meanwhile}"
        world.perform(
            Step(
                "woken",
                words,
                name,
                meet,
                outcomes,
                also=by,
                delays=[delay],
                ended=lambda: ended[0],
            )
        )
