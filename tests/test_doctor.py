"""``trio-bus doctor``: each trap is found where it is, and nowhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping

import attrs
import pytest
import trio

from tests.pretender import HELLO_OK, pretender
from tests.server_kinds import real_version
from tests.servers import command as inline
from trio_bus import BusOptions, ConnectionLost
from trio_bus._cli import main
from trio_bus._credentials import Secret
from trio_bus._redis import read_address
from trio_bus._redis.diagnosis import Finding, Severity, Told, diagnose
from trio_bus._redis.examination import Examination, examine
from trio_bus._redis.rights import OPTIONAL, SUBSCRIBING

pytestmark = pytest.mark.every_server

LOSS, WARNING, NOTE = Severity
CLOSED = "redis://user:secret@localhost:1"

SOUND_INFO = {
    "redis_version": "8.6.3",
    "loading": "0",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "maxmemory": "0",
    "maxmemory_policy": "noeviction",
    "connected_clients": "8",
    "maxclients": "10",
    "connected_slaves": "0",
    "redis_mode": "standalone",
    "role": "master",
}
SOUND_CONFIG = {
    "appendfsync": "always",
    "min-replicas-to-write": "0",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 1 60",
    "timeout": "0",
    "proto-max-bulk-len": "536870912",
    "maxmemory-clients": "0",
}
SOUND = Told(name="redis", info=SOUND_INFO, config=SOUND_CONFIG)
_NORMAL = "client-output-buffer-limit"


def sick(told: Mapping[str, str]) -> Told:
    info = {name: text for name, text in told.items() if "_" in name or name in SOUND_INFO}
    config = {name: text for name, text in told.items() if name not in info}
    return attrs.evolve(SOUND, info=SOUND_INFO | info, config=SOUND_CONFIG | config)


def redis(version: str) -> Told:
    return sick({"redis_version": version})


def texts(findings: list[Finding]) -> str:
    return "\n".join(f"{it.severity.value}: {it.what} -> {it.todo}" for it in findings)


TRAPS: list[tuple[dict[str, str], Severity, str]] = [
    ({"maxmemory": "99", "maxmemory_policy": "allkeys-lru"}, LOSS, "deletes whole topics"),
    ({"maxmemory": "99", "maxmemory_policy": "volatile-ttl"}, WARNING, "drops idempotency keys"),
    ({"maxmemory": "99"}, NOTE, "refuses to publish"),
    ({"aof_enabled": "0"}, LOSS, "since the last snapshot"),
    ({"aof_enabled": "0", "save": ""}, LOSS, "a restart loses all, "),
    ({"appendfsync": "everysec"}, WARNING, "about a second"),
    ({"appendfsync": "no"}, WARNING, "about 30 seconds"),
    ({"aof_last_write_status": "err"}, LOSS, "messages are not on disk"),
    ({"rdb_last_bgsave_status": "err"}, WARNING, "MISCONF"),
    ({"loading": "1"}, WARNING, "loads its data"),
    ({_NORMAL: "normal 2097152 0 0 slave 0 0 0 pubsub 0 0 0"}, WARNING, "normal is 2097152 0"),
    ({_NORMAL: "normal 0 4096 9 slave 0 0 0 pubsub 0 0 0"}, WARNING, "normal is 0 4096"),
    ({"timeout": "30"}, NOTE, "timeout is 30 s"),
    ({"connected_clients": "9"}, WARNING, "9 of 10 clients"),
    ({"proto-max-bulk-len": "4194303"}, WARNING, "4,194,303 bytes"),
    ({"redis_mode": "cluster"}, WARNING, "cluster mode is on"),
    ({"role": "slave"}, WARNING, "this is a replica"),
    ({"connected_slaves": "2"}, WARNING, "2 connected, and min-replicas-to-write is 0"),
    ({"maxmemory-clients": "5%"}, WARNING, "maxmemory-clients is 5%"),
]


@pytest.mark.parametrize(("told", "severity", "text"), TRAPS)
def test_a_trap_is_found_and_only_it(told: dict[str, str], severity: Severity, text: str) -> None:
    (finding,) = diagnose(sick(told))
    assert finding.severity is severity
    assert text in finding.what
    assert finding.todo


HARMLESS: list[dict[str, str]] = [
    {},
    {"maxmemory_policy": "allkeys-lru"},  # without maxmemory
    {"connected_slaves": "2", "min-replicas-to-write": "1"},
    {"proto-max-bulk-len": "4194304"},
]


@pytest.mark.parametrize("told", HARMLESS)
def test_a_sound_server_has_no_findings(told: dict[str, str]) -> None:
    assert not diagnose(sick(told))


def test_what_is_not_told_is_not_judged() -> None:
    """But said."""
    (finding,) = diagnose(Told(name="redis", version=(8, 6, 3), refused=("CONFIG",)))
    assert finding.severity is NOTE
    assert finding.what.startswith("could not look at CONFIG")


@pytest.mark.parametrize(("skew", "text"), [(1.5, "1.5 s ahead of"), (-2.0, "2.0 s behind")])
def test_clocks_that_differ(skew: float, text: str) -> None:
    (finding,) = diagnose(attrs.evolve(SOUND, skew=skew))
    assert (finding.severity, text in finding.what) == (WARNING, True)
    assert not diagnose(attrs.evolve(SOUND, skew=skew / 2))


BUGS = {
    "overwrite": "CVE-2022-31144",
    "longer": "block for longer",
    "slot": "when a slot migrates",
    "unblock": "CLIENT UNBLOCK TIMEOUT",
    "waitaof": "no WAITAOF",
}
VERSIONS = {
    "6.2.14": {"unblock", "waitaof"},
    "7.0.4": {"overwrite", "unblock", "waitaof"},
    "7.0.5": {"unblock", "waitaof"},
    "7.2.0": {"longer", "slot", "unblock"},
    "7.2.4": {"longer", "slot", "unblock"},
    "7.2.5": {"slot", "unblock"},
    "7.2.6": {"slot", "unblock"},
    "7.2.7": {"unblock"},
    "8.0.9": {"unblock"},
    "8.2.0": set[str](),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_bugs_of_a_version(version: str) -> None:
    found = texts(diagnose(redis(version)))
    assert {bug for bug, text in BUGS.items() if text in found} == VERSIONS[version]


def test_valkey_does_not_have_the_bugs_of_the_redis_that_it_names() -> None:
    valkey = sick({"redis_version": "7.2.4", "valkey_version": "8.1.0", "server_name": "valkey"})
    assert valkey.product == ("valkey", (8, 1, 0))
    assert not diagnose(valkey)
    assert not diagnose(attrs.evolve(SOUND, name="valkey", version=(8, 1), info={}))


@pytest.mark.parametrize(
    ("version", "bad"), [("7.0.15", False), ("7.2.0", True), ("8.6.2", True), ("8.6.3", False)]
)
def test_clients_that_are_evicted_where_that_crashes(version: str, bad: bool) -> None:  # noqa: FBT001 - a row
    told = sick({"redis_version": version, "maxmemory-clients": "1000"})
    assert ("CVE-2026-23479" in texts(diagnose(told))) is bad


def test_the_worst_comes_first() -> None:
    found = diagnose(sick({"timeout": "30", "appendfsync": "no", "aof_last_write_status": "err"}))
    assert [finding.severity for finding in found] == [LOSS, WARNING, NOTE]


def test_rights_are_named_with_the_user_who_lacks_them() -> None:
    told = attrs.evolve(SOUND, user="few", missing=("xadd", "xack"), lacking=("info", "waitaof"))
    found = texts(diagnose(told))
    assert "WARNING: the user lacks +xadd +xack: " in found
    assert "ACL SETUSER few +xadd +xack" in found
    assert "NOTE: the user lacks +info: " in found
    assert not {*OPTIONAL} - {
        rule for rule in OPTIONAL if diagnose(attrs.evolve(SOUND, lacking=(rule,)))
    }


@contextlib.contextmanager
def setting(url: str, name: str, value: str, default: str) -> Generator[None]:
    assert inline(url, f"CONFIG SET {name} {value}") == "+OK"
    try:
        yield
    finally:
        assert inline(url, f"CONFIG SET {name} {default}") == "+OK"


def examined(url: str) -> Examination:
    return trio.run(examine, read_address(Secret(url), BusOptions()), 10.0)


def test_a_real_server_is_told_apart(server_url: str, server_kind: str) -> None:
    examination = examined(server_url)
    told = examination.told
    name, version = told.product
    assert name in {"redis", "valkey"}
    assert ".".join(map(str, version)) in real_version(server_kind)
    assert (told.user, told.role, told.mode) == ("default", "master", "standalone")
    assert (told.missing, told.lacking, told.refused) == ((), (), ())
    assert abs(told.skew) < 1
    assert {"evalsha", "subscribe", "client|unblock"} <= examination.capabilities
    assert "waitaof" not in examination.capabilities  # there is no append-only file
    assert "appendonly is no, and no snapshots" in texts(diagnose(told))


REAL = [
    ("maxmemory-policy", "allkeys-lru", "noeviction", "deletes whole topics"),
    ("timeout", "99", "0", "timeout is 99 s"),
    ("proto-max-bulk-len", "1048576", "536870912", "1,048,576 bytes"),
    (_NORMAL, '"normal 9999999 0 0"', '"normal 0 0 0"', "normal is 9999999 0"),
]


@pytest.mark.parametrize(("name", "value", "default", "text"), REAL)
def test_a_trap_on_a_real_server(
    server_url: str, name: str, value: str, default: str, text: str
) -> None:
    with setting(server_url, "maxmemory", "1000000000", "0"):
        assert text not in texts(diagnose(examined(server_url).told))
        with setting(server_url, name, value, default):
            assert text in texts(diagnose(examined(server_url).told))


def test_the_command_shows_facts_and_findings(
    server_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", server_url]) == 1
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "disk: appendonly no, " in shown.out
    assert "LOSS: appendonly is no" in shown.out


def test_without_a_loss_the_exit_code_is_0(
    server_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIO_BUS_URL", server_url)
    with setting(server_url, "appendonly", "yes", "no"):
        assert main(["doctor"]) == 0
    assert "LOSS" not in capsys.readouterr().out


def test_it_changes_nothing(server_url: str) -> None:
    examined(server_url)
    assert inline(server_url, "DBSIZE") == ":0"


def test_a_user_who_may_not_look(server_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told what could not be looked at, and what else it lacks; its password is not shown."""
    rules = " ".join(f"+{rule}" for rule in SUBSCRIBING if rule != "xack")
    line = f"ACL SETUSER blind reset on >secret resetchannels ~orders -@all {rules}"
    assert inline(server_url, line) == "+OK"
    try:
        assert main(["doctor", server_url.replace("//", "//blind:secret@")]) == 0
    finally:
        assert inline(server_url, "ACL DELUSER blind") == ":1"
    shown = capsys.readouterr().out
    for what in ("INFO", "CONFIG", "ACL WHOAMI"):
        assert f"NOTE: could not look at {what}" in shown
    assert "WARNING: the user lacks +xack: " in shown
    for rule in ("client|unblock", "client|kill", "info", "subscribe"):
        assert f"NOTE: the user lacks +{rule}: " in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "give its URL or set TRIO_BUS_URL"),
        (["memory:"], 2, "the scheme must be one of"),
        (["redis://user:secret@host?frob=1"], 2, "unknown option 'frob'"),
        ([CLOSED], 1, "cannot connect to localhost:1"),
    ],
)
def test_how_it_fails(
    arguments: list[str],
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TRIO_BUS_URL", raising=False)
    assert main(["doctor", *arguments]) == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert text in shown.err
    assert "secret" not in shown.err


async def test_rights_that_are_enough_are_not_called_missing(server_url: str) -> None:
    """Without those of anything else, such as PING."""
    rules = " ".join(f"+{rule}" for rule in (*SUBSCRIBING, *OPTIONAL) if rule != "waitaof")
    line = f"ACL SETUSER able reset on >pw resetchannels &trio_bus:* ~orders -@all {rules}"
    assert inline(server_url, line) == "+OK"
    address = read_address(Secret(server_url.replace("//", "//able:pw@")), BusOptions())
    try:
        told = (await examine(address, 10.0)).told
    finally:
        assert inline(server_url, "ACL DELUSER able") == ":1"
    assert (told.missing, set(told.lacking) - {"waitaof"}) == ((), set())
    assert told.refused == ("CONFIG", "ACL WHOAMI")


async def test_a_server_that_stops_answering_is_one_error_in_time() -> None:
    """After a greeting like any other."""
    cut = HELLO_OK.index(b"+OK")  # to HELLO, and to what follows it
    async with pretender(HELLO_OK[:cut], HELLO_OK[cut:]) as (url, _):
        address = read_address(Secret(url), BusOptions())
        with pytest.raises(ConnectionLost, match="no answer to the questions within"):
            await examine(address, 0.5)
