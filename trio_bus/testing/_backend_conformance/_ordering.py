"""How members keep an order: who leads, what waits for its key, what is started."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio

from trio_bus._backend import GroupMember, Release, Settlement
from trio_bus._entry_id import EntryId
from trio_bus._ordering import Parked, Queue, Start

from ._cast import Who
from ._consuming import Consuming
from ._model import Model
from ._picks import Pick, words_for
from ._publishing import Publishing
from ._settling import Settling
from ._step import Act, Ended, NotSoError, Step, exactly, nothing
from ._world import World, let_wait, told

_PATIENCE = 5.0
"""Seconds within which whoever should be woken is."""


class Ordering:
    """Leads, surveys, draws and starts.

    Tokens are the backend's own: what is compared is who has one, and which is the newest.
    """

    def __init__(
        self, world: World, publishing: Publishing, consuming: Consuming, settling: Settling
    ) -> None:
        self._world = world
        self._publishing = publishing
        self._consuming = consuming
        self._settling = settling
        self._tokens: list[tuple[Who, int]] = []

    def lead(self, who: Who, token: int | None, cancel: int | None) -> int | None:
        """Become active, or stay it; return the token, if there is one."""
        place, known = who.place, [it for owner, it in self._tokens if owner.place == who.place]
        got: list[int | None] = []

        async def theirs(member: GroupMember) -> object:
            got.append(await member.lead(token))
            return _position(got[-1], token, known)

        async def act(model: Model) -> object:
            mine = None if token is None else model.tokens.get((*place, token), -1)
            before = [model.tokens[*place, it] for it in known if (*place, it) in model.tokens]
            new = await self._consuming.mine(who, model).lead(mine)
            if new is not None and got and got[-1] is not None:
                model.tokens[*place, got[-1]] = new
            return _position(new, mine, before)

        about = "asks to be active" if token is None else "asks to stay active"
        step = self._consuming.step(
            "lead", who, f"{who} {about}", theirs, exactly(act, cancelled=[act])
        )
        self._world.perform(step, cancel)
        newest = got[-1] if got else None
        if newest is not None and newest not in known:
            self._tokens.append((who, newest))
        return newest

    def give_up_lead(self, who: Who, cancel: int | None = None) -> None:
        """Be active no more."""

        async def act(model: Model) -> object:
            await self._consuming.mine(who, model).give_up_lead()
            return None

        words, call = f"{who} is active no more", _give_up_lead
        step = self._consuming.step("give_up_lead", who, words, call, exactly(act, cancelled=[act]))
        self._world.perform(step, cancel)

    def known(self, who: Who, which: int, *, own: bool) -> tuple[Who, int] | None:
        """Choose a token of the group, the newest first; return it, with who comes with it."""
        tokens = [(it, token) for it, token in self._tokens if it.place == who.place]
        if not tokens:
            return None
        owner, token = tokens[-1 - which % len(tokens)]
        return (owner if own else who), token

    def survey(self, who: Who, count: int) -> None:
        """Look at all that is pending, so many at a time."""

        async def act(model: Model) -> object:
            return await _survey(count, self._consuming.mine(who, model))

        words, call = f"{who} surveys {count} at a time", partial(_survey, count)
        self._world.perform(self._consuming.step("survey", who, words, call, exactly(act)))

    def draw(self, who: Who, token: int, count: int, cancel: int | None) -> None:
        """Read what waits for its key then."""

        async def draw(model: Model, most: int = count) -> Queue | None:
            member = self._consuming.mine(who, model)
            return await member.draw(model.tokens.get((*who.place, token), -1), most)

        def outcomes(came: object) -> Sequence[Act]:
            if came is Ended.CANCELLED:
                return nothing, *(partial(draw, most=most) for most in range(1, count + 1))
            if isinstance(came, Queue) and 0 < len(came.entries) < count:
                return draw, partial(draw, most=len(came.entries))
            return (draw,)

        words, call = f"{who} draws at most {count}", partial(_draw, token, count)
        came = self._world.perform(self._consuming.step("draw", who, words, call, outcomes), cancel)
        if isinstance(came, Queue):
            self._world.seen[who.topic] += [entry.id for entry in came.entries]

    def start(
        self,
        who: Who,
        token: int,
        which: Sequence[int],
        *,
        alone: bool = False,
        cancel: int | None = None,
    ) -> None:
        """Start some that are known, counted from the newest."""
        seen = list(dict.fromkeys(reversed(self._world.seen[who.topic])))
        ids = list(dict.fromkeys(seen[it % len(seen)] for it in which)) if seen else []

        async def start(model: Model, most: int = len(ids)) -> Start | None:
            mine = [self._consuming.id(who, model, entry_id) for entry_id in ids[:most]]
            member = self._consuming.mine(who, model)
            return await member.start(model.tokens.get((*who.place, token), -1), mine, alone=alone)

        def outcomes(came: object) -> Sequence[Act]:
            fewer: list[Act] = [partial(start, most=most) for most in range(len(ids) - 1, 0, -1)]
            if came is Ended.CANCELLED:
                whole: list[Act] = [start, *fewer]
                return nothing, *(partial(self._give_back, who, it) for it in whole)
            sorted_out = _sorted_out(came) if isinstance(came, Start) else 0
            return start, *(fewer[-sorted_out:][:1] if sorted_out else ())

        words = f"{who} starts {', '.join(map(str, ids))}{', alone' if alone else ''}"
        call = partial(_start, token, ids, alone)
        came = self._world.perform(
            self._consuming.step("start", who, words, call, outcomes), cancel
        )
        if isinstance(came, Start):
            self._consuming.note(who, came.taken)

    def wait_to_grow(self, who: Who, then: str) -> None:
        """Wait until the topic has more; *then* is what happens meanwhile: see the rule."""
        world, name = self._world, self._world.shape.name(who.topic)
        member, records = world.member(who), self._publishing.records(1)
        after = max(world.seen[who.topic], default=EntryId(0, 0))
        timeout = world.shape.unit / 2 if then == "nothing" else _PATIENCE
        appends = "append" in then

        async def wait() -> object:
            added, began = list[object](), trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(told, partial(member.grown, after, timeout))
                await let_wait(world.pump)
                if appends:
                    added += await world.subject.append(name, records)
                if "cancellation" in then:
                    nursery.cancel_scope.cancel()
            return [added, trio.current_time() - began < _PATIENCE]

        async def act(model: Model) -> object:
            return [await model.append(name, records) if appends else [], True]

        words = f"{who} waits for growth; meanwhile: {then}"
        also = "append" if appends else ""
        step = Step("grown", words, name, wait, exactly(act), not appends, also=also)
        self._world.perform(step)

    def keep(self, who: Who, count: int, picks: Sequence[Pick], rival: Who) -> None:
        """Keep the order for a while: append, draw, start, settle, start again; then leave."""
        self._publishing.append(who.topic, (None,) * count, 0.0, None)
        token = self.lead(who, None, None)
        if token is None:
            return
        self.draw(who, token, count, None)
        self.start(who, token, range(count))
        held = [it.receipt for it in self._world.given if it.who == who and it.ours]
        words: list[Settlement] = []
        for pick, receipt in zip(picks, reversed(held), strict=False):
            words += words_for(pick, [receipt], self._world.shape)
        self._settling.say(who, words)
        self.start(who, token, range(count))
        self.survey(rival, 2)
        self.give_up_lead(who)
        self.lead(rival, None, None)

    def lose(self, who: Who, times: int) -> None:
        """Start one, again and again, and let its lease run out; then start it alone."""
        self._publishing.append(who.topic, (None,), 0.0, None)
        for _ in range(times):
            token = self.lead(who, None, None)
            if token is None:
                return
            self.draw(who, token, 4, None)
            self.start(who, token, (0,))
            self._world.sleep(5.0 * self._world.shape.unit)
        token = self.lead(who, None, None)
        if token is not None:
            self.start(who, token, (0,))
            self.start(who, token, (0, 1), alone=True)

    async def _give_back(self, who: Who, start: Act, model: Model) -> object:
        came = await start(model)
        if not isinstance(came, Start):
            raise NotSoError
        words = [Release(entry.receipt) for entry in came.taken.entries]
        await self._consuming.mine(who, model).settle(words)
        return came


def _position(token: int | None, kept: int | None, known: Sequence[int]) -> str:
    """Say what a token means."""
    if token is None:
        return "is not active"
    if token == kept:
        return "stays active"
    return f"is active, with {'a new' if token > max(known, default=-1) else 'an old'} token"


def _sorted_out(start: Start) -> int:
    """Say of how many entries it tells what became of them."""
    taken = start.taken
    parts = (taken.entries, taken.buried, taken.gone, taken.suspects)
    return sum(map(len, (*parts, start.due, start.held, start.apart, start.over)))


async def _give_up_lead(member: GroupMember) -> None:
    await member.give_up_lead()


async def _survey(count: int, member: GroupMember) -> object:
    found: list[Parked] = []
    after: EntryId | None = None
    while True:
        queue = await member.survey(after, count)
        found += queue.entries
        after = queue.last
        if after is None:
            return found


async def _draw(token: int, count: int, member: GroupMember) -> Queue | None:
    return await member.draw(token, count)


async def _start(
    token: int,
    ids: Sequence[EntryId],
    alone: bool,  # noqa: FBT001 - see partial
    member: GroupMember,
) -> Start | None:
    return await member.start(token, ids, alone=alone)
