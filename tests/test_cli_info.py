"""``trio-bus info``: lines for people, JSON for programs, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import cast

import attrs
import pytest

from tests.servers import command
from trio_bus import ConsumerInfo, EntryId, GroupInfo, TopicInfo
from trio_bus._cli import main
from trio_bus._cli.info import as_json, duration, report

pytestmark = pytest.mark.any_python

COMMAND = [sys.executable, "-W", "error", "-m", "trio_bus._cli"]
PATIENCE = 30.0
CLOSED = "redis://user:secret@localhost:1"
HOUR = EntryId(1_700_000_000_000)
BILLING = GroupInfo(
    "billing",
    last_delivered=EntryId(1_700_000_001_000, 7),
    lag=1200,
    pending=3,
    released=1,
    delayed=2,
    dead=4,
    suspects=5,
    consumers=(ConsumerInfo("worker-1", 3, 0.25), ConsumerInfo("worker-2", 0, 90_061.0)),
    oldest=EntryId(1_700_000_001_000),
)
IDLE = GroupInfo("audit", EntryId(5), None, 0, 0, 0, 0, ())
NOTHING = "pending 0, released 0, delayed 0, suspects 0, dead 0"
SOME = "pending 3, released 1, delayed 2, suspects 5, dead 4"
TOPIC = TopicInfo("orders", 1461, (IDLE, BILLING), HOUR, 2)


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, "info", *arguments], capture_output=True, timeout=PATIENCE, check=False
    )


def test_people_get_a_line_for_each_fact() -> None:
    """A topic, its groups, their consumers."""
    now = HOUR.time + timedelta(hours=2, minutes=5, seconds=1)
    assert list(report(TOPIC, now)) == [
        "topic 'orders': 1,461 entries, the oldest from 2 h 5 min ago, 2 scheduled",
        f"group 'audit': undelivered unknown, {NOTHING}, nothing to do",
        f"group 'billing': undelivered 1,200, {SOME}, 2 h 5 min behind",
        "consumer 'worker-1' of 'billing': 3 pending, idle for 0.2 s",
        "consumer 'worker-2' of 'billing': 0 pending, idle for 1 d 1 h",
    ]
    assert list(report(TopicInfo("orders", 0, ()), now)) == [
        "topic 'orders': 0 entries, 0 scheduled"
    ]


def test_a_private_group_is_one_line() -> None:
    """It has one consumer, whose name it says."""
    now, worker = HOUR.time, ConsumerInfo("worker-1", 0, 0.25)
    own = attrs.evolve(IDLE, name="~fan-worker-1", lag=2, consumers=(worker,))
    info = TopicInfo("orders", 1, (own,), HOUR)
    assert list(report(info, now))[1:] == [
        f"private group '~fan-worker-1': undelivered 2, {NOTHING}, nothing to do, idle for 0.2 s"
    ]
    (told,) = cast("list[dict[str, object]]", as_json(info)["groups"])
    assert (told["name"], told["is_private"]) == ("~fan-worker-1", True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0.0 s"),
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    """Two units; none is negative."""
    assert duration(seconds) == text


def test_programs_get_everything() -> None:
    """Null for what is not known."""
    told = cast("dict[str, object]", json.loads(json.dumps(as_json(TOPIC))))
    groups = cast("list[dict[str, object]]", told.pop("groups"))
    assert told == {
        "topic": "orders",
        "length": 1461,
        "oldest": "1700000000000-0",
        "scheduled": 2,
    }
    assert groups[0]["lag"] is groups[0]["oldest"] is None
    assert groups[1] == {
        "name": "billing",
        "last_delivered": "1700000001000-7",
        "lag": 1200,
        "pending": 3,
        "released": 1,
        "delayed": 2,
        "dead": 4,
        "consumers": [
            {"name": "worker-1", "pending": 3, "idle": 0.25},
            {"name": "worker-2", "pending": 0, "idle": 90061.0},
        ],
        "oldest": "1700000001000-0",
        "suspects": 5,
        "parked": 0,
        "is_private": False,
    }
    assert {field.name for field in attrs.fields(GroupInfo)} == set(groups[1]) - {"is_private"}


def test_a_topic_of_a_server(server_url: str) -> None:
    """As lines, and as JSON."""
    assert command(server_url, "XADD t 5-0 f v", reply_line=2) == "5-0"
    assert command(server_url, "XGROUP CREATE t billing 0") == "+OK"
    told = run("t", "--url", server_url)
    assert (told.returncode, told.stderr) == (0, b"")
    topic, group = told.stdout.decode().splitlines()
    assert topic.startswith("topic 't': 1 entry, the oldest from ")
    assert group.startswith("group 'billing': undelivered ")
    told = run("t", "--json", "--url", server_url)
    assert (told.returncode, told.stderr, told.stdout.count(b"\n")) == (0, b"", 1)
    row = cast("dict[str, object]", json.loads(told.stdout))
    assert (row["topic"], row["length"], row["oldest"]) == ("t", 1, "5-0")


def test_what_it_cannot_tell_is_one_line(
    server_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And an exit code."""
    assert command(server_url, "SET text 7") == "+OK"
    for arguments, code, text in (
        (["nothing", "--url", server_url], 1, "there is no topic 'nothing'"),
        (["nothing", "--json", "--url", server_url], 1, "there is no topic 'nothing'"),
        (["text", "--url", server_url], 1, "WRONGTYPE.*: topic 'text'"),
        (["t", "--url", CLOSED], 1, "localhost:1"),
        (["", "--url", server_url], 2, "topic: "),
        (["t", "--url", server_url, "--watch", "0"], 2, "'0' is not a number of seconds"),
        (["t", "--url", server_url, "--watch", "nan"], 2, "'nan' is not"),
        (["t", "--url", "memory:"], 2, "memory:"),
    ):
        assert main(["info", *arguments]) == code
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        assert "secret" not in line
        with pytest.raises(ValueError, match=rf"^trio-bus: .*{text}"):
            raise ValueError(line)


def test_watching_goes_on_until_it_is_stopped(server_url: str) -> None:
    """Also with a topic that is not there yet; Ctrl-C is how it ends."""
    with subprocess.Popen(
        [*COMMAND, "info", "t", "--json", "--watch", "0.05", "--url", server_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["length"] == 0
        command(server_url, "XADD t 5-0 f v")
        while json.loads(process.stdout.readline())["length"] == 0:
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""


def test_watching_ends_with_its_reader(server_url: str) -> None:
    """Like ``tail -f`` in a pipe."""
    with subprocess.Popen(
        [*COMMAND, "info", "t", "--watch", "0.05", "--url", server_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"topic 't': 0 entries")
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""


def test_consuming_what_is_no_stream_names_it(
    server_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """From the beginning, and when the key is replaced while it runs."""
    assert command(server_url, "SET text 7") == "+OK"
    assert main(["consume", "text", "g", "--url", server_url]) == 1
    assert capsys.readouterr().err.endswith(": topic 'text'\n")
    lines = tmp_path / "lines"
    lines.write_text("order 7\n")
    with subprocess.Popen(
        [*COMMAND, "consume", "t", "g", "--count", "2", "--url", server_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert main(["publish", "t", str(lines), "--url", server_url]) == 0
        assert process.stdout.readline().startswith(b"{")
        command(server_url, "SET t 7")
        assert process.wait(PATIENCE) == 1
        assert b" of topic 't', group 'g': WRONGTYPE" in process.stderr.read()
