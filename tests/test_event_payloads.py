"""Payloads of events: what is written is read, what does not fit is named by its path."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Generic, Literal, cast
from uuid import UUID

import attrs
import pytest

from tests.event_classes import (
    KINDS,
    NODE,
    PLACED,
    Circle,
    Color,
    Item,
    Kinds,
    Node,
    Order,
    Square,
    T,
    message,
    order,
    refused,
)
from trio_bus import EventType, Message, ValidationError


@pytest.mark.parametrize(
    "event",
    [
        Kinds(),
        Kinds(real=2, literal=None, mixed=[1], instant=datetime(2026, 1, 2)),  # noqa: DTZ001
        Kinds(mixed="a", thing=Circle(1.0), optional=0.5, color=Color.OTHER),
        Kinds(mixed=1, thing=Square(2.0), literal="a"),
    ],
)
def test_all_kinds_of_fields_are_read_as_they_were(event: Kinds) -> None:
    assert KINDS.load(KINDS.message(event, topic="t")) == event


def made(kind: object) -> type:
    """Return a dataclass with a field of that type."""
    return dataclasses.make_dataclass("Odd", [("field", cast("type", kind))])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Any, [1, {"a": None}]),
        (object, [1, {"a": None}]),
        (list, [1, "a"]),
        (tuple, (1, "a")),
        (set, {1, "a"}),
        (Sequence, (1, "a")),
        (dict, {"a": [1]}),
        (Mapping, {"a": [1]}),
    ],
)
def test_what_names_no_types_takes_all_that_json_can_say(kind: object, value: object) -> None:
    cls = made(kind)
    event: EventType[object] = EventType(cls, kind="kinds")
    assert event.load(message({"field": value})) == cls(value)
    if kind is set:
        said = refused(event, message({"field": [[1]]}))
        assert said.startswith("$.field: [[1]] does not fit: TypeError: ")


def test_private_fields_and_recursion_are_no_exception() -> None:
    tree = Node(1, [Node(2, [Node(3)]), Node(4)])
    sent = NODE.message(tree, topic="t")
    assert sent.payload.count(b"_value") == 4
    assert NODE.load(sent) == tree


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"text": 1}, "$.text: 1 is not text"),
        ({"text": None}, "$.text: None is not text"),
        ({"whole": "7"}, "$.whole: '7' is not a whole number"),
        ({"whole": True}, "$.whole: True is not a whole number"),
        ({"whole": 1.5}, "$.whole: 1.5 is not a whole number"),
        ({"real": "x"}, "$.real: 'x' is not a number"),
        ({"real": False}, "$.real: False is not a number"),
        ({"flag": 1}, "$.flag: 1 is not true or false"),
        ({"nothing": 0}, "$.nothing: 0 is not null"),
        ({"raw": "?"}, "$.raw: '?' is not bytes in base64"),
        ({"at": "yesterday"}, "$.at: 'yesterday' is not a date and time of RFC 3339"),
        ({"at": 0}, "$.at: 0 is not a date and time of RFC 3339"),
        ({"day": "2026-02-30"}, "$.day: '2026-02-30' is not a date"),
        ({"hour": "25:00"}, "$.hour: '25:00' is not a time of day"),
        ({"lasting": "P1Y"}, "$.lasting: 'P1Y' is not a duration of ISO 8601"),
        ({"uid": "7"}, "$.uid: '7' is not a UUID"),
        ({"amount": "1,5"}, "$.amount: '1,5' is not a decimal number"),
        ({"amount": "NaN"}, "$.amount: 'NaN' is not a decimal number"),
        ({"color": "green"}, "$.color: 'green' is not one of 'red', 'other'"),
        ({"color": ["red"]}, "$.color: ['red'] is not one of 'red', 'other'"),
        ({"color": "broken"}, "$.color: 'broken' is not one of 'red', 'other'"),
        ({"size": True}, "$.size: True is not one of 1"),
        ({"literal": False}, "$.literal: False is not one of 'a', 1, True, None"),
        ({"several": {}}, "$.several: {} is not an array"),
        ({"several": [1, 2, "x"]}, "$.several[2]: 'x' is not a whole number"),
        ({"fixed": [None]}, "$.fixed[0]: None is not a whole number"),
        ({"pair": [1]}, "$.pair: [1] is not an array of 2"),
        ({"pair": [1, 2]}, "$.pair[1]: 2 is not text"),
        ({"pair": "ab"}, "$.pair: 'ab' is not an array"),
        ({"row": ["x"]}, "$.row[0]: 'x' is not a whole number"),
        ({"empty": [1]}, "$.empty: [1] is not an array of 0"),
        ({"tags": [7]}, "$.tags[0]: 7 is not text"),
        ({"by_text": []}, "$.by_text: [] is not an object"),
        ({"by_text": {"two words": 5}}, "$.by_text['two words']: 5 is not an object"),
        ({"by_text": {"a": {}}}, "$.by_text['a'].price: is missing"),
        ({"by_number": {"x": "x"}}, "$.by_number['x']: 'x' is not a whole number in text"),
        ({"by_number": {"1": 5}}, "$.by_number['1']: 5 is not text"),
        ({"by_uid": {"x": 1}}, "$.by_uid['x']: 'x' is not a UUID"),
        ({"by_color": {"green": 1}}, "$.by_color['green']: 'green' is not one of 'red', 'other'"),
        ({"optional": "x"}, "$.optional: 'x' is not a number or null"),
        ({"mixed": 1.5}, "$.mixed: 1.5 is not a whole number or text or an array or null"),
        ({"mixed": ["x"]}, "$.mixed[0]: 'x' is not a whole number"),
        ({"reNamed key": "x"}, "$['reNamed key']: 'x' is not a whole number"),
        ({"cents": "x"}, "$.cents: 'x' does not fit: InvalidOperation: "),
        ({"thing": 1}, "$.thing: 1 is not an object or null"),
        ({"thing": {"radius": "x"}}, "$.thing.radius: 'x' is not a number"),
        ({"thing": {"edge": 1}}, "$.thing: {'edge': 1} is none of Circle, Square"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_by_its_path(fields: dict[str, object], text: str) -> None:
    said = refused(KINDS, message(fields))
    assert said.startswith(text) if text.endswith(": ") else said == text


def test_the_path_leads_through_all_that_is_nested() -> None:
    items = [{"price": 1}, {"price": 2}, {"price": "x"}]
    wrong = order(parent=order(items=items))
    said = refused(PLACED, message(wrong, kind="order-placed"))
    assert said == "$.parent.items[2].price: 'x' is not a number"


def test_what_is_missing_is_named_and_what_is_unknown_passed_over() -> None:
    assert refused(PLACED, message({"items": []}, kind="order-placed")) == "$.number: is missing"
    assert refused(PLACED, message([], kind="order-placed")) == "$: [] is not an object"
    more = order(items=[{"price": 1, "colour": "red"}], later=True)
    assert PLACED.load(message(more, kind="order-placed")) == Order(7, [Item(1.0)])


def test_validators_of_the_class_have_a_say() -> None:
    wrong = order(items=[{"price": 1, "sku": "123456"}])
    said = refused(PLACED, message(wrong, kind="order-placed"))
    assert said.startswith("$.items[0]: {'price': 1, 'sku': '123456'} does not fit: ValueError: ")


def test_an_enum_may_read_what_it_does_not_know() -> None:
    assert KINDS.load(message({"color": "new-1"})).color is Color.OTHER


def test_a_union_takes_the_first_alternative_that_fits() -> None:
    assert KINDS.load(message({"instant": "2026-01-02T00:00:00Z"})).instant == datetime(
        2026, 1, 2, tzinfo=UTC
    )
    assert KINDS.load(message({"instant": "soon"})).instant == "soon"

    @dataclasses.dataclass
    class When:
        at: datetime | UUID

    said = refused(EventType(When, kind="kinds"), message({"at": "soon"}))
    assert said == "$.at: 'soon' is not a date and time of RFC 3339 or a UUID"


HOSTILE = {
    "deep": (b"[" * 100_000, "payload: it nests too deeply"),
    "deep and whole": (
        b'{"_value":1,"nodes":[' * 450 + b"5" + b"]}" * 450,
        "payload: it nests too deeply",
    ),
    "digits": (b'{"_value":' + b"1" * 5000 + b"}", "payload: it is not JSON: "),
    "NaN": (b'{"_value":NaN}', "payload: it is not JSON: "),
    "infinity": (b'{"_value":-Infinity}', "payload: it is not JSON: "),
    "exponent": (b'{"_value":1e999}', "payload: it is not JSON: "),
    "surrogate": (rb'{"_value":"\ud800"}', "payload: it is not JSON: "),
    "no UTF-8": (b'{"_value":"\xff"}', "payload: it is not JSON: "),
    "BOM": (b'\xef\xbb\xbf{"_value":1}', "payload: it is not JSON: "),
    "UTF-16": ('{"_value":1}'.encode("utf-16"), "payload: it is not JSON: "),
    "nothing": (b"", "payload: it is not JSON: "),
    "more": (b'{"_value":1} {}', "payload: it is not JSON: "),
    "long text": (b'{"_value":"' + b"x" * 100_000 + b'"}', "$._value: 'xxx"),
    "control": (rb'{"_value":"\u001b[0m\n"}', r"$._value: '\x1b[0m\n' is not"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_refused_in_few_words(name: str) -> None:
    payload, text = HOSTILE[name]
    said = refused(NODE, Message("t", payload, kind="node"))
    assert said.startswith(text)
    assert len(said) < 400
    assert said.isprintable()


def test_a_very_wrong_payload_costs_one_error() -> None:
    """Not one for each of its items."""
    said = refused(PLACED, message(order(items=[0] * 100_000), kind="order-placed"))
    assert said == "$.items[0]: 0 is not an object"


def test_a_long_path_is_cut() -> None:
    said = refused(
        NODE, Message("t", b'{"_value":1,"nodes":[' * 50 + b"5" + b"]}" * 50, kind="node")
    )
    assert said.endswith("odes[0]: 5 is not an object")
    assert len(said) < 300


def test_of_keys_that_are_there_twice_the_last_one_counts() -> None:
    assert NODE.load(Message("t", b'{"_value":1,"_value":2}', kind="node")) == Node(2)


@attrs.frozen
class Small:
    size: Literal["S", 1]


@attrs.frozen
class Large:
    size: Literal["L", True]
    weight: int = 0


@attrs.frozen
class Empty:
    pass


@dataclasses.dataclass
class Parcel:
    inside: Small | Large
    around: Circle | Square | Empty | None = None


@pytest.mark.parametrize("inside", [Small("S"), Small(1), Large("L"), Large(size=True)])
@pytest.mark.parametrize("around", [None, Empty(), Circle(1.0), Square(2.0)])
def test_classes_are_told_apart_by_a_literal_or_by_what_they_demand(
    inside: Small | Large, around: Circle | Square | Empty | None
) -> None:
    event = EventType(Parcel, kind="kinds")
    assert event.load(event.message(Parcel(inside, around), topic="t")) == Parcel(inside, around)


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ({}, "$.inside.size: is missing"),
        ({"size": "M"}, "$.inside: {'size': 'M'} is none of Small, Large"),
        ({"size": "L", "weight": "x"}, "$.inside.weight: 'x' is not a whole number"),
    ],
)
def test_what_is_of_no_class_is_told(inside: object, text: str) -> None:
    event = EventType(Parcel, kind="kinds")
    assert refused(event, message({"inside": inside})) == text


@attrs.frozen
class Twin:
    radius: float


class Reals(Enum):
    HALF = 0.5


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


@attrs.define
class Untyped:
    field = attrs.field()  # type: ignore[var-annotated]  # pyright: ignore[reportGeneralTypeIssues]  # that is the point


@dataclasses.dataclass
class Unknown:
    field: Nowhere  # type: ignore[name-defined]  # noqa: F821 - that is the point


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (dict, "cls: <class 'dict'> is not an attrs class or a dataclass"),
        (Order(7, []), "cls: Order("),
        (made(complex), "Odd.field: <class 'complex'> cannot be read from JSON"),
        (made(list[complex]), "Odd.field: <class 'complex'> cannot be read from JSON"),
        (made(Callable[[], int]), "Odd.field: "),
        (made(Page[int]), "Odd.field: "),
        (made([int]), "Odd.field: [<class 'int'>] is not a type"),
        (Page, "Page.items: ~T cannot be read from JSON"),
        (Untyped, "Untyped.field: None cannot be read from JSON"),
        (Unknown, "cls: <class "),
        (made(Reals), "Odd.field: <enum 'Reals'> has values that are not int or str"),
        (made(Literal[Color.RED]), "Odd.field: "),
        (made(dict[float, int]), "Odd.field: keys of JSON are text, not a number"),
        (made(Page[int] | None), "Odd.field: "),
        (made(Circle | Twin), "Odd.field: nothing tells [<class "),
    ],
)
def test_a_class_that_json_cannot_be_read_as_is_refused_when_the_event_is_made(
    cls: type, text: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        EventType(cls, kind="odd")
    assert str(caught.value).startswith(text)


class TypeAliasType:
    """What ``type name = value`` makes, where Python has no such statement yet."""

    def __init__(self, name: str, value: object) -> None:
        self.__name__ = name
        self.__value__ = value


Figure = Annotated[Circle | Square, "what is drawn"]


@dataclasses.dataclass
class Drawing:
    figure: Figure | Item | int | None = None


@pytest.mark.parametrize("alias", [getattr(typing, "TypeAliasType", TypeAliasType), TypeAliasType])
def test_a_union_that_has_a_name_is_part_of_the_one_that_names_it(
    alias: Callable[[str, object], object],
) -> None:
    drawing = EventType(Drawing, kind="kinds")
    named = made(alias("Figure", Figure))
    event: EventType[object] = EventType(named, kind="kinds")
    for figure in Circle(1.0), Square(2.0):
        assert drawing.load(drawing.message(Drawing(figure), topic="t")) == Drawing(figure)
        assert event.load(event.message(named(figure), topic="t")) == named(figure)
    for other in Item(3.0), 7, None:
        assert drawing.load(drawing.message(Drawing(other), topic="t")) == Drawing(other)
