"""A promise that was not kept, in words."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


class ContractBroken(AssertionError):
    """A backend did something else than the contract says; the text tells what."""


@attrs.frozen
class Verdict:
    """What was asked, what the contract says of it, what the model expected, and what came."""

    operation: str
    promise: str
    done: str
    expected: str
    came: str
    differs: str

    def error(self, story: Sequence[str]) -> ContractBroken:
        """Make the exception; *story* is what was done before, in words, the newest last."""
        before = "\n".join(f"    {line}" for line in story) or "    nothing"
        return ContractBroken(
            f"{self.operation} breaks the contract.\n"
            f"  The contract says: {self.promise}\n"
            f"  Done:      {self.done}\n"
            f"  Expected:  {self.expected}\n"
            f"  Came:      {self.came}\n"
            f"  Differs:   {self.differs}\n"
            f"  Before that:\n{before}"
        )
