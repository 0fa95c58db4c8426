"""What typed events promise for every object and every payload."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Literal, cast
from uuid import UUID

import attrs
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trio_bus import EventInvalid, EventType, Message, ValidationError


class Color(Enum):
    RED = "red"
    BLUE = 7


@attrs.frozen
class Leaf:
    when: datetime | None
    day: date
    lasting: timedelta
    raw: bytes
    color: Color
    tags: frozenset[str]
    kind: Literal["leaf"] = "leaf"


@dataclasses.dataclass
class Branch:
    uid: UUID
    amount: Decimal
    real: float
    number: int | str | None
    pair: tuple[bool, str]
    counts: Mapping[int, list[int]]
    by_uid: dict[UUID, Leaf | Branch]
    below: list[Leaf | Branch]
    kind: Literal["branch"] = "branch"


BRANCH = EventType(Branch, kind="branch")

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
instants = st.datetimes() | st.datetimes(timezones=st.just(UTC))
numbers = st.integers(-(10**40), 10**40)
leaves = st.builds(
    Leaf,
    st.none() | instants,
    st.dates(),
    st.timedeltas(timedelta(-(10**5)), timedelta(10**5)),
    st.binary(max_size=9),
    st.sampled_from(Color),
    st.frozensets(text, max_size=3),
)
amounts = st.decimals(allow_nan=False, allow_infinity=False)


def branches(below: st.SearchStrategy[Leaf | Branch]) -> st.SearchStrategy[Branch]:
    """Make branches of these."""
    return st.builds(
        Branch,
        st.uuids(),
        amounts,
        st.floats(allow_nan=False, allow_infinity=False),
        st.none() | text | numbers,
        st.tuples(st.booleans(), text),
        st.dictionaries(numbers, st.lists(numbers, max_size=3), max_size=2),
        st.dictionaries(st.uuids(), below, max_size=2),
        st.lists(below, max_size=3),
    )


def all_below() -> st.SearchStrategy[Leaf | Branch]:
    """Make what stands below a branch."""
    return st.recursive(leaves, branches, max_leaves=5)


@given(branch=branches(all_below()))
def test_what_is_written_is_read(branch: Branch) -> None:
    assert BRANCH.load(BRANCH.message(branch, topic="t")) == branch


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


def put(data: object, choose: st.DataObject, value: object) -> bool:
    """Put a value somewhere into JSON; tell whether there was a place."""
    if not isinstance(data, dict | list) or not data:
        return False
    inside = cast("dict[object, object]", data)  # a list is indexed in the same way
    keys = list(inside) if isinstance(data, dict) else range(len(inside))
    key = choose.draw(st.sampled_from(list(keys)))
    if choose.draw(st.booleans()) and put(inside[key], choose, value):
        return True
    inside[key] = value
    return True


@given(branch=branches(all_below()), value=json_values, data=st.data())
def test_what_does_not_fit_is_named_in_one_short_line(
    branch: Branch, value: object, data: st.DataObject
) -> None:
    """What is read all the same can be written, and is read as the same again."""
    decoded: object = msgspec.json.decode(BRANCH.message(branch, topic="t").payload)
    put(decoded, data, value)
    check(msgspec.json.encode(decoded, enc_hook=repr))


@given(payload=st.binary(max_size=30) | json_values.map(lambda it: repr(it).encode()))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    check(payload)


def check(payload: bytes) -> None:
    """Read it, or hear in few words why not."""
    try:
        read = BRANCH.load(Message("t", payload, kind="branch"))
    except EventInvalid as error:
        said = str(error)
        assert said.startswith(("$", "payload: "))
        assert said.isprintable()
        assert len(said) < 600
    else:
        again = BRANCH.load(BRANCH.message(read, topic="t"))
        assert again == read


@given(
    number=st.none() | text | numbers | st.floats() | st.booleans() | st.text(max_size=3),
    real=st.floats() | text | st.none(),
    amount=st.decimals() | st.floats(),
)
def test_what_is_not_of_its_type_is_not_written(
    number: object, real: object, amount: object
) -> None:
    """Or it is read as it was."""
    odd = Branch(UUID(int=1), Decimal(0), 0.0, None, (True, ""), {}, {}, [])
    odd.number, odd.real, odd.amount = cast("tuple[int, float, Decimal]", (number, real, amount))
    sent = written(odd)
    if sent is not None:
        read = BRANCH.load(sent)
        assert (read.number, read.real) == (number, real)
        assert float(read.amount) == float(odd.amount)


def written(branch: Branch) -> Message | None:
    """Write it, if that can be."""
    try:
        return BRANCH.message(branch, topic="t")
    except ValidationError as error:
        said = str(error)
    assert said.startswith("obj: ")
    return None
