"""Which receipts a member comes with, and what it says about them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from trio_bus._backend import (
    Ack,
    Bury,
    Commit,
    Death,
    DeathCause,
    Receipt,
    Release,
    Retry,
    Settlement,
)
from trio_bus._once import Append, Once

from ._cast import Shape, Who
from ._world import Given

DEATH = Death(DeathCause.REJECTED, "builtins.ValueError", "no good \udc80")

_APART = 0.3
"""Units."""
_REMEMBERED = 10.0
"""Units."""

Choice = tuple[Who, Receipt]


@attrs.frozen
class Pick:
    """One settlement of a batch: a receipt, counted from the newest, and the word about it.

    ``whose`` is ``"ours"`` for one that should be valid; ``"earlier"`` for one that has ended, and
    that its owner, or who has the entry now, comes with once more; ``"any"`` for anybody's.
    """

    word: str
    which: int = 0
    whose: str = "ours"
    delay: float = 0.0
    outputs: tuple[tuple[str, str | None], ...] = ()
    """Of a commit: topics, each with a key or None."""


def choose(
    given: Sequence[Given], who: Who, picks: Sequence[Pick], shape: Shape
) -> tuple[Who, list[Settlement]]:
    """Say who settles what: as a rule whoever has it, otherwise *who*."""
    actor: Who | None = None
    words: list[Settlement] = []
    for pick in picks:
        pool = [it for it in _pool(given, who, pick.whose) if actor in (None, it[0])]
        if pool:
            actor, receipt = pool[-1 - pick.which % len(pool)]
            # No two of a batch are due together: servers may do them in more than one step.
            later = _APART * len(words) if pick.delay else 0.0
            words.append(_word(pick, receipt, pick.delay + later, shape))
    return actor or who, words


def words_for(pick: Pick, receipts: Sequence[Receipt], shape: Shape) -> list[Settlement]:
    """Say the same of several."""
    spread = _APART if pick.delay else 0.0
    return [
        _word(pick, receipt, pick.delay + spread * place, shape)
        for place, receipt in enumerate(receipts)
    ]


def describe(word: Settlement) -> str:
    """Write a settlement in words."""
    if isinstance(word, Commit):
        topics = ", ".join(
            output.topic + (output.once is not None) * " (key)" for output in word.outputs
        )
        return f"commit {name(word.receipt)} with [{topics}]"
    delay = f" in {word.delay:g} s" if isinstance(word, Retry | Release) and word.delay else ""
    return f"{type(word).__name__.lower()} {name(word.receipt)}{delay}"


def delays_of(words: Sequence[Settlement]) -> list[float]:
    """Return in how many seconds something is due again."""
    return [it.delay for it in words if isinstance(it, Retry | Release)]


def name(receipt: Receipt) -> str:
    """Write a receipt in words."""
    return f"{receipt.id} (attempt {receipt.attempt})"


def _pool(given: Sequence[Given], who: Who, whose: str) -> list[Choice]:
    if whose == "ours":
        return [(it.who, it.receipt) for it in given if it.ours]
    if whose == "any":
        return [(who, it.receipt) for it in given if it.who.place == who.place]
    holders = {(it.who.place, it.receipt.id): it.who for it in given if it.ours}
    over = [it for it in given if not it.ours]
    now = [(holders.get((it.who.place, it.receipt.id), it.who), it.receipt) for it in over]
    return [*((it.who, it.receipt) for it in over), *now]


def _word(pick: Pick, receipt: Receipt, units: float, shape: Shape) -> Settlement:
    match pick.word:
        case "ack":
            return Ack(receipt)
        case "retry":
            return Retry(receipt, units * shape.unit)
        case "release":
            return Release(receipt, units * shape.unit)
        case "commit":
            return commit(receipt, pick.outputs, shape)
        case _:
            return Bury(receipt, DEATH)


def commit(receipt: Receipt, outputs: Sequence[tuple[str, str | None]], shape: Shape) -> Commit:
    """Say that these are appended with the ack: a topic, and perhaps a key, for each."""
    return Commit(
        receipt,
        tuple(
            Append(
                shape.name(topic),
                ((b"of", str(receipt.id).encode()), (b"n", b"%d" % number)),
                None if key is None else Once(key, _REMEMBERED * shape.unit),
            )
            for number, (topic, key) in enumerate(outputs)
        ),
    )
