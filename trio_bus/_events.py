"""Typed events: which class the payload of a message stands for, and in which version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar, cast

import attrs
import msgspec

from . import _checks as checks
from ._errors import EventInvalid, ValidationError
from ._headers import NO_HEADERS
from ._message import Message
from ._misfit import Misfit, told
from ._names import check_text, shown
from ._shape import NOT_JSON, Read
from ._shapes import Shapes
from ._structure import is_structure
from ._writing import write

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)

Upcast = Callable[[dict[str, object]], Mapping[str, object]]
"""Makes the decoded JSON object of one version into that of the next one."""

_NO_UPCASTS: Mapping[int, Upcast] = MappingProxyType({})
CONTENT_TYPE = "application/json"
_JSON = re.compile(r"\s*\w[^/;]*/([^;]*\+)?json\s*(;.*)?", re.ASCII | re.IGNORECASE | re.DOTALL)
_decode = msgspec.json.Decoder(object).decode


def _kind(value: str) -> str:
    if not check_text(value, "kind"):
        raise ValidationError("kind: '' is empty")
    return value


def _check_class(_: object, __: attrs.Attribute[U], value: U) -> None:
    if not is_structure(value):
        raise ValidationError(f"cls: {shown(value)} is not an attrs class or a dataclass")


def _upcasts(value: Mapping[int, Upcast]) -> Mapping[int, Upcast]:
    if not isinstance(cast("object", value), Mapping):
        raise ValidationError(f"upcasts: {shown(value)} is not a mapping")
    return MappingProxyType(dict(value))


def _check_upcasts(_: object, field: attrs.Attribute[U], value: U) -> None:
    for upcast in cast("Mapping[int, Upcast]", value).values():
        checks.plain_function(None, cast("attrs.Attribute[Upcast]", field), upcast)


class _Readable(Protocol[T_co]):
    """What a union is of: an `EventType`, which stands for one class, or a union of them."""

    @property
    def kinds(self) -> tuple[str, ...]: ...

    def load(self, message: Message) -> T_co: ...


@attrs.frozen(eq=False)
class EventType(Generic[T]):
    """One kind of event: how its payload is written as JSON, and read.

    Made once, where the class is. What is nested in the class may be attrs classes, dataclasses,
    enums, unions, ``Literal``, lists, tuples, sets, mappings, numbers, text, bytes, ``Decimal``,
    ``UUID``, instants, dates, times and durations; a type that JSON cannot be read as is refused
    here. ``Annotated[..., cattrs.override(...)]`` renames a field, or gives it hooks.

    Payloads are read tolerantly in one respect: fields that the class does not have are passed
    over, so that publishers may add some. What it has must be there, unless it has a default, and
    be of its type: nothing is converted that JSON can say itself, so that ``"7"`` is no number
    and ``true`` is not 1.
    """

    cls: type[T] = attrs.field(validator=_check_class)
    """An attrs class or a dataclass."""
    kind: str = attrs.field(kw_only=True, converter=_kind)
    """What happened, like ``order-paid``: the ``kind`` of its messages."""
    version: int = attrs.field(default=1, kw_only=True, validator=checks.count(1))
    """The version of the class, from 1: the ``event_version`` of its messages."""
    upcasts: Mapping[int, Upcast] = attrs.field(
        default=_NO_UPCASTS, kw_only=True, converter=_upcasts, validator=_check_upcasts
    )
    """What makes the JSON of a version into that of the next one, by the older version.

    Plain functions of the decoded object, which may change it. From the oldest one that has a
    function each version up to this one must have its own.
    """
    _read: Read = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for version in self.upcasts:
            if type(version) is not int or not 1 <= version < self.version:
                raise ValidationError(
                    f"upcasts: {shown(version)} is no version before {self.version}"
                )
        for version in range(min(self.upcasts, default=self.version), self.version):
            if version not in self.upcasts:
                raise ValidationError(f"upcasts: version {version} has none")
        object.__setattr__(self, "_read", Shapes().of(self.cls, "cls").read)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The one kind that it reads, as a union has several."""
        return (self.kind,)

    def message(
        self,
        obj: T,
        *,
        topic: str,
        key: str = "",
        source: str = "",
        uid: str | None = None,
        occurred_at: datetime | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        idempotency_key: str | None = None,
        expires_at: datetime | None = None,
        trace_uid: str | None = None,
        correlation_uid: str | None = None,
    ) -> Message:
        """Write an event as a message; see `Message` for what is passed on to it.

        What was written is read again, so that no consumer is the first one to find out what the
        class does not hold to.

        Args:
          obj: Exactly of the class ``cls``, and not of one derived from it.
          topic: Where it will be published.
          key: As in `Message`, like all that follows.
          source: The same.
          uid: The same.
          occurred_at: The same.
          headers: The same.
          idempotency_key: The same.
          expires_at: The same.
          trace_uid: The same.
          correlation_uid: The same.

        Raises:
          ValidationError: it is of another class, or does not hold what its class declares; the
            text names the path.
        """
        return Message(
            topic,
            self._written(obj),
            key=key,
            kind=self.kind,
            source=source,
            uid=uid,
            occurred_at=occurred_at,
            headers=headers,
            content_type=CONTENT_TYPE,
            event_version=str(self.version),
            idempotency_key=idempotency_key,
            expires_at=expires_at,
            trace_uid=trace_uid,
            correlation_uid=correlation_uid,
        )

    def load(self, message: Message) -> T:
        """Read the event of a message.

        A message without ``event_version`` is of version 1, and one without ``content_type`` is
        JSON.

        Raises:
          EventInvalid: it is of another kind, not JSON, of a version that is newer or that nothing
            leads from, or its payload does not fit the class; the text names what is wrong, in the
            payload by its path.
        """
        if message.kind != self.kind:
            raise EventInvalid(f"kind: {shown(message.kind)} is not {shown(self.kind)}")
        if message.content_type is not None and not _JSON.fullmatch(message.content_type):
            raise EventInvalid(f"content_type: {shown(message.content_type)} is not JSON")
        return self._of_version(self._version_of(message), message.payload)

    def __or__(self, other: _Readable[U]) -> EventUnion[T | U]:
        return EventUnion({self.kind: self.load}) | other

    def _written(self, obj: T) -> bytes:
        if type(obj) is not self.cls:
            raise ValidationError(f"obj: {shown(obj)} is not exactly a {self.cls.__name__}")
        try:
            payload = write(obj, self.cls)
            self._read(_decode(payload))
        except Misfit as misfit:
            raise ValidationError(f"obj: {misfit}") from misfit.__cause__
        except MemoryError:
            raise
        except Exception as error:
            raise ValidationError(f"obj: it cannot be written as JSON: {told(error)}") from error
        return payload

    def _version_of(self, message: Message) -> int:
        text = "1" if message.event_version is None else message.event_version
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
            raise EventInvalid(f"event_version: {shown(text)} is not a whole number from 1")
        version = int(text)
        if version > self.version:
            raise EventInvalid(f"event_version: {version} is newer than {self.version}")
        if version < self.version and version not in self.upcasts:
            raise EventInvalid(f"event_version: nothing leads from {version} to {self.version}")
        return version

    def _of_version(self, version: int, payload: bytes) -> T:
        try:
            value = self._upcast(version, _parse(payload))
            return cast("T", self._read(value))
        except Misfit as misfit:
            raise EventInvalid(str(misfit)) from misfit.__cause__
        except RecursionError as error:
            raise EventInvalid("payload: it nests too deeply") from error

    def _upcast(self, version: int, value: object) -> object:
        for older in range(version, self.version):
            if not isinstance(value, dict):
                raise Misfit("is not an object", value)
            try:
                value = _json_of(self.upcasts[older](cast("dict[str, object]", value)))
            except MemoryError:
                raise
            except Exception as error:
                raise EventInvalid(f"upcasts: version {older}: {told(error)}") from error
        return value


