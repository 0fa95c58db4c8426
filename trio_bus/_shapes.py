"""The shapes of whole classes, and of all that is nested in them."""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import UnionType
from typing import Literal, Protocol, Union, cast, get_args, get_origin

import cattrs
from cattrs.gen import make_dict_structure_fn
from cattrs.gen._consts import AttributeOverride

from ._alternatives import told_apart
from ._errors import ValidationError
from ._misfit import Misfit, missing, step
from ._names import shown
from ._shape import (
    EVERY_KIND,
    SIMPLE,
    WHOLE_NUMBER_IN_TEXT,
    Read,
    Shape,
    enum_shape,
    guarded,
    is_enum,
    literal_shape,
)
from ._structure import Field, bare, fields_of, is_structure
from ._writing import converter

_ARRAY, _OBJECT = frozenset({list}), frozenset({dict})
_Make = Callable[[list[object]], object]
_MAKERS: dict[object, _Make] = {
    list: list,
    abc.MutableSequence: list,
    abc.Sequence: tuple,
    set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
    abc.Set: frozenset,
}
_MAPPINGS = {dict, abc.Mapping, abc.MutableMapping}


class Shapes:
    """Finds out how types are read, once for each class."""

    def __init__(self) -> None:
        self._structures: dict[type, Shape] = {}
        self._reads: dict[type, Read] = {}

    def of(self, kind: object, where: str) -> Shape:
        """Return the shape of a type.

        Args:
          kind: A type, as annotations write it.
          where: Who asks for it, for errors.

        Raises:
          ValidationError: JSON cannot be read as that.
        """
        kind = bare(kind)
        if not _is_hashable(kind):
            raise ValidationError(f"{where}: {shown(kind)} is not a type")
        if kind in SIMPLE:
            return SIMPLE[kind]
        if is_structure(kind):
            return self._structure(kind)
        if is_enum(kind):
            return enum_shape(kind, where)
        return self._composed(kind, where)

    def _composed(self, kind: object, where: str) -> Shape:
        origin = get_origin(kind) or kind
        args = cast("tuple[object, ...]", get_args(kind))
        if origin is Literal:
            return literal_shape(args, where)
        if origin in {Union, UnionType}:
            return self._union(args, where)
        if origin in _MAKERS:
            return self._array(_MAKERS[origin], self.of(args[0] if args else object, where))
        if origin in _MAPPINGS:
            return self._mapping(args or (str, object), where)
        if origin is tuple:
            return self._tuple((object, ...) if kind is tuple else args, where)
        raise ValidationError(f"{where}: {shown(kind)} cannot be read from JSON")

    def _structure(self, kind: type) -> Shape:
        if kind not in self._structures:
            # In its place before its fields are looked at: they may hold the class itself.
            self._structures[kind] = Shape(self._later(kind), _OBJECT, "an object")
            self._reads[kind] = self._read_structure(kind)
        return self._structures[kind]

    def _later(self, kind: type) -> Read:
        def read(value: object) -> object:
            return self._reads[kind](value)

        return read

    def _read_structure(self, kind: type) -> Read:
        fields = fields_of(kind)
        hooks = {field.name: self._hook(kind, field) for field in fields}
        required = [field.key for field in fields if field.required and field.in_json]
        made = guarded(_made(kind, hooks))

        def read(value: object) -> object:
            if not isinstance(value, Mapping):
                raise Misfit("is not an object", value)
            for key in required:
                if key not in value:
                    raise missing(key)
            return made(cast("object", value))

        return read

    def _hook(self, kind: type, field: Field) -> AttributeOverride:
        if not field.in_json:
            return field.override
        read, where = self._read_field(kind, field), step(field.key)

        def hook(value: object, _: object) -> object:
            try:
                return read(value)
            except Misfit as misfit:
                misfit.inside(where)
                raise

        return cattrs.override(rename=field.override.rename, struct_hook=hook)

    def _read_field(self, kind: type, field: Field) -> Read:
        own = field.override.struct_hook
        if own is None:
            return self.of(field.kind, f"{kind.__name__}.{field.name}").read
        return guarded(lambda value: cast("object", own(value, field.kind)))

    def _array(self, make: _Make, item: Shape) -> Shape:
        # What is to be a member of a set may have no hash.
        made = guarded(lambda value: make(cast("list[object]", value)))

        def read(value: object) -> object:
            return made([_member(item, index, each) for index, each in enumerate(_array(value))])

        return Shape(read, _ARRAY, "an array")

    def _tuple(self, args: tuple[object, ...], where: str) -> Shape:
        if len(args) == 2 and args[1] is ...:
            return self._array(tuple, self.of(args[0], where))
        shapes = [self.of(arg, where) for arg in args]

        def read(value: object) -> object:
            values = _array(value)
            if len(values) != len(shapes):
                raise Misfit(f"is not an array of {len(shapes)}", value)
            pairs = zip(shapes, values, strict=True)
            return tuple(_member(shape, at, each) for at, (shape, each) in enumerate(pairs))

        return Shape(read, _ARRAY, "an array")

    def _mapping(self, args: tuple[object, ...], where: str) -> Shape:
        key_kind, value_kind = args
        keys = WHOLE_NUMBER_IN_TEXT if bare(key_kind) is int else self.of(key_kind, where)
        values = self.of(value_kind, where)
        if str not in keys.kinds:
            raise ValidationError(f"{where}: keys of JSON are text, not {keys.name}")

        def item(key: object, value: object) -> tuple[object, object]:
            try:
                return keys.read(key), values.read(value)
            except Misfit as misfit:
                misfit.inside(f"[{shown(key)}]")
                raise

        def read(value: object) -> object:
            if not isinstance(value, Mapping):
                raise Misfit("is not an object", value)
            pairs = cast("Mapping[object, object]", value).items()
            return dict(item(key, each) for key, each in pairs)

        return Shape(read, _OBJECT, "an object")

    def _union(self, args: tuple[object, ...], where: str) -> Shape:
        kinds = list(_flat(args))
        classes = [kind for kind in kinds if is_structure(kind)]
        others: set[object] = set(classes[1:])
        shapes = [self.of(kind, where) for kind in kinds if kind not in others]
        if len(classes) > 1:
            shapes[kinds.index(classes[0])] = self._told_apart(classes, where)
        fitting = {kind: [it for it in shapes if kind in it.kinds] for kind in EVERY_KIND}
        name = " or ".join(shape.name for shape in shapes)

        def read(value: object) -> object:
            candidates = fitting.get(type(value), [])
            if len(candidates) == 1:
                return candidates[0].read(value)
            for candidate in candidates:
                with suppress(Misfit):
                    return candidate.read(value)
            raise Misfit(f"is not {name}", value)

        return Shape(read, frozenset[type]().union(*(shape.kinds for shape in shapes)), name)

    def _told_apart(self, classes: list[type], where: str) -> Shape:
        choose = told_apart(classes)
        if choose is None:
            raise ValidationError(f"{where}: nothing tells {shown(classes)} apart")
        shapes = {kind: self.of(kind, where) for kind in classes}

        def read(value: object) -> object:
            data = cast("dict[str, object]", value)
            return shapes[choose(data)].read(data)

        return Shape(read, _OBJECT, "an object")


class _Generate(Protocol):
    """What a function of cattrs is here: it takes overrides by the names of fields."""

    def __call__(
        self, cl: type, converter: object, /, **options: object
    ) -> Callable[[object, type], object]: ...


def _made(kind: type, hooks: dict[str, AttributeOverride]) -> Read:
    generate = cast("_Generate", make_dict_structure_fn)
    make = generate(
        kind, converter, _cattrs_forbid_extra_keys=False, _cattrs_detailed_validation=False, **hooks
    )
    return lambda value: make(value, kind)


def _is_hashable(kind: object) -> bool:
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def _flat(args: tuple[object, ...]) -> Iterator[object]:
    """Yield what a union is of, and the unions in it that have a name."""
    for kind in map(bare, args):
        if get_origin(kind) in {Union, UnionType}:
            yield from _flat(get_args(kind))
        else:
            yield kind


def _array(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Misfit("is not an array", value)
    return cast("list[object]", value)


def _member(shape: Shape, index: int, value: object) -> object:
    try:
        return shape.read(value)
    except Misfit as misfit:
        misfit.inside(f"[{index}]")
        raise
