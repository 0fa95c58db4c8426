"""What needs Hypothesis is loaded when it is asked for, and says so where that is missing.

And of the command only what is named.
"""

# pyright: reportPrivateUsage=false
# It is the list of what is tested.

from __future__ import annotations

import subprocess
import sys

import pytest

from trio_bus import testing

pytestmark = pytest.mark.any_python

LAZY = sorted(testing._NEED_HYPOTHESIS)
WITHOUT = "import sys; sys.modules['hypothesis'] = None\n"


def run(program: str) -> str:
    """Run it in a fresh interpreter; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_name_is_public(name: str) -> None:
    assert name in testing.__all__
    assert getattr(testing, name).__module__ == "trio_bus.testing"
    assert vars(testing)[name] is getattr(testing, name)


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    told = run("import sys, trio_bus.testing; print('hypothesis' in sys.modules)")
    assert told == "False\n"


def test_a_command_loads_what_it_needs_alone() -> None:
    told = run("""
import sys
from trio_bus._cli import main
main(["publish", "--nonsense"])
print({name for name in ("simulate", "bench", "publish") if f"trio_bus._cli.{name}" in sys.modules})
""")
    assert told == "{'publish'}\n"


def test_without_hypothesis_each_says_what_to_install() -> None:
    """And whatever else there is works."""
    program = f"""
from trio_bus.testing import open_fault_proxy
import trio_bus.testing
for name in {LAZY!r}:
    try:
        getattr(trio_bus.testing, name)
    except ImportError as error:
        print(error)
"""
    assert run(WITHOUT + program).splitlines() == [
        f"trio_bus.testing.{name} needs hypothesis: install trio-bus[testing]" for name in LAZY
    ]


def test_another_module_that_is_missing_is_not_called_hypothesis() -> None:
    program = """
import sys, trio_bus.testing
sys.modules["trio_bus.testing._backend_conformance._machine"] = None
try:
    trio_bus.testing.backend_conformance
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(program) == "trio_bus.testing._backend_conformance._machine\n"


def test_what_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = testing.nonsense  # type: ignore[attr-defined]  # that is what is tested
