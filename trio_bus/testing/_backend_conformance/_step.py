"""One thing that is done to the subject, and what may have come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import cast

import attrs

from ._model import Model

Act = Callable[[Model], Awaitable[object]]
"""Does to the model what may have happened; returns what the subject should have answered."""


class NotSoError(Exception):
    """This outcome is another one in this state: it need not be followed."""


class Ended(Enum):
    """What came instead of an answer."""

    CANCELLED = "was cancelled"


@attrs.frozen
class Step:
    """One operation.

    ``outcomes`` is given what came, and returns all that may have happened, the plainest first. A
    cancelled call has no answer to compare.
    """

    operation: str
    words: str
    topic: str
    theirs: Callable[[], Awaitable[object]]
    outcomes: Callable[[object], Sequence[Act]]
    timeless: bool = False
    """Whether it makes no difference when, between its beginning and its end, it happens."""
    also: str = ""
    """Another operation that is part of it."""
    delays: Sequence[float] = ()
    """In how many seconds it makes something due."""
    ended: Callable[[], float] | None = None
    """By the clock of the pump, when it had happened; otherwise when it returned."""


def rows_of(value: object) -> list[object] | None:
    """Return what is a list or a tuple as a list."""
    return list(cast("Sequence[object]", value)) if isinstance(value, list | tuple) else None


async def nothing(_: Model) -> object:
    """Do nothing."""
    return None


def exactly(act: Act, *, cancelled: Sequence[Act] = ()) -> Callable[[object], Sequence[Act]]:
    """Expect one outcome; where it was cancelled, none, or one of *cancelled*."""
    return lambda came: (nothing, *cancelled) if came is Ended.CANCELLED else (act,)
