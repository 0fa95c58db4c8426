"""Objects of attrs classes and dataclasses, written as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, cast

import msgspec
from cattrs.gen import make_dict_unstructure_fn
from cattrs.preconf.msgspec import make_converter

from ._misfit import Misfit, step
from ._names import shown
from ._structure import fields_of, is_structure

converter = make_converter(detailed_validation=False)


class _Generate(Protocol):
    """What a function of cattrs is here: it takes overrides by the names of fields."""

    def __call__(
        self, cl: type, converter: object, /, **options: object
    ) -> Callable[[object], object]: ...


@converter.register_unstructure_hook_factory(is_structure)
def _written(kind: type) -> Callable[[object], object]:
    """Write it as it is read; msgspec would pass over overrides, and over private fields."""
    generate = cast("_Generate", make_dict_unstructure_fn)
    return generate(kind, converter, **{field.name: field.override for field in fields_of(kind)})


def write(obj: object, kind: type) -> bytes:
    """Write an object.

    Raises:
      Misfit: it holds a number that JSON does not have, where msgspec would write null.
      Exception: anything else that cannot be written.
    """
    plain = cast("object", converter.unstructure(obj, unstructure_as=kind))
    payload = msgspec.json.encode(plain)
    if b"null" in payload:
        _refuse_infinity(plain)
    return payload


def _refuse_infinity(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit("is no number of JSON", value)
    for where, inner in _inside(value):
        try:
            _refuse_infinity(inner)
        except Misfit as misfit:
            misfit.inside(where)
            raise


def _inside(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return [(step(key) if isinstance(key, str) else f"[{shown(key)}]", it) for key, it in pairs]
    if isinstance(value, list | tuple | set | frozenset):
        items = enumerate(cast("Iterable[object]", value))
        return [(f"[{index}]", item) for index, item in items]
    return []
