"""How a journal calls messages, and errors: the same way in every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from trio_bus._errors import OutcomeUnknown
from trio_bus._exception_groups import is_group
from trio_bus._headers import NO_HEADERS

from ._line import Pairs, What

if TYPE_CHECKING:
    from trio_bus._message import Message


def label_of(message: Message) -> str:
    """Return how the journal calls a message: its payload, as text, without spaces around."""
    return message.payload[:40].decode("utf-8", "backslashreplace").strip()


def kind_of(error: BaseException) -> str:
    """Say what an error is, the same way in every run; of a group, what its errors are."""
    name = type(error).__name__
    if is_group(error):
        return f"{name}({', '.join(kind_of(it) for it in error.exceptions)})"
    if isinstance(error, trio.Cancelled):
        return name  # its text has the address of a task
    return f"{name}: {error}" if str(error) else name


def headers_of(message: Message, metadata: Mapping[str, str] = NO_HEADERS) -> Pairs:
    """Return what a message says beside its payload; its own headers win."""
    return tuple(sorted({**metadata, **message.headers}.items()))


def kind_of_failure(error: BaseException) -> What:
    """Say what a publisher knows that got this error."""
    unknown = isinstance(error, OutcomeUnknown | trio.Cancelled)
    return What.UNKNOWN if unknown else What.REFUSED


def is_cancelled(error: BaseException) -> bool:
    """Say whether nothing but cancellations ended it."""
    if is_group(error):
        return all(is_cancelled(it) for it in error.exceptions)
    return not isinstance(error, Exception)
