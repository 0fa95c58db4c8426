"""How many entries are asked for at once: as many as the server can get through to us."""

from __future__ import annotations

import math
from types import TracebackType
from typing import final

from trio_bus._errors import OutcomeUnknown

_MOST_PROOFS = 64


class Portion:
    """Bounds the size of a reply by what became of earlier ones.

    A server cuts the connection when a reply outgrows its output buffer, and everything in it has
    been delivered by then: asked again in the same way, it is cut again. So a lost reply halves
    the portion. Full ones double it; the more often that failed, the more of them it takes, so
    that a stream of large entries does not lose its connection again and again.
    """

    def __init__(self) -> None:
        self._limit: float = math.inf
        self._proofs = 1  # full replies that it takes to double the limit
        self._full = 0
        self._single = False

    @property
    def is_single(self) -> bool:
        """Whether the last reply was lost although earlier losses had led to one entry alone."""
        return self._single

    def asking(self, count: int) -> Asking:
        """Give how many to ask for, where *count* would do; note it if the reply is lost."""
        return Asking(self, int(min(count, self._limit)))

    def came(self, asked: int, got: int) -> None:
        """Note that a reply came; one that the limit did not bound says nothing about it."""
        self._single = self._single and not got
        if got < asked or asked < self._limit:
            return
        self._full += 1
        if self._full >= self._proofs:
            self._limit *= 2
            self._full = 0

    def lost(self, asked: int) -> None:
        """Note that a reply to so many was lost."""
        self._single = asked == 1 == self._limit
        self._limit = max(1, asked // 2)
        self._proofs = min(2 * self._proofs, _MOST_PROOFS)
        self._full = 0


@final
class Asking:
    """The time in which a reply is awaited: a generator would cost each read three times that.

    A server that does not answer in time says nothing about the size of its answer.
    """

    __slots__ = ("_asked", "_portion")

    def __init__(self, portion: Portion, asked: int) -> None:
        self._portion = portion
        self._asked = asked

    def __enter__(self) -> int:
        return self._asked

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OutcomeUnknown) and not isinstance(error.__cause__, TimeoutError):
            self._portion.lost(self._asked)
