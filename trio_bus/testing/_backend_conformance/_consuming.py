"""What members do with entries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import combinations

import attrs

from trio_bus._backend import (
    Ack,
    Bury,
    Death,
    DeathCause,
    Entry,
    GroupMember,
    Receipt,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._entry_id import EntryId

from ._cast import Who
from ._model import Model
from ._step import Act, Ended, NotSoError, Step, exactly, nothing, rows_of
from ._world import Given, World

DEATH = Death(DeathCause.REJECTED, "builtins.ValueError", "no good \udc80")


@attrs.frozen
class Pick:
    """One settlement of a batch: a receipt, counted from the newest, and the word about it.

    ``ours`` chooses among those that should be valid; otherwise it is any that was ever given out.
    """

    word: str
    which: int = 0
    ours: bool = True
    delay: float = 0.0


class Consuming:
    """Reads, takes over, settles and renews."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, who: Who, count: int, cancel: int | None) -> None:
        """Read without waiting."""
        step = self._step(
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

        step = self._step(
            "look", who, f"{who} looks", lambda it: it.look(), exactly(act, cancelled=[act])
        )
        self._world.perform(step, cancel)

    def take_over(self, who: Who, count: int, cancel: int | None, *, book: bool) -> None:
        """Take what can be taken."""

        async def take(model: Model, most: int = count) -> object:
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
            who, self._world.perform(self._step("take_over", who, words, call, outcomes), cancel)
        )

    def take_booked(self, who: Who, which: int, cancel: int | None) -> None:
        """Take a suspect."""
        entry_id = self._suspect(who, which)
        if entry_id is None:
            return

        async def take(model: Model) -> object:
            return await self.mine(who, model).take_booked(self._id(who, model, entry_id))

        step = self._step(
            "take_booked",
            who,
            f"{who} takes the suspect {entry_id}",
            lambda member: member.take_booked(entry_id),
            exactly(take, cancelled=[partial(self._take_and_give_back, who, take)]),
        )
        self.note(who, self._world.perform(step, cancel))

    def keep_booking(self, who: Who, which: int) -> None:
        """Book a suspect for another lease."""
        entry_id = self._suspect(who, which)
        if entry_id is not None:

            async def act(model: Model) -> object:
                return await self.mine(who, model).keep_booking(self._id(who, model, entry_id))

            words = f"{who} keeps the booking of {entry_id}"
            call = partial(_keep_booking, entry_id)
            self._world.perform(self._step("keep_booking", who, words, call, exactly(act)))

    def give_up_booking(self, who: Who, which: int) -> None:
        """Let others book a suspect."""
        entry_id = self._suspect(who, which)
        if entry_id is not None:

            async def act(model: Model) -> object:
                await self.mine(who, model).give_up_booking(self._id(who, model, entry_id))
                return None

            words = f"{who} gives up the booking of {entry_id}"
            call = partial(_give_up_booking, entry_id)
            self._world.perform(self._step("give_up_booking", who, words, call, exactly(act)))

    def settle(self, who: Who, picks: Sequence[Pick], cancel: int | None) -> None:
        """Settle a batch; the same receipt may stand in it twice."""
        words = self.words_of(who, picks)
        if words:
            subsets = [
                list(chosen)
                for size in range(1, len(words) + 1)
                for chosen in combinations(words, size)
            ]
            partly = [partial(self.settling, who, chosen) for chosen in subsets]
            told = ", ".join(describe(word) for word in words)
            step = self._step(
                "settle",
                who,
                f"{who} settles: {told}",
                lambda member: member.settle(words),
                exactly(partial(self.settling, who, words), cancelled=partly),
            )
            self.settled(who, words, self._world.perform(step, cancel))

    def renew(self, who: Who, picks: Sequence[Pick]) -> None:
        """Renew leases."""
        receipts = list(
            {word.receipt.id: word.receipt for word in self.words_of(who, picks)}.values()
        )
        if not receipts:
            return

        async def act(model: Model) -> object:
            mine = [self._receipt(who, model, receipt) for receipt in receipts]
            return await self.mine(who, model).renew(mine)

        told = ", ".join(_receipt(receipt) for receipt in receipts)
        step = self._step(
            "renew", who, f"{who} renews {told}", lambda it: it.renew(receipts), exactly(act)
        )
        self._world.perform(step)

    def forget(self, who: Who) -> None:
        """Remove a consumer, unless it owns entries."""

        async def act(model: Model) -> object:
            return await self.mine(who, model).forget()

        step = self._step(
            "forget", who, f"{who} is forgotten", lambda it: it.forget(), exactly(act)
        )
        self._world.perform(step)

    def mine(self, who: Who, model: Model) -> GroupMember:
        """Return that consumer in the model."""
        return model.member(self._world.shape.membership(who))

    async def settling(self, who: Who, words: Sequence[Settlement], model: Model) -> object:
        """Settle in the model."""
        mine = [
            attrs.evolve(word, receipt=self._receipt(who, model, word.receipt)) for word in words
        ]
        return await self.mine(who, model).settle(mine)

    def words_of(self, who: Who, picks: Sequence[Pick]) -> list[Settlement]:
        """Make the settlements."""
        every = [
            it for it in self._world.given if (it.who.topic, it.who.group) == (who.topic, who.group)
        ]
        ours = [it for it in every if it.ours and it.who == who]
        words: list[Settlement] = []
        for pick in picks:
            pool = ours if pick.ours else every
            if pool:
                receipt = pool[-1 - pick.which % len(pool)].receipt
                words.append(_word(pick, receipt, pick.delay * self._world.shape.unit))
        return words

    def settled(self, who: Who, words: Sequence[Settlement], came: object) -> None:
        """Remember that these receipts have ended."""
        over = {(word.receipt.id, word.receipt.attempt) for word in words}
        for given in self._world.given:
            if given.who == who and (given.receipt.id, given.receipt.attempt) in over:
                given.ours = False
        if came is not Ended.CANCELLED:
            for word in words:
                if word.receipt.suspect:
                    self._world.set_apart.append((who, word.receipt.id))

    def note(self, who: Who, came: object) -> None:
        """Remember what was given out, and what was set apart."""
        entries: Sequence[object] = rows_of(came) or ()
        if isinstance(came, TakeOver):
            entries = came.entries
            told = [receipt.id for receipt in came.suspects]
            told += [] if came.booked is None else [came.booked]
            self._world.set_apart += [(who, entry_id) for entry_id in told]
        for entry in entries:
            if isinstance(entry, Entry):
                self._world.given.append(Given(who, entry.receipt))
                self._world.seen[who.topic].append(entry.id)

    def _step(
        self,
        operation: str,
        who: Who,
        words: str,
        call: Callable[[GroupMember], Awaitable[object]],
        outcomes: Callable[[object], Sequence[Act]],
    ) -> Step:
        member = self._world.member(who)
        name = self._world.shape.name(who.topic)
        return Step(operation, words, name, lambda: call(member), outcomes)

    async def _take_and_give_back(
        self, who: Who, take: Callable[[Model], Awaitable[object]], model: Model
    ) -> object:
        taken = await take(model)
        if taken == TakeOver():
            raise NotSoError
        if isinstance(taken, TakeOver):
            member = self.mine(who, model)
            await member.settle([Release(entry.receipt) for entry in taken.entries])
            if taken.booked is not None:
                await member.give_up_booking(taken.booked)
        return taken

    def _suspect(self, who: Who, which: int) -> EntryId | None:
        """Choose an id of this group, one that was set apart first."""
        place = (who.topic, who.group)
        known = [key for it, key in self._world.set_apart if (it.topic, it.group) == place]
        known = known or [
            it.receipt.id for it in self._world.given if (it.who.topic, it.who.group) == place
        ]
        return known[-1 - which % len(known)] if known else None

    def _id(self, who: Who, model: Model, entry_id: EntryId) -> EntryId:
        return model.pairs.mine(self._world.shape.name(who.topic), entry_id)

    def _receipt(self, who: Who, model: Model, receipt: Receipt) -> Receipt:
        return attrs.evolve(receipt, id=self._id(who, model, receipt.id), delivery=0)


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


def describe(word: Settlement) -> str:
    """Write a settlement in words."""
    delay = f" in {word.delay:g} s" if isinstance(word, Retry | Release) and word.delay else ""
    return f"{type(word).__name__.lower()} {_receipt(word.receipt)}{delay}"


def _receipt(receipt: Receipt) -> str:
    return f"{receipt.id} (attempt {receipt.attempt})"


def _word(pick: Pick, receipt: Receipt, delay: float) -> Settlement:
    match pick.word:
        case "ack":
            return Ack(receipt)
        case "retry":
            return Retry(receipt, delay)
        case "release":
            return Release(receipt, delay)
        case _:
            return Bury(receipt, DEATH)


async def _take_over(count: int, book: bool, member: GroupMember) -> TakeOver:  # noqa: FBT001 - see partial
    return await member.take_over(count, book=book)


async def _keep_booking(entry_id: EntryId, member: GroupMember) -> bool:
    return await member.keep_booking(entry_id)


async def _give_up_booking(entry_id: EntryId, member: GroupMember) -> None:
    await member.give_up_booking(entry_id)
