"""Present a nursery that only one task may fail as plain code."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import trio

from ._exception_groups import leaves


@contextmanager
def one_error() -> Generator[None, None, None]:
    """Let the single error of a nursery come out as itself, with its context untouched.

    Use it where service tasks never raise and one piece of user code may: the layer that the
    nursery put around that error says nothing. If two tasks did fail, the group stays; pressing
    Ctrl-C again and again is one error.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        errors = [error for error in group.exceptions if not _is_all(trio.Cancelled, error)]
        if errors and _is_all(KeyboardInterrupt, *errors):
            errors = list(leaves(errors[0]))[:1]
        if len(errors) > 1:
            raise
        _raise_alone(errors[0] if errors else group.exceptions[0])


def _is_all(kind: type[BaseException], *errors: BaseException) -> bool:
    """Say whether there is nothing else in these errors."""
    return all(isinstance(leaf, kind) for error in errors for leaf in leaves(error))


def _raise_alone(error: BaseException) -> None:
    """Raise *error* without the context that raising it inside ``except`` adds."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context
