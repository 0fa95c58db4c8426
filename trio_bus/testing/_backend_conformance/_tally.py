"""How much was tried: what a suite that finds nothing has to show."""

from __future__ import annotations

from collections import Counter

import attrs


@attrs.define
class Tally:
    """Counts the programs, and the operations of which the answer was judged."""

    programs: int = 0
    operations: Counter[str] = attrs.field(factory=Counter[str])
    given_up: Counter[str] = attrs.field(factory=Counter[str])
    """Programs of which the rest was not judged, by the reason."""

    def __str__(self) -> str:
        each = ", ".join(f"{name} {count}" for name, count in sorted(self.operations.items()))
        lost = ", ".join(f"{count} ({why})" for why, count in sorted(self.given_up.items()))
        return (
            f"{self.programs} programs, {lost or 'none'} given up; "
            f"{self.operations.total()} operations: {each}"
        )
