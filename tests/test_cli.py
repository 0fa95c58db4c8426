"""The command: what it prints, how it fails, and that it loses nothing when it is stopped."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
import trio

from tests.harness import config, publish
from trio_bus import Message, SubscriptionConfig, TopicInfo, open_bus, open_subscription
from trio_bus._cli import main, server
from trio_bus._cli.consume import Printer
from trio_bus._cli.failing import CommandError, one_line
from trio_bus._cli.lines import LineSplitter
from trio_bus._cli.rendering import json_line

pytestmark = [pytest.mark.any_server, pytest.mark.any_python]

COMMAND = [sys.executable, "-W", "error", "-m", "trio_bus._cli"]
PATIENCE = 30.0
CLOSED = "redis://user:secret@localhost:1"


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, timeout=PATIENCE, check=False
    )


def start(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        bufsize=0,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def parsed(output: bytes) -> list[dict[str, object]]:
    return [cast("dict[str, object]", json.loads(line)) for line in output.splitlines()]


def info(url: str, topic: str) -> TopicInfo:
    async def ask() -> TopicInfo:
        async with open_bus(url) as bus:
            return await bus.info(topic)

    return trio.run(ask)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def held(url: str, topic: str) -> int:
    return sum(group.pending for group in info(url, topic).groups)


def test_lines_of_a_file_come_back_byte_for_byte(server_url: str, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"first\n\nno utf-8: \xff\r\nlast without a newline")
    published = run("publish", "t", str(file), "--url", server_url)
    assert published.returncode == 0
    assert published.stdout == b""
    assert published.stderr == b"trio-bus: published 4 messages to 't'\n"
    consumed = run("consume", "t", "g", "--count", "4", "--url", server_url)
    assert (consumed.returncode, consumed.stderr) == (0, b"")
    first, empty, binary, last = parsed(consumed.stdout)
    assert first["payload"] == "first"
    assert empty["payload"] == ""
    assert binary["payload_base64"] == "bm8gdXRmLTg6IP8N"
    assert "payload" not in binary
    assert last["payload"] == "last without a newline"


def test_what_every_message_has_in_common(server_url: str) -> None:
    arguments = "--key k --kind made --source here --content-type text/plain --header a=b=c --ids"
    published = run("publish", "t", *arguments.split(), "--url", server_url, stdin=b"x\ny\n")
    assert published.returncode == 0
    consumed = run("consume", "t", "g", "--count", "2", "--url", server_url)
    rows = parsed(consumed.stdout)
    assert published.stdout.decode().split() == [row["entry_id"] for row in rows]
    for row in rows:
        assert (row["topic"], row["key"], row["kind"], row["source"]) == ("t", "k", "made", "here")
        assert (row["content_type"], row["headers"]) == ("text/plain", {"a": "b=c"})
        assert (row["attempt"], str(row["occurred_at"])[-6:]) == (1, "+00:00")
        assert "expires_at" not in row
    assert rows[0]["uid"] != rows[1]["uid"]


def test_count_leaves_the_rest_for_the_next_one(server_url: str) -> None:
    run("publish", "t", "--url", server_url, stdin=b"1\n2\n3\n")
    rows = parsed(run("consume", "t", "g", "--count", "2", "--url", server_url).stdout)
    rows += parsed(run("consume", "t", "g", "--count", "1", "--url", server_url).stdout)
    assert [row["payload"] for row in rows] == ["1", "2", "3"]
    assert {row["attempt"] for row in rows} == {1}


def test_start_after_an_entry(server_url: str) -> None:
    ids = run("publish", "t", "--ids", "--url", server_url, stdin=b"1\n2\n").stdout.split()
    arguments = ("--start", ids[0].decode(), "--count", "1", "--url", server_url)
    assert [row["payload"] for row in parsed(run("consume", "t", "g", *arguments).stdout)] == ["2"]


def test_the_server_may_be_named_in_the_environment(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_BUS_URL", server_url)
    assert run("publish", "t", stdin=b"x").returncode == 0
    assert info(server_url, "t").length == 1


def test_a_directory_keeps_events_between_commands(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}"
    assert run("publish", "t", "--url", url, stdin=b"kept").returncode == 0
    (row,) = parsed(run("consume", "t", "g", "--count", "1", "--url", url).stdout)
    assert row["payload"] == "kept"


def test_one_line_too_large_does_not_stop_the_others(server_url: str) -> None:
    lines = b"before\n" + b"x" * (4 * 1024 * 1024 + 1) + b"\nafter\n"
    published = run("publish", "t", "--url", server_url, stdin=lines)
    assert published.returncode == 1
    told, summary = published.stderr.decode().splitlines()
    assert told == "trio-bus: line 2: 4194305 bytes, at most 4194304 can be published"
    assert summary == "trio-bus: published 2 messages to 't', refused 1"
    rows = parsed(run("consume", "t", "g", "--count", "2", "--url", server_url).stdout)
    assert [row["payload"] for row in rows] == ["before", "after"]


def test_a_refusal_of_the_server_ends_it_with_one_line(server_url: str) -> None:
    async def spoil() -> None:
        path = server_url.removeprefix("unix://")
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b"SET t text\r\n")
            assert await stream.receive_some() == b"+OK\r\n"

    trio.run(spoil)
    published = run("publish", "t", "--url", server_url, stdin=b"1\n2\n")
    assert published.returncode == 1
    summary, reason = published.stderr.decode().splitlines()
    assert summary == "trio-bus: published 0 messages to 't'"
    assert reason.startswith("trio-bus: line 1: WRONGTYPE")
    consumed = run("consume", "t", "g", "--url", server_url)
    assert (consumed.returncode, consumed.stdout) == (1, b"")
    assert consumed.stderr.startswith(b"trio-bus: WRONGTYPE")
    assert consumed.stderr.count(b"\n") == 1


def test_lines_are_published_as_they_come_and_ctrl_c_ends_it(server_url: str) -> None:
    with start("publish", "t", "--url", server_url, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"first\nhalf a li")
        process.stdin.flush()
        until(lambda: info(server_url, "t").length == 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"trio-bus: published 1 message to 't'\n"


def test_a_bar_where_somebody_watches(server_url: str, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"x\n" * 1234)
    screen, terminal = pty.openpty()
    command = [*COMMAND, "publish", "t", str(file), "--url", server_url]
    with os.fdopen(screen, "rb", buffering=0) as seen:
        assert subprocess.run(command, stderr=terminal, check=False).returncode == 0
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := seen.read(4096):
                shown += part
    assert b"1,234 lines" in shown
    assert b"published 1234 messages" in shown


MISUSES: list[tuple[str, str]] = [
    ("", "required: COMMAND"),
    ("frobnicate", "invalid choice: 'frobnicate'"),
    ("publish", "required: TOPIC"),
    ("publish t --frob --url unix:///x", "unrecognized arguments: --frob"),
    ("publish t", "give --url or set TRIO_BUS_URL"),
    ("publish t --url memory:", "memory: would end with this command"),
    ("publish t --url embedded:", "embedded: would end with this command"),
    ("publish t --url embedded://user:secret@dir", "not like embedded:///directory"),
    ("publish t --url http://user:secret@host", "the scheme must be one of"),
    ("publish t --url redis://user:secret@host:port", "the port is not a number"),
    ("publish t --url redis://user:secret@host?frob=1", "unknown option 'frob'"),
    ("publish t --url secret", "the scheme must be one of"),
    ("publish trio_bus:t --url unix:///x", "topic: 'trio_bus:t'"),
    ("publish t /missing/file --url unix:///x", "'/missing/file': No such file"),
    ("publish t / --url unix:///x", "cannot read"),
    ("publish t --header x --url unix:///x", "'x' is not NAME=VALUE"),
    ("publish t --header trio-bus-x=y --url unix:///x", "trio-bus-x"),
    ("consume t", "required: GROUP"),
    ("consume t g", "give --url or set TRIO_BUS_URL"),
    ("consume t g --url memory:", "memory: would end with this command"),
    ("consume t g --url embedded:", "embedded: would end with this command"),
    ("consume t ~g --url unix:///x", "group: '~g'"),
    ("consume t g --count 0 --url unix:///x", "'0' is not a number"),
    ("consume t g --max-in-flight many --url unix:///x", "'many' is not a number"),
    ("consume t g --start soon --url unix:///x", "'soon' is not 'oldest', 'newest'"),
    ("consume t g --dead-letter-topic t --url unix:///x", "dead_letter_topic: 't'"),
    ("consume t g --consumer ~x --url unix:///x", "consumer: '~x'"),
]


@pytest.mark.parametrize(("arguments", "reason"), MISUSES, ids=[line for line, _ in MISUSES])
def test_misuse_gets_one_line_and_exit_code_2(
    arguments: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRIO_BUS_URL", raising=False)
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("trio-bus: ")
    assert reason in line
    assert "secret" not in line


def test_misuse_in_a_process_of_its_own() -> None:
    misused = run("publish", "", "--url", CLOSED)
    assert (misused.returncode, misused.stdout) == (2, b"")
    assert misused.stderr == b"trio-bus: topic: '' is blank\n"


@pytest.mark.parametrize("command", ["publish t", "consume t g"])
def test_no_server_gets_one_line_and_exit_code_1(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_CONNECT_TIMEOUT", 0.1)
    assert main([*command.split(), "--url", CLOSED]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("trio-bus: cannot connect to localhost:1")
    assert "secret" not in line


def test_help_and_version() -> None:
    shown = run("--version")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert shown.stdout.startswith(b"trio-bus ")
    for command in ([], ["demo"], ["publish"], ["consume"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_hands_back_what_is_not_printed(server_url: str, number: signal.Signals) -> None:
    """Nobody reads: the pipe is full and the consumer holds entries when the signal comes."""
    lines = b"".join(b"%d %s\n" % (index, b"x" * 10_000) for index in range(60))
    run("publish", "t", "--url", server_url, stdin=lines)
    with start("consume", "t", "g", "--url", server_url) as process:
        assert process.stdout is not None
        output = process.stdout.readline()
        until(lambda: held(server_url, "t") > 8)
        process.send_signal(number)
        rest, complaints = process.communicate(timeout=PATIENCE)
        output += rest
        assert (process.returncode, complaints) == (0, b"")
    printed = parsed(output[: output.rfind(b"\n")])
    assert 0 < len(printed) < 60
    (group,) = info(server_url, "t").groups
    assert (group.pending, group.consumers) == (0, ())
    assert group.released > 0
    assert group.lag in {None, 60 - len(printed) - group.released}
    left = str(60 - len(printed))
    others = parsed(run("consume", "t", "g", "--count", left, "--url", server_url).stdout)
    assert {row["attempt"] for row in others} == {1}
    numbers = [int(str(row["payload"]).partition(" ")[0]) for row in [*printed, *others]]
    assert sorted(numbers) == list(range(60))


def test_it_ends_when_its_reader_goes_away(server_url: str) -> None:
    """Also when there is nothing to print that would meet the broken pipe."""
    with start("consume", "t", "g", "--url", server_url) as process:
        until(lambda: bool(info(server_url, "t").groups))
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert info(server_url, "t").groups[0].consumers == ()


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        ("doctor URL", ""),
        ("doctor URL", "1"),
        ("bench --rounds 1 --messages 9 --only publish --url URL", ""),
    ],
)
def test_what_nobody_reads_ends_like_other_commands(
    server_url: str, arguments: str, unbuffered: str
) -> None:
    """SIGPIPE kills those; Python ignores it, and would complain, now or at its end."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            [*COMMAND, *arguments.replace("URL", server_url).split()],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


