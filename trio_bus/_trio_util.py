"""The part of trio-util that we use, with the types that it does not declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Generic, TypeVar

    T = TypeVar("T")

    class AsyncValue(Generic[T]):
        """A value that tasks can wait for."""

        value: T

        def __init__(self, value: T) -> None: ...

        async def wait_value(self, value_or_predicate: T | Callable[[T], bool], /) -> T:
            """Wait until the value is this one, or one that the predicate accepts."""
            ...

else:
    from trio_util import AsyncValue

__all__ = ["AsyncValue"]
