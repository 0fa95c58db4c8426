"""``trio-bus doctor``: what on a server endangers messages, and what to do about it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

import trio

from trio_bus._credentials import Secret
from trio_bus._options import BusOptions
from trio_bus._redis import read_address
from trio_bus._redis.diagnosis import Finding, Severity, Told, diagnose
from trio_bus._redis.examination import Examination, examine

from .failing import FAILED, CommandError, one_line
from .server import VARIABLE

HELP = "look at a server: will it lose messages, and what is to be done?"
DESCRIPTION = (
    "Ask a server how it is set up, change nothing, and say what endangers messages there, each "
    "with what to do. The exit code is 1 if something loses confirmed messages."
)
_TIMEOUT = 5.0
_UNTOLD = "not told"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help=f"redis://, rediss://, valkey://, valkeys:// or unix://; {VARIABLE} where it is not "
        f"given (a better place for a password)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Examine the server; return the exit code."""
    url = str(arguments.url or os.environ.get(VARIABLE) or "")
    if not url:
        raise CommandError(f"which server? give its URL or set {VARIABLE}")
    address = read_address(Secret(url), BusOptions())
    examination = trio.run(examine, address, _TIMEOUT)
    findings = diagnose(examination.told)
    for line in (*report(address.safe_url, examination), *advice(findings)):
        print(one_line(line) if line.strip() else "")
    return FAILED if any(it.severity is Severity.LOSS for it in findings) else 0


def report(url: str, examination: Examination) -> Iterator[str]:
    """Yield a line for each fact."""
    told = examination.told
    name, version = told.product
    facts = {
        "server": f"{name.capitalize()} {'.'.join(map(str, version))} at {url}",
        "user": _UNTOLD if told.user is None else told.user,
        "mode": f"{told.mode}, {told.role}",
        "disk": _disk(told),
        "memory": _memory(told),
        "replicas": f"{_info(told, 'connected_slaves')} connected, min-replicas-to-write "
        f"{_setting(told, 'min-replicas-to-write')}",
        "capable of": ", ".join(sorted(examination.capabilities)) or "nothing special",
    }
    for fact, text in facts.items():
        yield f"{fact}: {text}"


def advice(findings: list[Finding]) -> Iterator[str]:
    """Yield a line for each finding."""
    yield ""
    for finding in findings:
        yield f"{finding.severity.value}: {finding.what} -> {finding.todo}"
    count = sum(finding.severity is Severity.LOSS for finding in findings)
    yield f"{count} of {len(findings)} findings lose messages" if findings else "nothing found"


def _disk(told: Told) -> str:
    enabled = {"0": "no", "1": "yes"}.get(told.info.get("aof_enabled", ""), _UNTOLD)
    fsync = _setting(told, "appendfsync")
    status = _info(told, "rdb_last_bgsave_status")
    return f"appendonly {enabled}, appendfsync {fsync}, last snapshot {status}"


def _memory(told: Told) -> str:
    policy = told.info.get("maxmemory_policy") or _setting(told, "maxmemory-policy")
    most = told.info.get("maxmemory") or _setting(told, "maxmemory")
    return f"maxmemory {'unlimited' if most == '0' else most}, {policy}"


def _info(told: Told, name: str) -> str:
    return told.info.get(name) or _UNTOLD


def _setting(told: Told, name: str) -> str:
    return told.config.get(name) or _UNTOLD
