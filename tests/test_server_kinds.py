"""Which servers tests run on, and what is said about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server_kinds import find_binary, real_version
from tests.servers import command
from tests.unmeasured import unmeasured

pytestmark = [pytest.mark.any_python, pytest.mark.every_server]

ROOT = Path(__file__).parent.parent


def run(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, with nothing but *path* as PATH if that is given."""
    environment = {name: text for name, text in unmeasured().items() if "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment if path is None else {**environment, "PATH": path},
    )


def test_a_server_is_what_its_name_says(server_kind: str, server_url: str) -> None:
    """Asked itself too: Valkey tells its version after that of the Redis which it replaces."""
    family, _, number = real_version(server_kind).lower().partition(" ")
    if server_kind != "redis-server":
        assert f"{family}-{number}".startswith(f"{server_kind}.")
    told = [command(server_url, "INFO server", reply_line=line) for line in (3, 4, 5)]
    assert f"{family}_version:{number}" in told


@pytest.mark.guards("no test meets a real server")
def test_an_ordinary_run_meets_memory_and_real_servers() -> None:
    """Both the runtime and the backend, without being asked."""
    shown = run(
        "--collect-only", "tests/test_subscription.py", "tests/test_redis_backend.py"
    ).stdout
    for kind in ("memory", "valkey-9.1", "redis-server"):
        assert f"is_retried_in_place_and_only_in_its_group[{kind}]" in shown
    for kind in ("valkey-9.1", "redis-server"):
        assert f"test_settling_is_fenced_by_owner_and_attempt[{kind}]" in shown


def test_only_what_speaks_to_a_server_runs_when_servers_are_named() -> None:
    shown = run("--collect-only", "--servers=valkey-9.1", "tests/test_subscription.py").stdout
    lines = [line for line in shown.splitlines() if "::" in line]
    assert lines
    assert all("valkey-9.1" in line for line in lines)


@pytest.mark.guards("no test meets a real server")
def test_a_named_server_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    """Without being named, it is skipped; both say its name."""
    test = f"{Path(__file__).relative_to(ROOT)}::test_a_server_is_what_its_name_says"
    named = run("--servers=redis-server", test, path=str(tmp_path))
    assert named.returncode == 1
    assert "redis-server is not installed on this machine" in named.stdout
    ordinary = run("-rs", test, path=str(tmp_path))
    assert ordinary.returncode == 0, ordinary.stdout
    assert "redis-server is not installed on this machine" in ordinary.stdout
    assert f"server valkey-9.1 ({real_version('valkey-9.1')}): 1 tests" in ordinary.stdout


def test_an_unknown_kind_is_refused_by_name() -> None:
    refused = run("--servers=redis-8.2,redis-5", "tests/test_names.py")
    assert refused.returncode != 0
    assert "'redis-5' is none of valkey-9.1, redis-server," in refused.stderr


def test_what_is_not_known_is_not_found() -> None:
    assert find_binary("valkey-9.1") is not None
    with pytest.raises(AssertionError, match="no-such-server is not installed"):
        real_version("no-such-server")
