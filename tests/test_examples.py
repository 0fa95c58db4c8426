"""Every example of the manual runs, and prints what the manual says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Servers
from tests.unmeasured import unmeasured

pytestmark = pytest.mark.any_python

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SERVICES = {"service", "test_orders"}
"""What ends on a signal, and what pytest runs: `test_service.py` and `test_plugin.py` try them."""
PROGRAMS = [path for path in sorted(EXAMPLES.glob("*.py")) if path.stem not in SERVICES]
LONG = {"certify_bus", "conformance", "simulated"}
"""What lets Hypothesis make a failing program shorter, and what lives a hundred times."""
PAGES = [page.read_text() for page in EXAMPLES.parent.rglob("*.rst")]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(it, marks=(pytest.mark.long,) if it.stem in LONG else (), id=it.stem)
        for it in PROGRAMS
    ],
)
def test_example_prints_what_the_manual_says(path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == path.with_suffix(".txt").read_text(), ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_command_line_of_the_manual_works(servers: Servers, tmp_path: Path) -> None:
    environment = {
        **unmeasured(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TRIO_BUS_URL": servers.empty("valkey-9.1"),
    }
    ran = subprocess.run(
        ["bash", "-eu", str(EXAMPLES / "command_line.sh")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 3, ran.stdout
    for number in (7, 8, 9):
        assert any(f"order {number}" in line for line in lines), ran.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_example_is_in_the_manual(path: Path) -> None:
    """What is not shown is not an example (the readings are shown by what comes of them)."""
    shown = any(f"examples/{path.name}" in page for page in PAGES)
    assert shown or path.suffix == ".csv" or path.name == "__pycache__"


def test_every_python_block_of_the_manual_is_an_example_file() -> None:
    """Code that stands in a page itself would not be run."""
    assert PAGES
    for page in PAGES:
        assert "code-block:: python" not in page
        assert ">>>" not in page
