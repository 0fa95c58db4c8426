"""The wire format: commands to bytes, bytes to replies. No input or output happens here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import attrs
import hiredis

from trio_bus._credentials import Secret

Argument = bytes | str | int
"""What a command is made of; text goes out as UTF-8, numbers as decimal text."""

Command = tuple[Argument, ...]

SecretCommand = tuple[Argument | Secret, ...]
"""A command that can be shown."""


@attrs.frozen
class ErrorReply:
    """A refusal by the server, as a value: it may stand inside a larger reply."""

    text: str

    @property
    def code(self) -> str:
        """The first word, which is all that servers agree on."""
        return self.text.partition(" ")[0]


Reply: TypeAlias = (
    "bool | int | float | bytes | ErrorReply | list[Reply] | dict[bytes, Reply] | None"
)
"""One reply. Simple, bulk and verbatim strings and big numbers are bytes; sets are lists."""


class ProtocolError(Exception):
    """What came is not RESP; nothing that comes after it can be understood."""


class _Incomplete:
    """The answer of the reader while a reply is not complete (False is a reply)."""


_INCOMPLETE = _Incomplete()

# hiredis says that its argument is a tuple of one; this is what it takes.
_pack = cast("Callable[[Command], bytes]", getattr(hiredis, "pack_command"))  # noqa: B009 - its type is partly unknown


def pack(command: Command) -> bytes:
    """Return a command as it goes on the wire."""
    return _pack(command)


def pack_all(commands: Sequence[Command]) -> bytes:
    """Return several commands, one behind the other."""
    return b"".join([_pack(command) for command in commands])


def pack_secret(command: SecretCommand) -> memoryview:
    """Return a command that holds secrets as it goes on the wire, behind a view: reprs show none.

    What sends it may fail, and the traceback of that may be printed with its locals.
    """
    return memoryview(
        pack(tuple([part.reveal() if isinstance(part, Secret) else part for part in command]))
    )


def _ignore(push: list[Reply]) -> None:
    """Drop a push that nobody listens to."""


class Parser:
    """Turns the bytes of one connection into replies and pushes.

    A push is what the server sends without being asked; it answers no command. Each goes to
    `on_push` at once; nothing is kept.
    """

    def __init__(self) -> None:
        self._reader = hiredis.Reader(
            protocolError=ProtocolError,
            # hiredis keeps whatever this makes; it need not be an exception.
            replyError=cast("Callable[[str], Exception]", ErrorReply),
            notEnoughData=_INCOMPLETE,
        )
        self.on_push: Callable[[list[Reply]], None] = _ignore

    def feed(self, data: bytes | bytearray) -> list[Reply]:
        """Return the replies that *data* completes; pushes go to `on_push`.

        Raises:
          ProtocolError: *data* is not RESP.
        """
        self._reader.feed(cast("bytes", data))
        replies: list[Reply] = []
        gets: Callable[[], Reply | _Incomplete] = self._reader.gets
        while True:
            got = gets()
            if type(got) is bytes:  # nearly always
                replies.append(got)
            elif isinstance(got, _Incomplete):
                return replies
            elif isinstance(got, hiredis.PushNotification):
                self.on_push(cast("list[Reply]", got))
            else:
                replies.append(got)
