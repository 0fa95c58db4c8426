"""A sorted set: members in the order of their scores."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import islice


class SortedSet:
    """Members with a score each; equal scores are in the order of the members.

    Invariant: ``_order`` holds the items of ``_scores`` turned around, sorted.
    """

    __slots__ = ("_order", "_scores")

    def __init__(self) -> None:
        self._scores: dict[str, float] = {}
        self._order: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._scores)

    def __contains__(self, member: str) -> bool:
        return member in self._scores

    def add(self, member: str, score: float) -> None:
        """Add *member*, or change its score."""
        self.remove(member)
        self._scores[member] = score
        insort(self._order, (score, member))

    def remove(self, member: str) -> bool:
        """Remove *member*; say whether it was there."""
        score = self._scores.pop(member, None)
        if score is None:
            return False
        del self._order[bisect_left(self._order, (score, member))]
        return True

    def score(self, member: str, otherwise: float) -> float:
        """Return the score of *member*, or *otherwise*."""
        return self._scores.get(member, otherwise)

    def up_to(self, score: float, count: int) -> list[str]:
        """Return the first *count* members with a score of at most *score*."""
        found = islice(self._order, count)
        return [member for its_score, member in found if its_score <= score]

    def first_after(self, score: float) -> float | None:
        """Return the lowest score above that one, if there is any."""
        at = bisect_right(self._order, score, key=_score)
        return self._order[at][0] if at < len(self._order) else None


def _score(item: tuple[float, str]) -> float:
    return item[0]
