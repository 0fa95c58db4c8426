"""A promise that was not kept, in words."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


class ContractBroken(AssertionError):
    """A backend did something else than the contract says; the text tells what.

    It names the operation, quotes the promise, and tells what was done, what should have come and
    what came, how the two differ, and what was done before.
    """


@attrs.frozen
class Verdict:
    """What was asked, what the contract says of it, what the model expected, and what came.

    ``promises`` are pairs of an operation and a promise; ``others`` is how many more things might
    have happened, none of which explains what came either; ``doubts`` are cancelled operations of
    which it was not known until now what they had done.
    """

    operation: str
    promises: Sequence[tuple[str, str]]
    done: str
    expected: str
    others: int
    came: str
    differs: str
    doubts: Sequence[str] = ()

    def error(self, story: Sequence[str]) -> ContractBroken:
        """Make the exception; *story* is what was done before, in words, the newest last."""
        before = "\n".join(f"    {line}" for line in story) or "    nothing"
        promised = "\n".join(f"    {name}: {words}" for name, words in self.promises)
        more = f" (or {self.others} other outcomes: none fits)" if self.others else ""
        doubted = "".join(f"  In doubt:  {words}\n" for words in self.doubts)
        return ContractBroken(
            f"{self.operation} breaks the contract.\n"
            f"  The contract says:\n{promised}\n"
            f"  Done:      {self.done}\n"
            f"  Expected:  {self.expected}{more}\n"
            f"  Came:      {self.came}\n"
            f"  Differs:   {self.differs}\n"
            f"{doubted}"
            f"  Before that:\n{before}"
        )
