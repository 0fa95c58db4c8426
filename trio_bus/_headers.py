"""Headers: the text that travels beside a payload."""

from collections.abc import Iterator, Mapping
from typing import cast

from ._errors import ValidationError
from ._names import check_text, shown

_RESERVED = frozenset({"retry-attempt", "retry-reason", "x-original-topic"})
_RESERVED_PREFIXES = ("dead-letter-", "trio-bus-")


class Headers(Mapping[str, str]):
    """An unchangeable mapping of header names to values.

    It equals every mapping with the same items, can be hashed and pickled, and keeps its order.
    Names are case-sensitive.
    """

    __slots__ = ("_items",)

    _items: dict[str, str]

    def __init__(self, items: Mapping[str, str]) -> None:
        """Copy *items*."""
        self._items = dict(items)

    def as_dict(self) -> dict[str, str]:
        """Return a copy that may be changed."""
        return self._items.copy()

    def __getitem__(self, name: str) -> str:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self._items == other._items
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"

    def __reduce__(self) -> tuple[type["Headers"], tuple[dict[str, str]]]:
        return Headers, (self._items,)


NO_HEADERS = Headers({})


def is_reserved(name: str) -> bool:
    """Tell whether only trio_bus, or the bus it grew out of, may write this header."""
    lowered = name.lower()
    return lowered in _RESERVED or lowered.startswith(_RESERVED_PREFIXES)


def refuse_reserved(headers: Headers, field: str = "headers") -> None:
    """Check that no reserved name is among *headers*.

    Raises:
      ValidationError: one is; the text names it.
    """
    for name in headers:
        if is_reserved(name):
            raise ValidationError(f"{field}: {shown(name)} is reserved")


def check_headers(value: object, field: str = "headers") -> Headers:
    """Return *value* as `Headers` that may be published.

    Raises:
      ValidationError: it is no mapping of str to str, or a name is empty or reserved.
    """
    if value is NO_HEADERS:  # nearly always
        return NO_HEADERS
    if not isinstance(value, Mapping):
        raise ValidationError(f"{field}: {shown(value)} is not a mapping")
    items = cast("Mapping[object, object]", value)
    if not items:
        return NO_HEADERS
    headers = Headers(
        {check_text(name, field): check_text(text, field) for name, text in items.items()}
    )
    if "" in headers:
        raise ValidationError(f"{field}: '' is no name of a header")
    refuse_reserved(headers, field)
    return headers
