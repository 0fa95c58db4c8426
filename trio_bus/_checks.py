"""Validators of settings: each names the field and the value that cannot work."""

import math
from inspect import iscoroutinefunction
from typing import Protocol, TypeGuard, TypeVar, cast

import attrs

from ._errors import ValidationError
from ._names import shown

MAX_SECONDS = 1e9
"""About 31 years: a longer time is a mistake, and servers count milliseconds in 64 bits."""
MAX_COUNT = 2**31 - 1

_T = TypeVar("_T")


class Validator(Protocol):
    """What attrs calls with a value; ours look at values of every type."""

    def __call__(self, instance: object, field: "attrs.Attribute[_T]", value: _T, /) -> None:
        """Raise a `ValidationError` if the value cannot work."""
        ...


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether *value* is an int or a float, NaN excepted; a bool is neither."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return not (isinstance(value, float) and math.isnan(value))


def number(minimum: float, maximum: float, *, above: bool = False) -> Validator:
    """Accept numbers from *minimum* (with *above*: beyond it) to *maximum*."""

    def check(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
        if not is_number(value):
            raise ValidationError(f"{field.name}: {shown(value)} is not a number")
        if not minimum <= value <= maximum or (above and value == minimum):
            least = f"above {minimum}" if above else f"at least {minimum}"
            raise ValidationError(
                f"{field.name}: {shown(value)} is not {least} and at most {maximum:g}"
            )

    return check


def seconds(minimum: float = 0.0, *, above: bool = False, endless: bool = False) -> Validator:
    """Accept durations; *endless* ones may be infinite."""
    finite = number(minimum, MAX_SECONDS, above=above)

    def check(instance: object, field: "attrs.Attribute[_T]", value: _T) -> None:
        if not (endless and isinstance(value, float) and value == math.inf):
            finite(instance, field, value)

    return check


def count(minimum: int) -> Validator:
    """Accept whole numbers from *minimum* to 2**31 - 1."""

    def check(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError(f"{field.name}: {shown(value)} is not a whole number")
        if not minimum <= value <= MAX_COUNT:
            raise ValidationError(
                f"{field.name}: {shown(value)} is not at least {minimum} and at most {MAX_COUNT}"
            )

    return check


def one_of(kind: type) -> Validator:
    """Accept instances of *kind*."""

    def check(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
        if not isinstance(value, kind):
            raise ValidationError(f"{field.name}: {shown(value)} is not of type {kind.__name__}")

    return check


def optional(check: Validator) -> Validator:
    """Accept None too."""

    def check_some(instance: object, field: "attrs.Attribute[_T]", value: _T) -> None:
        if value is not None:
            check(instance, field, value)

    return check_some


def methods(*names: str) -> Validator:
    """Accept objects that have these methods."""

    def check(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
        if isinstance(value, type):
            raise ValidationError(f"{field.name}: {shown(value)} is a class, not an object of it")
        missing = [name for name in names if not callable(getattr(value, name, None))]
        if missing:
            raise ValidationError(f"{field.name}: {shown(value)} has no {' and no '.join(missing)}")

    return check


def credential_provider(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
    """Accept what has a method ``get_credentials``; do not show what it is: that may be secret."""
    kind = type(value)
    if kind is type or not callable(getattr(value, "get_credentials", None)):
        raise ValidationError(
            f"{field.name}: a {kind.__name__} is not an object with a method get_credentials"
        )


def plain_function(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
    """Accept what can be called and answers at once; not what is ``async``."""
    if isinstance(value, type) or not callable(value):
        raise ValidationError(f"{field.name}: {shown(value)} is not a function")
    if iscoroutinefunction(value) or iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004 - what the call would run
        raise ValidationError(f"{field.name}: {shown(value)} is async, and would not be awaited")


def error_types(_: object, field: "attrs.Attribute[_T]", value: _T) -> None:
    """Accept tuples of subclasses of Exception."""
    if not isinstance(value, tuple):
        raise ValidationError(f"{field.name}: {shown(value)} is not a tuple of exception types")
    for kind in cast("tuple[object, ...]", value):
        if not _is_error_type(kind):
            raise ValidationError(f"{field.name}: {shown(kind)} is not a type of Exception")


def _is_error_type(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)
