"""Errors that say which topic they are about."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ._errors import WrongType
from ._names import shown


@contextmanager
def naming(topic: str) -> Generator[None, None, None]:
    """Let a `WrongType` of a server, which names no key, name the topic.

    Raises:
      WrongType: in place of one that was raised inside.
    """
    try:
        yield
    except WrongType as error:
        raise WrongType(f"{error}: topic {shown(topic)}") from error.__cause__
