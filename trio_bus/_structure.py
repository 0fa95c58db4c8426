"""Attrs classes and dataclasses, looked at in one way."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any, Final, NewType, TypeGuard, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.gen._consts import AttributeOverride

from ._errors import ValidationError
from ._misfit import told
from ._names import shown


@attrs.frozen
class Field:
    """One field, as JSON has it."""

    name: str
    kind: object
    required: bool
    override: AttributeOverride
    """What ``Annotated[..., cattrs.override(...)]`` says about it."""

    @property
    def in_json(self) -> bool:
        """Whether it is not left out."""
        return not self.override.omit

    @property
    def key(self) -> str:
        """The key in JSON."""
        return self.override.rename or self.name


def is_structure(kind: object) -> TypeGuard[type]:
    """Tell whether it is an attrs class or a dataclass."""
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind))


def bare(kind: object) -> object:
    """Return the type that a name, or a note, stands for."""
    if kind is Any:
        return object
    if get_origin(kind) in {Annotated, Final}:
        return bare(cast("object", get_args(kind)[0]))
    if isinstance(kind, NewType):
        return bare(cast("object", kind.__supertype__))
    if type(kind).__name__ == "TypeAliasType":  # ``type Name = ...``, from Python 3.12 on
        return bare(cast("object", getattr(kind, "__value__")))  # noqa: B009
    return kind


def fields_of(kind: type) -> list[Field]:
    """Return the fields that are arguments, with those that are left out of JSON.

    Raises:
      ValidationError: an annotation names something that cannot be found.
    """
    try:
        return _attrs_fields(kind) if attrs.has(kind) else _dataclass_fields(kind)
    except Exception as error:  # annotations in text are code, which may raise anything
        raise ValidationError(f"cls: {shown(kind)}: {told(error)}") from error


def _attrs_fields(kind: type[attrs.AttrsInstance]) -> list[Field]:
    attrs.resolve_types(kind)
    return [
        Field(
            field.name,
            cast("object", field.type),
            field.default is attrs.NOTHING,
            _said(field.type),
        )
        for field in attrs.fields(kind)
        if field.init
    ]


def _dataclass_fields(kind: type) -> list[Field]:
    hints = typing.get_type_hints(kind, include_extras=True)
    found: list[Field] = []
    for field in dataclasses.fields(kind):
        # As attrs does it: who writes the payload looks here too.
        field.type = hints[field.name]
        if field.init:
            nothing = dataclasses.MISSING
            required = field.default is nothing and field.default_factory is nothing
            found.append(Field(field.name, cast("object", field.type), required, _said(field.type)))
    return found


def _said(kind: object) -> AttributeOverride:
    if get_origin(kind) is Annotated:
        for said in cast("tuple[object, ...]", get_args(kind)):
            if isinstance(said, AttributeOverride):
                return said
    return cattrs.override()
