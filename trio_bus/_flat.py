"""Records as servers send them: names and values in turn."""

from ._settlement import Record

Words = tuple[bytes, ...]
"""The fields of an entry: a name, its value, the next name and so on."""


def flat(record: Record) -> Words:
    """Return the same, flat."""
    return tuple([word for field in record for word in field])


def pairs(words: Words) -> Record:
    """Return the same, in pairs: there is a value for each name."""
    rest = iter(words)
    return tuple(zip(rest, rest, strict=True))
