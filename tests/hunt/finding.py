"""What a suite has found in a source, in a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from trio_bus._exception_groups import leaves
from trio_bus.testing import ContractBroken, InvariantBroken, SimulationFailed

from .examples import Examples

LONGEST = 160
"""Characters of what is said about it."""

_USELESS = (ImportError, SyntaxError, NameError, AttributeError, TypeError)
"""How a source fails that does not work at all: no fault that somebody could overlook."""
_UNREADABLE = re.compile("Error compiling script|script_error|nonexistent global variable")
"""As a server says it of a script."""


@attrs.frozen
class Finding:
    """After how many examples something was found, and what; nothing, if *words* is empty."""

    examples: int
    words: str = ""
    useless: bool = False
    """The source does not work at all: finding that out proves nothing."""


def finding(examples: Examples, error: BaseException) -> Finding:
    """Say what was found with the newest example."""
    if examples.too_long:
        return Finding(examples.count, _line(f"an example has no end {examples.place}"))
    causes = list(_causes(error))
    useless = any(isinstance(it, _USELESS) or _UNREADABLE.search(str(it)) for it in causes)
    place = f" ({examples.place})" if examples.place else ""
    return Finding(examples.count, _line(_words(error)) + place, useless)


def _causes(error: BaseException) -> Iterator[BaseException]:
    for leaf in leaves(error):
        yield leaf
        if leaf.__cause__ is not None:
            yield from _causes(leaf.__cause__)


def _words(error: BaseException) -> str:
    """Say which promise broke, or else what was raised."""
    found = next(iter(leaves(error)))
    for leaf in leaves(error):
        if isinstance(leaf, InvariantBroken):
            return f"invariant {leaf.number}, {leaf.name}: {leaf.words}"
        if isinstance(leaf, SimulationFailed):
            return leaf.broken[0]
        if isinstance(leaf, ContractBroken):
            return _contract_words(str(leaf))
    return f"{type(found).__name__}: {found}" if str(found) else type(found).__name__


def _contract_words(text: str) -> str:
    """Say which operation broke it, and how what came differs from what should have come."""
    operation = text.partition(" ")[0]
    differs = text.partition("  Differs:")[2].strip().partition("\n")[0]
    return f"{operation} breaks the contract: {differs}"


def _line(text: str) -> str:
    line = " ".join((text.strip().splitlines() or [""])[0].split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."
