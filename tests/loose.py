"""Classes without their types: for values that a type checker would refuse."""

from typing import Protocol, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Loose(Protocol[T_co]):
    """A callable that takes anything, as far as type checkers know."""

    def __call__(self, *args: object, **fields: object) -> T_co:
        """Call it."""
        ...


def loose(kind: type[T]) -> Loose[T]:
    """Forget what the constructor of *kind* takes."""
    return cast("Loose[T]", kind)
