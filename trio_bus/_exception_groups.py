"""Looking into exception groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard


def is_group(error: object) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    """Say whether it is a group; unlike ``isinstance``, with a type for what is inside."""
    return isinstance(error, BaseExceptionGroup)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what a group holds in the end; an error that is no group is its own leaf."""
    if is_group(error):
        for member in error.exceptions:
            yield from leaves(member)
    else:
        yield error