async def test_a_broken_pipe_hands_the_unprinted_entry_back() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        async with open_bus("memory:") as bus:
            await publish(bus, 3)
            async with open_subscription(bus, config()) as deliveries:
                printer = Printer(writing)
                await printer.print_all(deliveries, None)
                assert printer.printed == 0
            (group,) = (await bus.info("orders")).groups
            assert (group.pending, group.released, group.delayed) == (0, 3, 0)
            async with open_subscription(bus, config()) as deliveries:
                assert (await deliveries.receive()).state.attempt == 1
    finally:
        os.close(writing)


async def test_a_full_disk_is_an_error_and_keeps_the_entry() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with open_bus("memory:") as bus:
            await publish(bus, 1)
            async with open_subscription(bus, config()) as deliveries:
                with pytest.raises(CommandError, match=os.strerror(errno.ENOSPC)):
                    await Printer(full).print_all(deliveries, None)
            (group,) = (await bus.info("orders")).groups
            assert (group.pending, group.released) == (0, 1)
    finally:
        os.close(full)


async def test_a_dead_letter_has_its_context() -> None:
    async with open_bus("memory:") as bus:
        await bus.publish(Message("orders", b"\xc2\x9b31m", uid="7"))
        async with open_subscription(bus, config()) as deliveries:
            await (await deliveries.receive()).reject(ValueError("bad"))
        dead = SubscriptionConfig("{orders}.dead", "undertaker")
        async with open_subscription(bus, dead) as deliveries:
            line = json_line(await deliveries.receive())
    assert b"\x9b" not in line  # terminals obey it
    (row,) = parsed(line)
    assert (row["uid"], row["payload"]) == ("7", "\x9b31m")
    context = cast("dict[str, object]", row["dead_letter"])
    assert (context["topic"], context["group"], context["attempts"]) == ("orders", "billing", 1)
    assert (context["cause"], context["error_text"]) == ("rejected", "bad")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_do_not_depend_on_how_they_arrive(size: int) -> None:
    text = b"one\n\ntwo\r\nthree\n" + b"x" * 30 + b"\nlast"
    splitter = LineSplitter(10)
    lines = [
        line
        for begin in range(0, len(text), size)
        for line in splitter.feed(text[begin : begin + size])
    ]
    lines += splitter.finish()
    whole = text.split(b"\n")
    assert [line.text for line in lines] == [line[:10] for line in whole]
    assert [line.size for line in lines] == [len(line) for line in whole]
    assert [line.number for line in lines] == list(range(1, 7))


@pytest.mark.parametrize("chunks", [[], [b"x\n"], [b"\n"]])
def test_a_newline_at_the_end_begins_no_line(chunks: Sequence[bytes]) -> None:
    splitter = LineSplitter(10)
    assert sum(len(splitter.feed(chunk)) for chunk in chunks) == len(chunks)
    assert splitter.finish() == []


def test_what_is_said_is_one_printable_line() -> None:
    assert one_line("a\nb \x1b[31m\tc") == "a b \\x1b[31m c"
    assert len(one_line("x" * 5000)) < 1100
