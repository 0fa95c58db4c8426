"""Validators of scenarios: each names the field and the value from which nothing can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import attrs

from trio_bus._checks import Validator
from trio_bus._errors import ValidationError
from trio_bus._names import check_group, shown

_T = TypeVar("_T")


def each(check: Validator) -> Validator:
    """Accept tuples of what *check* accepts."""
    check_one = cast("Callable[[object, object, object], None]", check)

    def check_all(instance: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not isinstance(value, tuple):
            raise ValidationError(f"{field.name}: {shown(value)} is not a tuple")
        for item in cast("tuple[object, ...]", value):
            check_one(instance, field, item)

    return check_all


def some(check: Validator) -> Validator:
    """Accept tuples that are not empty, of what *check* accepts."""

    def check_some(instance: object, field: attrs.Attribute[_T], value: _T) -> None:
        each(check)(instance, field, value)
        if not value:
            raise ValidationError(f"{field.name}: there is nothing to choose from")

    return check_some


def numbers(minimum: int) -> Validator:
    """Accept the least and the most of whole numbers from *minimum* on."""

    def check(_: object, field: attrs.Attribute[_T], value: _T) -> None:
        if not _are_in_order(value, minimum):
            wanted = f"the least and the most of whole numbers from {minimum} on"
            raise ValidationError(f"{field.name}: {shown(value)} is not {wanted}")

    return check


def _are_in_order(value: object, minimum: int) -> bool:
    match value:
        case (int(least), int(most)):
            return minimum <= least <= most
        case _:
            return False


def group(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    """Accept names of groups."""
    check_group(value, field.name)


def check_seed(seed: object) -> None:
    """Raise a `ValidationError` unless it is a whole number from 0 on."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValidationError(f"seed: {shown(seed)} is not a whole number from 0 on")
