"""The records of many messages, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, final, overload

if TYPE_CHECKING:
    from ._backend import Record
    from ._message import Message


@final
class Encoded(Sequence["Record"]):
    """The records of messages, in order: each is made when it is asked for, and not kept.

    A thousand records are five thousand objects: the garbage collector looks at all that are there.
    Only for messages that can certainly be encoded: who asks for a record expects no error.
    """

    __slots__ = ("_encode", "_messages")

    def __init__(self, encode: Callable[[Message], Record], messages: Sequence[Message]) -> None:
        self._encode = encode
        self._messages = tuple(messages)

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Record]:
        return map(self._encode, self._messages)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice[int | None, int | None, int | None]) -> Encoded: ...
    def __getitem__(self, at: int | slice[int | None, int | None, int | None]) -> Record | Encoded:
        if isinstance(at, slice):
            return Encoded(self._encode, self._messages[at])
        return self._encode(self._messages[at])
