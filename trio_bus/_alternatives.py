"""Classes of one union, told apart by what their JSON looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, cast, get_args, get_origin

from ._misfit import Misfit, missing
from ._structure import Field, bare, fields_of

Choose = Callable[[Mapping[str, object]], type]
"""Says of which class an object is, or raises `Misfit`."""


def told_apart(classes: list[type]) -> Choose | None:
    """Find what tells these classes apart; None if nothing does.

    That is a field which is a ``Literal`` in each of them, with other values; or fields that one
    of them demands and no other one has, where one class may have none of these.
    """
    fields = {kind: [it for it in fields_of(kind) if it.in_json] for kind in classes}
    for field in fields[classes[0]]:
        choose = _by_value(field.key, fields)
        if choose is not None:
            return choose
    return _by_fields(fields)


def _by_value(key: str, fields: dict[type, list[Field]]) -> Choose | None:
    known: dict[tuple[type, object], type] = {}  # with its type, since True is equal to 1
    for kind, its in fields.items():
        said = [value for field in its if field.key == key for value in _literals(field.kind)]
        marks = {(type(value), value) for value in said}
        if not marks.isdisjoint(known) or not marks:
            return None
        known |= dict.fromkeys(marks, kind)

    def choose(data: Mapping[str, object]) -> type:
        if key not in data:
            raise missing(key)
        for (kind, value), stands_for in known.items():
            if type(data[key]) is kind and data[key] == value:
                return stands_for
        raise _neither(fields, data)

    return choose


def _literals(kind: object) -> tuple[object, ...]:
    kind = bare(kind)
    return cast("tuple[object, ...]", get_args(kind)) if get_origin(kind) is Literal else ()


def _by_fields(fields: dict[type, list[Field]]) -> Choose | None:
    own = {kind: _own(kind, fields) for kind in fields}
    rest = [kind for kind, keys in own.items() if not keys]
    if len(rest) > 1:
        return None

    def choose(data: Mapping[str, object]) -> type:
        for kind in [kind for kind, keys in own.items() if not keys.isdisjoint(data)] + rest:
            return kind
        raise _neither(fields, data)

    return choose


def _own(kind: type, fields: dict[type, list[Field]]) -> set[str]:
    """Name what this class demands, and no other one has."""
    keys = {field.key for field in fields[kind] if field.required}
    return keys - {field.key for other in fields if other is not kind for field in fields[other]}


def _neither(fields: dict[type, list[Field]], data: Mapping[str, object]) -> Misfit:
    return Misfit(f"is none of {', '.join(kind.__name__ for kind in fields)}", data)
