"""Classes that tests of events read and write."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Final, Literal, NewType, TypeVar, Union
from uuid import UUID

import attrs
import cattrs
import msgspec
import pytest

from trio_bus import EventInvalid, EventType, EventUnion, Message

T = TypeVar("T")
Sku = NewType("Sku", str)


class Color(Enum):
    RED = "red"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> Color | None:
        if value == "broken":
            raise LookupError("a bug")
        if value == "deep":
            raise RecursionError
        return cls.OTHER if str(value).startswith("new") else None


class Size(IntEnum):
    SMALL = 1


@attrs.frozen
class Item:
    price: float
    sku: Sku = attrs.field(default=Sku("x"), validator=attrs.validators.max_len(5))


@dataclasses.dataclass(frozen=True)
class Order:
    number: int
    items: list[Item]
    parent: Order | None = None
    total: int = dataclasses.field(init=False, default=0)


def from_cents(value: str, _: object) -> Decimal:
    """Read what others count in cents."""
    return Decimal(value) / 100


def to_cents(amount: Decimal) -> int:
    """Write it."""
    return int(amount * 100)


@dataclasses.dataclass
class Kinds:
    """One field for each thing that can be nested."""

    text: str = "x"
    whole: Final[int] = 1
    real: float = 1.5
    flag: bool = True
    nothing: None = None
    raw: bytes = b"\x00\xff"
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    day: date = date(2026, 1, 2)
    hour: time = time(1, 2)
    lasting: timedelta = timedelta(seconds=1.5)
    uid: UUID = dataclasses.field(default_factory=lambda: UUID(int=7))
    amount: Decimal = Decimal("1.10")
    color: Color = Color.RED
    size: Size = Size.SMALL
    literal: Literal["a", 1, True, None] = True  # noqa: PYI061 - both forms are read
    anything: object = dataclasses.field(default_factory=lambda: {"a": [1]})
    whatever: object = None
    several: MutableSequence[int] = dataclasses.field(default_factory=lambda: [1])
    fixed: Sequence[int] = (1, 2)
    pair: tuple[int, str] = (1, "a")
    row: tuple[int, ...] = (1, 2, 3)
    empty: tuple[()] = ()
    tags: frozenset[str] = frozenset({"a"})
    some: AbstractSet[int] = frozenset({1})
    by_text: dict[str, Item] = dataclasses.field(default_factory=lambda: {"a": Item(1.0)})
    by_number: Mapping[int, str] = dataclasses.field(default_factory=lambda: {7: "x"})
    by_uid: dict[UUID, int] = dataclasses.field(default_factory=lambda: {UUID(int=1): 1})
    by_color: dict[Color, int] = dataclasses.field(default_factory=lambda: {Color.RED: 1})
    optional: float | None = None
    mixed: Union[int, str, list[int], None] = None  # noqa: UP007 - both forms are read
    instant: datetime | str = "no instant"
    noted: Annotated[int, "a note"] = 1
    renamed: Annotated[int, "a note", cattrs.override(rename="reNamed key")] = 0
    cents: Annotated[Decimal, cattrs.override(struct_hook=from_cents, unstruct_hook=to_cents)] = (
        Decimal("1.25")
    )
    left_out: Annotated[int, cattrs.override(omit=True)] = 5
    thing: Circle | Square | None = None


@attrs.frozen
class Circle:
    radius: float


@attrs.frozen
class Square:
    side: float


@attrs.define
class Node:
    _value: int
    nodes: list[Node] = attrs.Factory(list["Node"])


PLACED = EventType(Order, kind="order-placed")
KINDS = EventType(Kinds, kind="kinds")
NODE = EventType(Node, kind="node")


def message(payload: object, *, kind: str = "kinds", version: str | None = None) -> Message:
    """Return a message with this payload."""
    return Message("t", msgspec.json.encode(payload), kind=kind, event_version=version)


def order(**fields: object) -> dict[str, object]:
    """Return the JSON of an order."""
    return {"number": 7, "items": [], **fields}


def refused(event: EventType[T] | EventUnion[T], what: Message) -> str:
    """Return what the error says."""
    with pytest.raises(EventInvalid) as caught:
        event.load(what)
    return str(caught.value)