def _json_of(answer: object) -> object:
    """Return what a function made of JSON as JSON again, whatever it put in."""
    if not isinstance(answer, Mapping):
        raise TypeError(f"it returned a {type(answer).__name__}, not a mapping")
    return _decode(msgspec.json.encode(answer))


def _parse(payload: bytes) -> object:
    try:
        return _decode(payload)
    except NOT_JSON as error:
        raise EventInvalid(f"payload: it is not JSON: {told(error)}") from error


class EventUnion(Generic[T_co]):
    """Several events that one handler takes, made with ``|``.

    ``placed | paid``, of two `EventType`, reads the messages of both, by their ``kind``.
    """

    __slots__ = ("_loads",)

    _loads: Mapping[str, Callable[[Message], T_co]]

    def __init__(self, loads: Mapping[str, Callable[[Message], T_co]]) -> None:
        self._loads = loads

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that it reads."""
        return tuple(self._loads)

    def load(self, message: Message) -> T_co:
        """Read the event of a message as the class that its ``kind`` stands for.

        Raises:
          EventInvalid: no class stands for this kind; or as `EventType.load`.
        """
        load = self._loads.get(message.kind)
        if load is None:
            known = ", ".join(shown(kind) for kind in self._loads)
            raise EventInvalid(f"kind: {shown(message.kind)} is not one of {known}")
        return load(message)

    def __or__(self, other: _Readable[U]) -> EventUnion[T_co | U]:
        if not isinstance(cast("object", other), EventType | EventUnion):
            return NotImplemented
        for kind in other.kinds:
            if kind in self._loads:
                raise ValidationError(f"kind: {shown(kind)} is there twice")
        return EventUnion({**self._loads, **dict.fromkeys(other.kinds, other.load)})

    def __repr__(self) -> str:
        return f"EventUnion{self.kinds}"
