"""What JSON looks like that a Python type is read from; the simple types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import TypeGuard, cast
from uuid import UUID

import attrs
import msgspec

from ._errors import ValidationError
from ._misfit import Misfit, told
from ._names import shown

Read = Callable[[object], object]

NOT_JSON = (msgspec.MsgspecError, ValueError)
"""What msgspec raises at wrong input; the first one is a ValueError in newer versions only."""
EVERY_KIND: frozenset[type] = frozenset({NoneType, bool, int, float, str, list, dict})
"""What decoded JSON is made of."""
_TEXT: frozenset[type] = frozenset({str})


@attrs.frozen
class Shape:
    """How one type is read."""

    read: Read
    """Makes a value of decoded JSON, or raises `Misfit`."""
    kinds: frozenset[type]
    """Of what types the decoded JSON can be."""
    name: str
    """What an error calls it."""


def _simple(kind: type, kinds: frozenset[type], name: str) -> Shape:
    def read(value: object) -> object:
        try:
            return cast("object", msgspec.convert(value, kind))
        except NOT_JSON as error:
            raise Misfit(f"is not {name}", value) from error

    return Shape(read, kinds, name)


def _finite(value: object) -> object:
    """Read a Decimal that can be counted with."""
    number = _ANY_DECIMAL.read(value)
    if not cast("Decimal", number).is_finite():
        raise Misfit(f"is not {_ANY_DECIMAL.name}", value)
    return number


_ANY_DECIMAL = _simple(Decimal, frozenset({str, int, float}), "a decimal number")

SIMPLE: dict[object, Shape] = {
    object: Shape(lambda value: value, EVERY_KIND, "anything"),
    NoneType: _simple(NoneType, frozenset({NoneType}), "null"),
    bool: _simple(bool, frozenset({bool}), "true or false"),
    int: _simple(int, frozenset({int}), "a whole number"),
    float: _simple(float, frozenset({int, float}), "a number"),
    str: _simple(str, _TEXT, "text"),
    bytes: _simple(bytes, _TEXT, "bytes in base64"),
    datetime: _simple(datetime, _TEXT, "a date and time of RFC 3339"),
    date: _simple(date, _TEXT, "a date"),
    time: _simple(time, _TEXT, "a time of day"),
    timedelta: _simple(timedelta, _TEXT, "a duration of ISO 8601"),
    UUID: _simple(UUID, _TEXT, "a UUID"),
    Decimal: attrs.evolve(_ANY_DECIMAL, read=_finite),
}
"""The types that are read from one JSON value."""


def _read_whole_number_in_text(value: object) -> object:
    try:
        return msgspec.convert(value, int, strict=False)
    except NOT_JSON as error:
        raise Misfit("is not a whole number in text", value) from error


WHOLE_NUMBER_IN_TEXT = Shape(_read_whole_number_in_text, _TEXT, "a whole number in text")
"""How keys are read that are whole numbers: keys of JSON are text."""


def is_enum(kind: object) -> TypeGuard[type[Enum]]:
    """Tell whether it is an enum."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def enum_shape(kind: type[Enum], where: str) -> Shape:
    """Read a member of an enum by its value; a ``_missing_`` of the enum is asked."""
    values = [cast("object", member.value) for member in kind]
    if not all(type(value) in {int, str} for value in values):
        raise ValidationError(f"{where}: {shown(kind)} has values that are not int or str")
    name = _one_of(values)

    def read(value: object) -> object:
        if type(value) not in {int, str}:  # True would be 1
            raise Misfit(f"is not {name}", value)
        try:
            return kind(value)
        except (RecursionError, MemoryError):
            raise
        except Exception as error:
            raise Misfit(f"is not {name}", value) from error

    return Shape(read, frozenset(type(value) for value in values) or _TEXT, name)


def literal_shape(values: tuple[object, ...], where: str) -> Shape:
    """Read one of the values of a Literal."""
    if not all(type(value) in {int, str, bool, NoneType} for value in values):
        raise ValidationError(f"{where}: {shown(values)} are not all text, int, bool or None")
    name = _one_of(values)

    def read(value: object) -> object:
        for known in values:
            if type(known) is type(value) and known == value:
                return known
        raise Misfit(f"is not {name}", value)

    return Shape(read, frozenset(type(value) for value in values), name)


def guarded(read: Read) -> Read:
    """Make what code of others raises a misfit of the value that it was given."""

    def guard(value: object) -> object:
        try:
            return read(value)
        except (Misfit, RecursionError, MemoryError):
            raise
        except Exception as error:
            raise Misfit(f"does not fit: {told(error)}", value) from error

    return guard


def _one_of(values: Iterable[object]) -> str:
    text = ", ".join(shown(value) for value in values)
    return f"one of {text[:200]}"
