"""Records as servers send them: names and values in turn."""

from collections.abc import Sequence

from ._settlement import Record

Words = list[bytes]
"""The fields of an entry: a name, its value, the next name and so on. Nobody changes it."""


def flat(record: Record) -> Words:
    """Return the same, flat."""
    return [word for field in record for word in field]


def pairs(words: Sequence[bytes]) -> Record:
    """Return the same, in pairs: there is a value for each name."""
    rest = iter(words)
    return tuple(zip(rest, rest, strict=True))
