"""What members say about the entries that they have, or had."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations, permutations
from operator import itemgetter

import attrs
from msgspec.structs import replace

from trio_bus._backend import Receipt, Settlement

from ._cast import Who
from ._consuming import Consuming
from ._model import Model
from ._picks import Pick, choose, delays_of, describe, name
from ._step import Act, Ended, exactly, nothing, rows_of
from ._world import World


class Settling:
    """Settles and renews."""

    def __init__(self, world: World, consuming: Consuming) -> None:
        self._world = world
        self._consuming = consuming

    def settle(self, who: Who, picks: Sequence[Pick], cancel: int | None) -> Who:
        """Settle a batch; the same receipt may stand in it twice. Return who did it."""
        who, words = self.choose(who, picks)
        self.say(who, words, cancel)
        return who

    def say(self, who: Who, words: Sequence[Settlement], cancel: int | None = None) -> None:
        """Settle these."""
        if words:
            told = ", ".join(describe(word) for word in words)
            step = self._consuming.step(
                "settle",
                who,
                f"{who} settles: {told}",
                lambda member: member.settle(words),
                partial(self._outcomes, who, words),
            )
            step = attrs.evolve(step, delays=delays_of(words))
            self.note(who, words, self._world.perform(step, cancel))

    def renew(self, who: Who, picks: Sequence[Pick]) -> None:
        """Renew leases."""
        who, words = self.choose(who, picks)
        self.renew_all(who, [word.receipt for word in words])

    def renew_all(self, who: Who, some: Sequence[Receipt]) -> None:
        """Renew these leases."""
        receipts = list({receipt.id: receipt for receipt in some}.values())
        if not receipts:
            return

        async def act(model: Model) -> object:
            mine = [self._receipt(who, model, receipt) for receipt in receipts]
            return await self._consuming.mine(who, model).renew(mine)

        told = ", ".join(name(receipt) for receipt in receipts)
        step = self._consuming.step(
            "renew", who, f"{who} renews {told}", lambda it: it.renew(receipts), exactly(act)
        )
        self._world.perform(step)

    def choose(self, who: Who, picks: Sequence[Pick]) -> tuple[Who, list[Settlement]]:
        """Say who settles what."""
        return choose(self._world.given, who, picks, self._world.shape)

    async def settling(self, who: Who, words: Sequence[Settlement], model: Model) -> object:
        """Settle in the model."""
        mine = [replace(word, receipt=self._receipt(who, model, word.receipt)) for word in words]
        return await self._consuming.mine(who, model).settle(mine)

    def note(self, who: Who, words: Sequence[Settlement], came: object) -> None:
        """Remember that these receipts have ended."""
        over = {(word.receipt.id, word.receipt.attempt) for word in words}
        for given in self._world.given:
            if given.who == who and (given.receipt.id, given.receipt.attempt) in over:
                given.ours = False
        if came is not Ended.CANCELLED:
            for word in words:
                if word.receipt.suspect:
                    self._world.set_apart.append((who, word.receipt.id))

    def _outcomes(self, who: Who, words: Sequence[Settlement], came: object) -> Sequence[Act]:
        if came is Ended.CANCELLED:
            sizes = range(1, len(words) + 1)
            some = [it for size in sizes for it in _orders(words, size)]
            return nothing, *(partial(self._in_order, who, words, it) for it in some)
        return [partial(self._in_order, who, words, it) for it in _orders(words, len(words))]

    async def _in_order(
        self, who: Who, words: Sequence[Settlement], order: Sequence[int], model: Model
    ) -> object:
        """Settle some in this order; answer in that of the batch."""
        results = rows_of(await self.settling(who, [words[at] for at in order], model)) or []
        return [it for _, it in sorted(zip(order, results, strict=True), key=itemgetter(0))]

    def _receipt(self, who: Who, model: Model, receipt: Receipt) -> Receipt:
        return replace(receipt, id=self._consuming.id(who, model, receipt.id), delivery=0)


def _orders(words: Sequence[Settlement], size: int) -> list[tuple[int, ...]]:
    """Say in which orders so many of them may be settled: it matters for words about one entry."""
    places = range(len(words))
    if len({word.receipt.id for word in words}) == len(words):
        return list(combinations(places, size))
    return list(permutations(places, size))
