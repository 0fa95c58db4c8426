"""What the settings of a server mean for the messages on it, judged from what it told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum, unique

import attrs

from .connecting import Version, parse_version

_LARGEST_BULK = 4 * 1024 * 1024  # the default of BusOptions.max_payload_bytes
_SKEW = 1.0
_CROWDED = 0.9


@unique
class Severity(Enum):
    """How bad it is, the worst first."""

    LOSS = "LOSS"
    """Confirmed messages are lost by what happens to every server: a restart, a full memory."""
    WARNING = "WARNING"
    """It fails, or loses, when something else goes wrong."""
    NOTE = "NOTE"
    """Worth knowing."""


@attrs.frozen
class Finding:
    """What was found, and what to do about it."""

    severity: Severity
    what: str
    todo: str


@attrs.frozen(kw_only=True)
class Told:
    """What the server told. What it did not tell is not there; nothing is found in it then."""

    name: str = ""
    """As in the greeting."""
    version: Version = ()
    info: Mapping[str, str] = attrs.field(factory=dict[str, str])
    config: Mapping[str, str] = attrs.field(factory=dict[str, str])
    mode: str = "standalone"
    role: str = "master"
    user: str | None = None
    skew: float = 0.0
    """Seconds that its clock is ahead of ours, at least; negative if it is behind."""
    missing: tuple[str, ...] = ()
    """The rules without which there are no subscriptions."""
    lacking: tuple[str, ...] = ()
    """The rules that make things better."""
    refused: tuple[str, ...] = ()
    """What could not be looked at."""

    @property
    def product(self) -> tuple[str, Version]:
        """Who it is: Valkey says that it is Redis 7.2.4 as well, for old clients."""
        if "valkey_version" in self.info:
            return "valkey", parse_version(self.info["valkey_version"])
        version = parse_version(self.info.get("redis_version", "")) or self.version
        return self.info.get("server_name") or self.name, version

    def number(self, name: str) -> int:
        """Return a number of INFO, or else of the configuration; 0 where it is not told."""
        text = self.info.get(name) or self.config.get(name) or ""
        return int(text) if re.fullmatch(r"\d+", text) else 0


def diagnose(told: Told) -> list[Finding]:
    """Return what endangers messages, the worst first."""
    found = [finding for look in _LOOKS for finding in look(told)]
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _loss(what: str, todo: str) -> Finding:
    return Finding(Severity.LOSS, what, todo)


def _warning(what: str, todo: str) -> Finding:
    return Finding(Severity.WARNING, what, todo)


def _note(what: str, todo: str) -> Finding:
    return Finding(Severity.NOTE, what, todo)


def _memory(told: Told) -> Iterator[Finding]:
    policy = told.info.get("maxmemory_policy") or told.config.get("maxmemory-policy") or ""
    full = told.number("maxmemory")
    if not full or not policy:
        return
    if policy == "noeviction":
        todo = "watch used_memory; give subscriptions a retention: else nothing is trimmed"
        yield _note(f"maxmemory is {full:,} bytes: a full server refuses to publish", todo)
    elif policy.startswith("volatile-"):
        what = f"maxmemory-policy is {policy}: a full server drops idempotency keys, and what is "
        yield _warning(what + "published twice is stored twice", _NO_EVICTION)
    else:
        what = f"maxmemory-policy is {policy}: a full server deletes whole topics, unread"
        yield _loss(what, _NO_EVICTION)


_NO_EVICTION = "CONFIG SET maxmemory-policy noeviction, and in the configuration file"


def _append_only_file(told: Told) -> Iterator[Finding]:
    on = told.info.get("aof_enabled")
    fsync = told.config.get("appendfsync")
    if on == "0":
        what = "appendonly is no: a restart loses all since the last snapshot, PERSISTED is refused"
        if told.config.get("save") == "":
            what = "appendonly is no, and no snapshots: a restart loses all, PERSISTED is refused"
        todo = "CONFIG SET appendonly yes, and in the file (leave it if messages may end with "
        yield _loss(what, todo + "the server, as those in memory: or embedded: do)")
    elif on == "1" and fsync in {"everysec", "no"}:
        lost = "about a second" if fsync == "everysec" else "about 30 seconds"
        what = f"appendfsync is {fsync}: a power failure loses {lost} of confirmed messages"
        todo = "appendfsync always, or publish what matters with Confirmation.PERSISTED"
        yield _warning(what, todo)
    if on == "1" and told.info.get("aof_last_write_status", "ok") != "ok":
        what = "the last write of the append-only file failed: messages are not on disk"
        yield _loss(what, "see the log of the server; is the disk full?")


def _snapshots(told: Told) -> Iterator[Finding]:
    if told.info.get("rdb_last_bgsave_status", "ok") != "ok":
        what = "the last snapshot failed: the server refuses to publish (MISCONF), unless "
        todo = "see the log of the server; is the disk full, or its directory not writable?"
        yield _warning(what + "stop-writes-on-bgsave-error is no", todo)
    if told.info.get("loading") == "1":
        yield _warning("the server loads its data and takes no work yet", "wait")


def _replicas(told: Told) -> Iterator[Finding]:
    if told.role not in {"", "master"} or told.info.get("role") == "slave":
        what = "this is a replica: buses refuse it"
        yield _warning(what, "give the URL of the primary")
    replicas = told.number("connected_slaves")
    if replicas and told.config.get("min-replicas-to-write") == "0":
        what = f"{replicas} connected, and min-replicas-to-write is 0: a failover loses what was "
        todo = "CONFIG SET min-replicas-to-write 1, or PERSISTED with PublishOptions(replicas=1)"
        yield _warning(f"replicas: {what}confirmed and not yet copied", todo)


def _clients(told: Told) -> Iterator[Finding]:
    limit = re.search(r"\bnormal (\S+) (\S+)", told.config.get("client-output-buffer-limit", ""))
    if limit and {*limit.groups()} != {"0"}:
        what = f"client-output-buffer-limit normal is {limit[1]} {limit[2]}: a reply that is larger"
        todo = "CONFIG SET client-output-buffer-limit 'normal 0 0 0', or small max_in_flight"
        yield _warning(f"{what} ends the connection, and is asked for again", todo)
    if seconds := told.number("timeout"):
        what = f"timeout is {seconds} s: idle connections are closed, and opened again"
        yield _note(what, "CONFIG SET timeout 0")
    connected, most = told.number("connected_clients"), told.number("maxclients")
    if most and connected >= _CROWDED * most:
        what = f"{connected} of {most} clients (maxclients) are connected: others are refused"
        yield _warning(what, "raise maxclients, or find out who opens so many")
    bulk = told.number("proto-max-bulk-len")
    if bulk and bulk < _LARGEST_BULK:
        what = f"proto-max-bulk-len is {bulk:,} bytes: a larger payload ends the connection"
        yield _warning(what, "raise it to 4 MiB or more, or lower BusOptions.max_payload_bytes")
    if told.config.get("maxmemory-clients", "0") not in {"0", "0%"}:
        what = f"maxmemory-clients is {told.config['maxmemory-clients']}: connections are closed"
        yield _warning(f"{what} when they hold much", "CONFIG SET maxmemory-clients 0")


def _cluster(told: Told) -> Iterator[Finding]:
    if told.mode == "cluster" or told.info.get("redis_mode") == "cluster":
        what = "cluster mode is on: a bus speaks to one node and follows no redirection"
        todo = "keep a topic and its dead-letter topic in one slot of this node: {orders}.dead"
        yield _warning(what, todo)


def _clock(told: Told) -> Iterator[Finding]:
    if abs(told.skew) > _SKEW:
        which = "ahead of" if told.skew > 0 else "behind"
        what = f"its clock is {abs(told.skew):.1f} s {which} ours: what is scheduled at an instant "
        yield _warning(what + "or expires does so early or late", "synchronize both (NTP)")


def _bugs(told: Told) -> Iterator[Finding]:
    """Those of Redis: Valkey began after they were mended, or mended them by itself."""
    name, version = told.product
    if name != "redis" or not version:
        return
    for first, mended, severity, what, todo in _BUGS:
        if first <= version < mended:
            shown = ".".join(map(str, mended))
            yield Finding(severity, f"Redis before {shown} {what}", f"{todo}{shown} or later")
    if (7, 2) <= version < (8, 6, 3) and told.config.get("maxmemory-clients", "0") != "0":
        what = "Redis before 8.6.3 uses freed memory when it evicts a blocked client "
        yield _warning(f"{what}(CVE-2026-23479)", "CONFIG SET maxmemory-clients 0, or upgrade")


_OLD = "upgrade to "
_BUGS: tuple[tuple[Version, Version, Severity, str, str], ...] = (
    (
        *((7, 0), (7, 0, 5), Severity.WARNING),
        *("can be made to overwrite memory (CVE-2022-31144, CVE-2022-35951)", _OLD),
    ),
    ((7, 2), (7, 2, 5), Severity.NOTE, "lets a reader block for longer than it asked", _OLD),
    (
        *((7, 2), (7, 2, 7), Severity.WARNING),
        *("crashes when a slot migrates under a blocked reader", f"migrate none, or {_OLD}"),
    ),
    (
        *((6, 2), (8, 2), Severity.NOTE),
        "may crash on CLIENT UNBLOCK TIMEOUT while clients are paused (trio_bus sends ERROR)",
        f"nothing for trio_bus; if others send it, {_OLD}",
    ),
    (
        *((6, 2), (7, 2), Severity.NOTE),
        *("has no WAITAOF: Confirmation.PERSISTED is refused", f"if you want it, {_OLD}"),
    ),
)


def _rights(told: Told) -> Iterator[Finding]:
    if told.missing:
        rules = _rules(told.missing)
        what = f"the user lacks {rules}: subscriptions need all of these, publishing needs +xadd"
        yield _warning(what, f"ACL SETUSER {_who(told)} {rules}")
    for rule in told.lacking:
        yield _note(
            f"the user lacks +{rule}: {_WITHOUT[rule]}", f"ACL SETUSER {_who(told)} +{rule}"
        )
    for what in told.refused:
        yield _note(f"could not look at {what}: this user may not", "look as another user")


def _who(told: Told) -> str:
    return "USER" if told.user is None else told.user


def _rules(rules: Iterable[str]) -> str:
    return " ".join(f"+{rule}" for rule in rules)


_WITHOUT = {
    "client|unblock": "a blocked read ends when its time is over, not at once",
    "client|kill": "lost reads are not fenced off",
    "info": "a restart of the server is not recognized",
    "subscribe": "what is handed back wakes no other consumer (&trio_bus:* is needed too)",
    "waitaof": "Confirmation.PERSISTED is refused",
}

_LOOKS: tuple[Callable[[Told], Iterable[Finding]], ...] = (
    *(_memory, _append_only_file, _snapshots, _replicas, _clients, _cluster, _clock),
    *(_bugs, _rights),
)
