"""Things that are together, and fare differently: random steps bring them together too rarely."""

from __future__ import annotations

from collections.abc import Sequence

from trio_bus._backend import Ack, Bury, Receipt, Retry

from ._cast import Who
from ._consuming import Consuming
from ._picks import DEATH, Pick, commit, words_for
from ._publishing import Publishing
from ._removals import Removals
from ._settling import Settling
from ._world import World

Outputs = Sequence[tuple[str, str | None]]
"""Topics, each with a key or None."""

_GRAVEYARD = Who("dead", "g", "x")


class Batches:
    """Several receipts, several dead letters, several things that are due."""

    def __init__(
        self,
        world: World,
        publishing: Publishing,
        consuming: Consuming,
        settling: Settling,
        removals: Removals | None,
    ) -> None:
        self._world = world
        self._publishing = publishing
        self._consuming = consuming
        self._settling = settling
        self._removals = removals

    def hold(self, who: Who, number: int) -> list[Receipt]:
        """Append so many and read them; return the receipts of the newest that are held."""
        self._publishing.append(who.topic, (None,) * number, 0.0, None)
        self._consuming.read(who, number + 1, None)
        return self.ours(who)[-number:]

    def ours(self, who: Who) -> list[Receipt]:
        """Return the receipts of all that is held."""
        return [it.receipt for it in self._world.given if it.who == who and it.ours]

    def fare_differently(
        self, who: Who, number: int, pick: Pick | None, order: Sequence[int]
    ) -> None:
        """Hold three; let one be finished and perhaps one be deleted; come with all of them.

        Args:
          who: Who holds them.
          number: How many things happen to them before.
          pick: How they are settled; None: they are renewed.
          order: In which they are named.
        """
        held = self.hold(who, len(order))
        if len(held) < len(order):
            return
        first, second = held[order[-1]], held[order[-2]]
        if number:
            self._settling.say(who, [Ack(first)])
        if number > 1 and self._removals is not None:
            self._removals.delete(who.topic, second.id)
        named = [held[place] for place in sorted(range(len(order)), key=order.index)]
        if pick is None:
            self._settling.renew_all(who, named)
        else:
            self._settling.say(who, words_for(pick, named, self._world.shape))

    def wait_in_two_ways(self, who: Who, uid: str, units: Sequence[float]) -> None:
        """Let a retry be due at one time and a message at another, and look when the first is."""
        held, unit = self.hold(who, 1), self._world.shape.unit
        self._publishing.schedule(who.topic, uid, units[0], None, None)
        self._settling.say(who, [Retry(receipt, units[1] * unit) for receipt in held])
        self._consuming.look(who)

    def schedule_for_one_moment(self, who: Who, uids: Sequence[str]) -> None:
        """Schedule some that are due together, and read them."""
        for uid in uids:
            self._publishing.schedule(who.topic, uid, "the past", None, None)
        self._consuming.look(who)
        self._consuming.read(who, len(uids) + 1, None)

    def forget(self, who: Who) -> None:
        """Forget one that owns something, then the last of that, and nothing at last."""
        self.hold(who, 1)
        held = [Ack(receipt) for receipt in self.ours(who)]
        for words in ([], held[:-1], held[-1:]):
            self._settling.say(who, words)
            self._consuming.forget(who)

    def bury(self, who: Who, number: int) -> None:
        """Bury some, and read what the dead-letter topic says of them."""
        held = self.hold(who, number)
        self._publishing.create_group(_GRAVEYARD.topic, _GRAVEYARD.group, 0, None)
        self._settling.say(who, [Bury(receipt, DEATH) for receipt in held])
        self._consuming.read(_GRAVEYARD, number + 1, None)

    def bury_in_vain(self, who: Who) -> None:
        """Bury one when the dead-letter topic takes nothing, and once more when it does."""
        removals = self._removals
        if removals is None or not removals.use_up(_GRAVEYARD.topic):
            return
        words = [Bury(receipt, DEATH) for receipt in self.hold(who, 1)]
        self._settling.say(who, words)
        self._consuming.look(who)
        removals.delete_topic(_GRAVEYARD.topic)
        self._settling.say(who, words)

    def commit_again(self, who: Who, outputs: Outputs, whose: str) -> None:
        """Commit one, or not; then try to commit it, by whoever comes with it."""
        shape = self._world.shape
        held = self.hold(who, 1)
        if whose == "earlier":
            self._settling.say(who, [commit(receipt, outputs, shape) for receipt in held])
        if whose == "any":
            who = Who(*who.place, "y" if who.consumer == "x" else "x")
        self._settling.say(who, [commit(receipt, outputs, shape) for receipt in held])
        self._publishing.create_group("b", "g", 0, None)
        self._consuming.read(Who("b", "g", "x"), len(outputs) + 1, None)

    def commit_in_vain(self, who: Who, outputs: Outputs) -> None:
        """Commit where the last output is refused, and once more when it is not."""
        removals = self._removals
        if removals is None or not removals.use_up(_GRAVEYARD.topic):
            return
        whole = [*outputs, (_GRAVEYARD.topic, None)]
        words = [commit(receipt, whole, self._world.shape) for receipt in self.hold(who, 1)]
        self._settling.say(who, words)
        removals.delete_topic(_GRAVEYARD.topic)
        self._settling.say(who, words)
