"""Typed events: kinds, versions and unions of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, assert_type, cast

import attrs
import cattrs
import pytest
import trio

from tests.event_classes import (
    KINDS,
    NODE,
    PLACED,
    Circle,
    Item,
    Kinds,
    Node,
    Order,
    Sku,
    Square,
    message,
    order,
    refused,
)
from trio_bus import EventType, EventUnion, Message, ValidationError
from trio_bus._events import Upcast


def test_an_event_is_a_message_and_back() -> None:
    event = Order(7, [Item(1.5, Sku("a"))], Order(6, []))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    sent = PLACED.message(
        event,
        topic="orders",
        key="k",
        source="shop",
        uid="u",
        occurred_at=now,
        headers={"a": "b"},
        idempotency_key="i",
        expires_at=now,
        trace_uid="t",
        correlation_uid="c",
    )
    assert sent == Message(
        "orders",
        b'{"number":7,"items":[{"price":1.5,"sku":"a"}],"parent":'
        b'{"number":6,"items":[],"parent":null}}',
        key="k",
        kind="order-placed",
        source="shop",
        uid="u",
        occurred_at=now,
        headers={"a": "b"},
        content_type="application/json",
        event_version="1",
        idempotency_key="i",
        expires_at=now,
        trace_uid="t",
        correlation_uid="c",
    )
    assert PLACED.load(sent) == event
    assert (PLACED.cls, PLACED.kind, PLACED.version, PLACED.upcasts) == (
        Order,
        "order-placed",
        1,
        {},
    )


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (message({}, kind="order-paid"), "kind: 'order-paid' is not 'kinds'"),
        (message({}, kind=""), "kind: '' is not 'kinds'"),
        (message({}, version="2"), "event_version: 2 is newer than 1"),
        (message({}, version="0"), "event_version: '0' is not a whole number from 1"),
        (message({}, version="1.0"), "event_version: '1.0' is not a whole number from 1"),
        (message({}, version=""), "event_version: '' is not a whole number from 1"),
        (message({}, version="²"), r"event_version: '\xb2' is not a whole number from 1"),
        (message({}, version="9" * 5000), "event_version: '999"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_is_another_event_is_refused(what: Message, text: str) -> None:
    assert refused(KINDS, what).startswith(text)


@pytest.mark.parametrize(
    ("content_type", "good"),
    [
        (None, True),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.shop+json", True),
        ("text/plain", False),
        ("application/jsonl", False),
        ("", False),
        ("json", False),
    ],
)
def test_a_content_type_that_is_given_is_json(content_type: str | None, *, good: bool) -> None:
    what = attrs.evolve(message({}), content_type=content_type)
    if good:
        assert KINDS.load(what) == Kinds()
    else:
        assert refused(KINDS, what) == f"content_type: {content_type!r} is not JSON"


def add_items(data: dict[str, object]) -> dict[str, object]:
    """Version 1 had one price."""
    return {"number": data["number"], "items": ({"price": data["price"]},)}


def rename_number(data: dict[str, object]) -> dict[str, object]:
    """Version 2 had an id, in text; here it is changed in place."""
    data["number"] = int(str(data.pop("id", data.get("number"))))
    return data


V3 = EventType(Order, kind="o", version=3, upcasts={1: add_items, 2: rename_number})


def test_older_versions_are_made_into_this_one() -> None:
    assert V3.load(message({"number": "7", "price": 1}, kind="o")) == Order(7, [Item(1.0)])
    assert V3.load(message({"id": "7", "items": []}, kind="o", version="2")) == Order(7, [])
    assert V3.load(message(order(), kind="o", version="3")) == Order(7, [])
    assert V3.message(Order(7, []), topic="t").event_version == "3"


def too_deep(data: dict[str, object]) -> dict[str, object]:
    """Never end."""
    return too_deep(data)


def forget(data: dict[str, object]) -> dict[str, object]:
    """Change it, and do not return it."""
    return cast("dict[str, object]", data.clear())


def put_in_an_object(data: dict[str, object]) -> dict[str, object]:
    """Put in what JSON cannot say."""
    return {**data, "number": object()}


def empty(_: dict[str, object]) -> dict[str, object]:
    """Leave nothing."""
    return {}


def no_memory(data: dict[str, object]) -> dict[str, object]:
    """Have none."""
    raise MemoryError


@pytest.mark.parametrize(
    ("upcast", "text"),
    [
        (add_items, "upcasts: version 2: KeyError: \"'price'\""),
        (forget, "upcasts: version 2: TypeError: 'it returned a NoneType, not"),
        (put_in_an_object, "upcasts: version 2: TypeError: "),
        (too_deep, "upcasts: version 2: RecursionError: "),
        (empty, "$.number: is missing"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_function_that_cannot_read_an_old_version_refuses_it(
    upcast: Callable[[dict[str, object]], Mapping[str, object]], text: str
) -> None:
    v3 = EventType(Order, kind="o", version=3, upcasts={2: upcast})
    assert refused(v3, message({"number": 7}, kind="o", version="2")).startswith(text)


def test_what_leads_nowhere_or_is_no_object_is_refused() -> None:
    v3 = EventType(Order, kind="o", version=3, upcasts={2: rename_number})
    said = refused(v3, message(order(), kind="o"))
    assert said == "event_version: nothing leads from 1 to 3"
    assert refused(v3, message([1], kind="o", version="2")) == "$: [1] is not an object"


def test_a_lack_of_memory_is_no_fault_of_the_event() -> None:
    v2 = EventType(Order, kind="o", version=2, upcasts={1: no_memory})
    with pytest.raises(MemoryError):
        v2.load(message({}, kind="o"))

    @dataclasses.dataclass
    class Greedy:
        def __post_init__(self) -> None:
            raise MemoryError

    greedy = EventType(Greedy, kind="o")
    with pytest.raises(MemoryError):
        greedy.load(message({}, kind="o"))
    with pytest.raises(MemoryError):
        EventType(Hungry, kind="o").message(Hungry(), topic="t")


def starve(_: object) -> object:
    """Have no memory."""
    raise MemoryError


@dataclasses.dataclass
class Hungry:
    size: Annotated[int, cattrs.override(unstruct_hook=starve)] = 1


def test_code_that_nests_too_deeply_is_told_as_that() -> None:
    assert refused(KINDS, message({"color": "deep"})) == "payload: it nests too deeply"


class BrokenError(Exception):
    def __str__(self) -> str:
        raise ValueError


def test_an_error_without_a_text_is_told_by_its_name() -> None:
    @dataclasses.dataclass
    class Broken:
        def __post_init__(self) -> None:
            raise BrokenError

    said = refused(EventType(Broken, kind="kinds"), message({}))
    assert said == "$: {} does not fit: BrokenError: its text cannot be made"


@dataclasses.dataclass
class Derived(Kinds):
    more: int = 1


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"text": "x"}, "obj: {'text': 'x'} is not exactly a Kinds"),
        (Derived(), "obj: Derived("),
        (Kinds(real=float("nan")), "obj: $.real: nan is no number of JSON"),
        (Kinds(optional=float("inf")), "obj: $.optional: inf is no number of JSON"),
        (Kinds(whatever={7: [float("-inf")]}), "obj: $.whatever[7][0]: -inf is no number of JSON"),
        (Kinds(whole=cast("int", "7")), "obj: $.whole: '7' is not a whole number"),
        (Kinds(amount=Decimal("Infinity")), "obj: $.amount: 'Infinity' is not a decimal number"),
        (Kinds(text="\ud800"), "obj: it cannot be written as JSON: UnicodeEncodeError: "),
        (Kinds(anything=object()), "obj: it cannot be written as JSON: TypeError: "),
        (Kinds(whole=10**5000), "obj: it cannot be written as JSON: "),
    ],
    ids=[
        "no class",
        "derived",
        "NaN",
        "infinite",
        "nested",
        "text",
        "decimal",
        "surrogate",
        "object",
        "digits",
    ],
)
def test_an_object_that_nobody_could_read_is_not_written(event: object, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KINDS.message(cast("Kinds", event), topic="t")
    assert str(caught.value).startswith(text)
    assert len(str(caught.value)) < 300


def test_what_nests_too_deeply_is_not_written() -> None:
    tree = Node(1)
    for _ in range(3000):
        tree = Node(1, [tree])
    with pytest.raises(ValidationError, match="cannot be written as JSON: RecursionError"):
        NODE.message(tree, topic="t")


@pytest.mark.parametrize(
    ("kind", "version", "upcasts", "text"),
    [
        ("", 1, {}, "kind: '' is empty"),
        (7, 1, {}, "kind: 7 is not a str"),
        ("o", 0, {}, "version: 0 is not at least 1"),
        ("o", "1", {}, "version: '1' is not a whole number"),
        ("o", 2, [add_items], "upcasts: "),
        ("o", 3, {1: add_items}, "upcasts: version 2 has none"),
        ("o", 2, {2: add_items}, "upcasts: 2 is no version before 2"),
        ("o", 2, {0: add_items, 1: add_items}, "upcasts: 0 is no version before 2"),
        ("o", 2, {True: add_items}, "upcasts: True is no version before 2"),
        ("o", 2, {1: "x"}, "upcasts: 'x' is not a function"),
        ("o", 2, {1: trio.sleep}, "upcasts: <function sleep at "),
    ],
)
def test_settings_are_checked_when_the_event_is_made(
    kind: str, version: int, upcasts: Mapping[int, Upcast], text: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        EventType(Order, kind=kind, version=version, upcasts=upcasts)
    assert str(caught.value).startswith(text)


CIRCLE = EventType(Circle, kind="circle")
SQUARE = EventType(Square, kind="square")
ITEM = EventType(Item, kind="item")


def test_a_union_reads_each_kind_as_its_class() -> None:
    figures = CIRCLE | SQUARE | ITEM
    assert_type(figures, EventUnion[Circle | Square | Item])
    circle = figures.load(CIRCLE.message(Circle(1.0), topic="t"))
    assert_type(circle, Circle | Square | Item)
    assert circle == Circle(1.0)
    assert figures.load(message({"side": 2}, kind="square")) == Square(2.0)
    assert refused(figures, message({}, kind="square")) == "$.side: is missing"
    assert (
        refused(figures, message({}, kind="oval"))
        == "kind: 'oval' is not one of 'circle', 'square', 'item'"
    )
    assert figures.kinds == ("circle", "square", "item")
    assert repr(figures) == "EventUnion('circle', 'square', 'item')"
    assert (ITEM | (CIRCLE | SQUARE)).kinds == ("item", "circle", "square")
    assert ((ITEM | CIRCLE) | (SQUARE | NODE)).kinds == ("item", "circle", "square", "node")


def test_a_kind_stands_for_one_class() -> None:
    with pytest.raises(ValidationError, match=r"^kind: 'circle' is there twice"):
        _ = CIRCLE | SQUARE | EventType(Item, kind="circle")


@pytest.mark.parametrize("event", [CIRCLE, CIRCLE | SQUARE])
def test_a_union_is_of_events(event: EventType[Circle] | EventUnion[Circle]) -> None:
    with pytest.raises(TypeError):
        _ = event | cast("EventType[Circle]", 7)
