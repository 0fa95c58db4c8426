"""Where commands and replies begin and end, however the bytes come."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from trio_bus._redis.resp import pack
from trio_bus.testing._frames import Frames, Piece

COMMANDS = {
    pack(("ping",)): "PING",
    pack(("SET", "XADD", b"*1\r\n$4\r\nPING\r\n")): "SET",
    pack(("GET", "")): "GET",
    b"get key\r\n": "GET",
    b"SET a b\n": "SET",
    pack((b"x" * 65, "y")): "",
    b"y" * 70 + b" z\r\n": "Y" * 64,
    b"*2\r\n$-1\r\n$1\r\na\r\n": "",
    b"*1\r\n:7\r\n": "",
}
SILENT = (b"\r\n", b"*0\r\n", b"*-1\r\n", b"  \r\n")
REPLIES = (
    b"+OK\r\n",
    b"-ERR no " + b"x" * 100 + b"\r\n",
    b":7\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"(12345678901234567890\r\n",
    b"=7\r\ntxt:\r\n!\r\n",
    b"!3\r\nERR\r\n",
    b"%2\r\n+a\r\n*2\r\n:1\r\n:2\r\n$1\r\nb\r\n~1\r\n%0\r\n",
    b"|1\r\n+ttl\r\n:3\r\n*1\r\n+x\r\n",
    b"*3\r\n*2\r\n*0\r\n$3\r\n\r\n+\r\n*-1\r\n$-1\r\n",
)


@attrs.define
class Whole:
    """A frame, put together again."""

    data: bytes
    kind: bytes
    name: bytes
    items: int


def frames_of(frames: Frames, chunks: Sequence[bytes]) -> tuple[list[Whole], list[Piece]]:
    """Feed the chunks; return frames, and all pieces."""
    found: list[Whole] = []
    pieces = [piece for chunk in chunks for piece in frames.feed(chunk)]
    for piece in pieces:
        if piece.begins:
            found.append(Whole(b"", piece.kind, piece.name, piece.items))
        if found:
            found[-1].data += piece.data
    return found, pieces


def cut_up(data: bytes) -> list[list[bytes]]:
    """Cut in two at every place, and in single bytes."""
    singles = [data[at : at + 1] for at in range(len(data))]
    return [[data], singles, *([data[:at], data[at:]] for at in range(1, len(data)))]


def test_commands_have_names() -> None:
    """However the bytes come; a payload is never a command."""
    for chunks in cut_up(b"".join(COMMANDS)):
        found, pieces = frames_of(Frames(b"*", are_commands=True), chunks)
        assert [it.data for it in found] == list(COMMANDS)
        assert [it.name.decode() for it in found] == list(COMMANDS.values())
        assert sum(piece.ends for piece in pieces) == len(COMMANDS)
        assert [it.items for it in found][:3] == [1, 3, 2]


def test_what_is_not_answered_is_no_command() -> None:
    """Empty lines and empty arrays: the server passes over them."""
    data = b"".join(SILENT)
    for chunks in cut_up(data):
        found, pieces = frames_of(Frames(b"*", are_commands=True), chunks)
        assert found == []
        assert b"".join(piece.data for piece in pieces) == data


def test_replies_end_where_they_end() -> None:
    """Nested, empty, missing and with attributes."""
    for chunks in cut_up(b"".join(REPLIES)):
        found, pieces = frames_of(Frames(b">", are_commands=False), chunks)
        assert [it.data for it in found] == list(REPLIES)
        assert [it.kind for it in found] == [reply[:1] for reply in REPLIES]
        assert sum(piece.ends for piece in pieces) == len(REPLIES)


def test_pushes_have_names() -> None:
    """A push is told apart, and what it is called."""
    push = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    other = b">2\r\n+invalidate\r\n_\r\n"
    for chunks in cut_up(push + other + b"+OK\r\n"):
        found, _ = frames_of(Frames(b">", are_commands=False), chunks)
        assert [(it.kind, it.name) for it in found] == [
            (b">", b"SUBSCRIBE"),
            (b">", b""),
            (b"+", b""),
        ]


@pytest.mark.parametrize("foreign", [b"*x\r\n", b"$y\r\n", b"@1\r\n", b"%z\r\n", b"*1\r\n@\r\n"])
@pytest.mark.parametrize("are_commands", [True, False])
def test_what_is_foreign_passes_as_it_is(foreign: bytes, are_commands: bool) -> None:  # noqa: FBT001 - a parameter
    """It belongs to no frame; nothing is held back, nothing is understood any more."""
    data = b"*1\r\n" + foreign + b"*1\r\n$4\r\nPING\r\n" * 3
    for chunks in cut_up(data):
        frames = Frames(b"*" if are_commands else b">", are_commands=are_commands)
        _, pieces = frames_of(frames, chunks)
        assert b"".join(piece.data for piece in pieces) + frames.rest() == data
        assert not any(piece.ends for piece in pieces if piece.data.endswith(b"PING\r\n"))


def test_little_is_held_back() -> None:
    """Only until the name is known."""
    frames = Frames(b"*", are_commands=True)
    command = pack(("SET", "k", b"x" * 1000))
    known = command.index(b"SET") + len("SET\r\n")
    for at in range(known):
        pieces = list(frames.feed(command[at : at + 1]))
        assert bool(pieces) == (at == known - 1)
    assert [piece.data for piece in frames.feed(command[known:-1])] == [command[known:-1]]
    endless = Frames(b"*", are_commands=True)
    assert b"".join(piece.data for piece in endless.feed(b"x" * 100)) == b"x" * 100
    assert list(endless.feed(b"*" * 100)) != []
