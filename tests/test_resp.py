"""The wire format: whatever way the bytes are cut, the replies are the same."""

from __future__ import annotations

import pytest

from trio_bus._entry import Entry
from trio_bus._entry_id import EntryId
from trio_bus._errors import (
    AuthenticationFailed,
    GroupMissing,
    PermissionDenied,
    RemoteError,
    Unsupported,
    WrongType,
)
from trio_bus._redis.appending import parts
from trio_bus._redis.errors import to_exception
from trio_bus._redis.replies import as_entry_id, as_int, as_list, as_map, as_record, read_entries
from trio_bus._redis.resp import ErrorReply, Parser, ProtocolError, Reply, pack, pack_all

WIRE = (
    b"+OK\r\n"
    b":42\r\n"
    b"$-1\r\n"
    b"_\r\n"
    b"$4\r\na\r\nb\r\n"
    b"-NOGROUP No such key\r\n"
    b"*2\r\n-ERR inside\r\n:1\r\n"
    b">2\r\n+message\r\n$2\r\nhi\r\n"
    b"%1\r\n$1\r\nt\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\nf\r\n$0\r\n\r\n"
    b"#f\r\n"
    b"=7\r\ntxt:abc\r\n"
    b"*0\r\n"
)
REPLIES: list[Reply] = [
    b"OK",
    42,
    None,
    None,
    b"a\r\nb",
    ErrorReply("NOGROUP No such key"),
    [ErrorReply("ERR inside"), 1],
    {b"t": [[b"5-1", [b"f", b""]]]},
    False,
    b"abc",
    [],
]


def parse(*parts: bytes) -> tuple[list[Reply], list[list[Reply]]]:
    """Parse the parts one after the other."""
    parser = Parser()
    pushes: list[list[Reply]] = []
    parser.on_push = pushes.append
    replies = [reply for part in parts for reply in parser.feed(part)]
    return replies, pushes


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_a_cut_anywhere_changes_nothing(cut: int) -> None:
    """Two reads give what one read gives; pushes never stand among the replies."""
    assert parse(WIRE[:cut], WIRE[cut:]) == (REPLIES, [[b"message", b"hi"]])


def test_single_bytes_change_nothing() -> None:
    """The slowest peer is understood too."""
    parts = [WIRE[at : at + 1] for at in range(len(WIRE))]
    assert parse(*parts) == (REPLIES, [[b"message", b"hi"]])


def test_replies_are_typed() -> None:
    """True and 1, nothing and empty are told apart."""
    replies, _ = parse(b"#t\r\n:1\r\n,1.5\r\n")
    assert [type(reply) for reply in replies] == [bool, int, float]


def test_what_is_not_resp_is_a_protocol_error() -> None:
    """A peer that speaks HTTP is found out at its first byte."""
    with pytest.raises(ProtocolError):
        parse(b"HTTP/1.1 400 Bad Request\r\n")


def test_an_error_with_bytes_that_are_no_text_is_still_an_error() -> None:
    """A server may put user data into an error."""
    assert parse(b"-ERR \xff\r\n") == ([ErrorReply("ERR \ufffd")], [])


def test_commands_are_packed_by_length() -> None:
    """Nothing in an argument can end it."""
    assert pack(("XADD", "t\r\n", b"\x00", 7)) == (
        b"*4\r\n$4\r\nXADD\r\n$3\r\nt\r\n\r\n$1\r\n\x00\r\n$1\r\n7\r\n"
    )
    assert pack_all([("A",), ("B", "ü")]) == b"*1\r\n$1\r\nA\r\n*2\r\n$1\r\nB\r\n$2\r\n\xc3\xbc\r\n"


def test_entries_of_both_protocols_are_read() -> None:
    """RESP3 answers with a map, RESP2 with a list of pairs; nothing new is nothing."""
    row: list[Reply] = [b"5-1", [b"f", b"v", b"f", b""]]
    wanted = [Entry(EntryId(5, 1), ((b"f", b"v"), (b"f", b"")))]
    assert read_entries({b"t": [row]}) == wanted
    assert read_entries([[b"t", [row]]]) == wanted
    assert read_entries(None) == []
    assert read_entries({b"t": []}) == []


def test_a_flat_map_is_a_map() -> None:
    """Scripts see maps as lists."""
    assert as_map([b"name", b"g", b"pending", 3]) == {b"name": b"g", b"pending": 3}


@pytest.mark.parametrize("reply", [b"x", [], None, 1.5, {b"a": 1}])
def test_a_reply_of_another_shape_is_refused(reply: Reply) -> None:
    """A server that answers like no server we know is named as that, without its data."""
    with pytest.raises(Unsupported, match="instead of a number"):
        as_int(reply)


def test_refusals_are_raised_where_a_value_is_read() -> None:
    """Whoever reads a value need not look for errors first."""
    for read in (as_int, as_list, as_map, as_record, as_entry_id, read_entries):
        with pytest.raises(WrongType) as caught:
            read(ErrorReply("WRONGTYPE Operation against a key"))
        assert caught.value.code == "WRONGTYPE"


HIDDEN = "ERR Error running script (call to f_0a): @user_script:1: @user_script: 1: "


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("NOAUTH Authentication required.", AuthenticationFailed, "NOAUTH"),
        ("WRONGPASS invalid pair", AuthenticationFailed, "WRONGPASS"),
        ("NOPERM this user has no permissions", PermissionDenied, "NOPERM"),
        ("ERR The user executing the script can't run this", PermissionDenied, "ERR"),
        ("WRONGTYPE Operation", WrongType, "WRONGTYPE"),
        ("NOGROUP No such key", GroupMissing, "NOGROUP"),
        ("ERR unknown command 'HELLO', with args", Unsupported, "ERR"),
        ("READONLY You can't write", RemoteError, "READONLY"),
        ("OOM command not allowed", RemoteError, "OOM"),
        (f"{HIDDEN}-OOM command not allowed", RemoteError, "OOM"),
        ("@user_script: 84: -OOM command not allowed", RemoteError, "OOM"),
        (f"{HIDDEN}-WRONGTYPE Operation", WrongType, "WRONGTYPE"),
        (f"{HIDDEN}attempt to index a nil value", RemoteError, "ERR"),
    ],
)
def test_the_code_chooses_the_class(text: str, kind: type[RemoteError], code: str) -> None:
    """The first word decides, also where Redis 6.2 hides it."""
    error = to_exception(ErrorReply(text))
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 70_000])
@pytest.mark.parametrize("fields", [0, 1, 5, 2_000])
def test_appending_packs_as_hiredis_does(fields: int, size: int) -> None:
    """It has a way of its own, because that is quicker; the bytes are the same."""
    names = [b"%d" % number for number in range(fields)]
    record = tuple((name, bytes(size if name == b"0" else 3)) for name in names)
    ((data, count, _),) = parts("tést", [record])
    assert data == pack(("XADD", "tést", "*", *[part for field in record for part in field]))
    assert count == 1
