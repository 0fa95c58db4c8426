"""Making values that cannot be changed as fast as others."""

from __future__ import annotations

from typing import TypeVar, cast

import attrs

_T = TypeVar("_T")


def quick(frozen: type[_T]) -> type[_T]:
    """Return what makes instances of a frozen class in a third of the time.

    Such a class has to go around its own guard for each of its fields. Instances of a twin without
    one are filled as usual, and become instances of *frozen* then; which must have no slot for weak
    references, since Python compares only the slots of classes without. Each message needs four
    such values: that is a tenth of what it costs where they come in batches.
    """
    hard = cast("type[object]", frozen)

    def harden(self: object) -> None:
        self.__class__ = hard

    fields = {
        it.name: attrs.field(default=it.default, kw_only=it.kw_only, alias=it.alias)
        for it in attrs.fields(cast("type[attrs.AttrsInstance]", frozen))
    }
    body = {"__attrs_post_init__": harden}
    twin = attrs.make_class(
        frozen.__name__, fields, class_body=body, slots=True, eq=False, weakref_slot=False
    )
    return cast("type[_T]", twin)
