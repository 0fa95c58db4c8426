"""How members get entries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

from trio_bus._backend import Entry, GroupMember, Release, TakeOver
from trio_bus._entry_id import EntryId

from ._cast import Who
from ._model import Model
from ._step import Act, Ended, NotSoError, Step, exactly, nothing, rows_of
from ._world import Given, World


class Consuming:
    """Reads, looks, takes over, and is forgotten."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, who: Who, count: int, cancel: int | None) -> None:
        """Read without waiting."""
        step = self.step(
            "read",
            who,
            f"{who} reads at most {count}",
            lambda member: member.read(count, 0.0),
            lambda came: reading(self._world, who, count, came),
        )
        self.note(who, self._world.perform(step, cancel))

    def look(self, who: Who, cancel: int | None = None) -> None:
        """Look around."""

        async def act(model: Model) -> object:
            return await self.mine(who, model).look()

        step = self.step(
            "look", who, f"{who} looks", lambda it: it.look(), exactly(act, cancelled=[act])
        )
        self._world.perform(step, cancel)

    def take_over(self, who: Who, count: int, cancel: int | None, *, book: bool) -> None:
        """Take what can be taken."""

        async def take(model: Model, most: int = count) -> TakeOver:
            return await self.mine(who, model).take_over(most, book=book)

        def outcomes(came: object) -> Sequence[Act]:
            if came is Ended.CANCELLED:
                return nothing, partial(self._take_and_give_back, who, take)
            if isinstance(came, TakeOver) and 0 < len(came.entries) < count:
                return take, partial(take, most=len(came.entries))
            return (take,)

        booking = ", and books a suspect" if book else ""
        words = f"{who} takes over at most {count}{booking}"
        call = partial(_take_over, count, book)
        self.note(
            who, self._world.perform(self.step("take_over", who, words, call, outcomes), cancel)
        )

    def take_booked(self, who: Who, which: int, cancel: int | None) -> Who | None:
        """Take a suspect; return who did, if there was one."""
        chosen = self._suspect(who, which)
        if chosen is None:
            return None
        who, entry_id = chosen

        async def take(model: Model) -> TakeOver:
            return await self.mine(who, model).take_booked(self.id(who, model, entry_id))

        step = self.step(
            "take_booked",
            who,
            f"{who} takes the suspect {entry_id}",
            lambda member: member.take_booked(entry_id),
            exactly(take, cancelled=[partial(self._take_and_give_back, who, take)]),
        )
        self.note(who, self._world.perform(step, cancel))
        return who

    def keep_booking(self, who: Who, which: int) -> Who | None:
        """Book a suspect for another lease; return who did, if there was one."""
        chosen = self._suspect(who, which)
        if chosen is None:
            return None
        who, entry_id = chosen

        async def act(model: Model) -> object:
            return await self.mine(who, model).keep_booking(self.id(who, model, entry_id))

        words = f"{who} keeps the booking of {entry_id}"
        call = partial(_keep_booking, entry_id)
        self._world.perform(self.step("keep_booking", who, words, call, exactly(act)))
        return who

    def give_up_booking(self, who: Who, which: int) -> Who | None:
        """Let others book a suspect; return who did, if there was one."""
        chosen = self._suspect(who, which)
        if chosen is None:
            return None
        who, entry_id = chosen

        async def act(model: Model) -> object:
            await self.mine(who, model).give_up_booking(self.id(who, model, entry_id))
            return None

        words = f"{who} gives up the booking of {entry_id}"
        call = partial(_give_up_booking, entry_id)
        self._world.perform(self.step("give_up_booking", who, words, call, exactly(act)))
        return who

    def forget(self, who: Who) -> None:
        """Remove a consumer, unless it owns entries."""

        async def act(model: Model) -> object:
            return await self.mine(who, model).forget()

        step = self.step("forget", who, f"{who} is forgotten", lambda it: it.forget(), exactly(act))
        self._world.perform(step)

    def mine(self, who: Who, model: Model) -> GroupMember:
        """Return that consumer in the model."""
        return model.member(self._world.shape.membership(who))

    def note(self, who: Who, came: object) -> None:
        """Remember what was given out, and what was set apart."""
        entries = cast("Sequence[Entry]", rows_of(came) or ())
        if isinstance(came, TakeOver):
            entries = came.entries
            told = [receipt.id for receipt in came.suspects]
            told += [] if came.booked is None else [came.booked]
            self._world.set_apart += [(who, entry_id) for entry_id in told]
        for entry in entries:
            for earlier in self._world.given:
                if (earlier.who.place, earlier.receipt.id) == (who.place, entry.id):
                    earlier.ours = False
            self._world.given.append(Given(who, entry.receipt))
            self._world.seen[who.topic].append(entry.id)

    def step(
        self,
        operation: str,
        who: Who,
        words: str,
        call: Callable[[GroupMember], Awaitable[object]],
        outcomes: Callable[[object], Sequence[Act]],
    ) -> Step:
        """Say what a member does."""
        member = self._world.member(who)
        name = self._world.shape.name(who.topic)
        return Step(operation, words, name, lambda: call(member), outcomes)

    async def _take_and_give_back(
        self, who: Who, take: Callable[[Model], Awaitable[TakeOver]], model: Model
    ) -> object:
        taken = await take(model)
        if taken == TakeOver():
            raise NotSoError
        member = self.mine(who, model)
        await member.settle([Release(entry.receipt) for entry in taken.entries])
        if taken.booked is not None:
            await member.give_up_booking(taken.booked)
        return taken

    def _suspect(self, who: Who, which: int) -> tuple[Who, EntryId] | None:
        """Choose an entry, one that was set apart first, and who of its group asks for it."""
        known = [(it.place, key) for it, key in self._world.set_apart]
        known = known or [(it.who.place, it.receipt.id) for it in self._world.given]
        if not known:
            return None
        place, entry_id = known[-1 - which % len(known)]
        return Who(*place, who.consumer), entry_id

    def id(self, who: Who, model: Model, entry_id: EntryId) -> EntryId:
        """Return what the model calls this entry."""
        return model.pairs.mine(self._world.shape.name(who.topic), entry_id)


def reading(world: World, who: Who, count: int, came: object) -> Sequence[Act]:
    """Say what may have come of a read."""
    membership = world.shape.membership(who)

    async def read(model: Model, most: int = count) -> object:
        return await model.member(membership).read(most, 0.0)

    async def read_and_release(most: int, model: Model) -> object:
        entries = await model.member(membership).read(most, 0.0)
        if len(entries) < most:
            raise NotSoError
        return await model.member(membership).settle([Release(it.receipt) for it in entries])

    if came is Ended.CANCELLED:
        return nothing, *(partial(read_and_release, most) for most in range(1, count + 1))
    got = rows_of(came)
    if got and len(got) < count:
        return read, partial(read, most=len(got))
    return (read,)


async def _take_over(count: int, book: bool, member: GroupMember) -> TakeOver:  # noqa: FBT001 - see partial
    return await member.take_over(count, book=book)


async def _keep_booking(entry_id: EntryId, member: GroupMember) -> bool:
    return await member.keep_booking(entry_id)


async def _give_up_booking(entry_id: EntryId, member: GroupMember) -> None:
    await member.give_up_booking(entry_id)
