"""Every check of the project: ``nox`` runs all of them, ``nox -s lint`` one.

The Pythons come from the classifiers in ``pyproject.toml``. Those that this machine lacks are
named and left out; one must be there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
# Only Pythons that start are asked for, unless there is none at all.
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    *("lint", "types", "tests", "property_tests", "coverage", "servers", "docs"),
]

PYPROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PYPROJECT)
PACKAGE = "-e.[cli,embedded,testing]"
WORKERS = ("-n", "3", "--dist", "worksteal")  # on two cores, for what computes
# For what waits for servers and other processes: what takes long begins first, one for each.
WAITERS = ("-n", "5", "--maxschedchunk", "2")
PATIENT = ("-n", "7", "--maxschedchunk", "2")  # for what waits most of the time
# What may differ between Pythons; and how they speak to a server is seen in a few places.
SMOKE = ("test_redis_backend", "test_public_suites", "test_connection_edges", "test_tls")
LESS = (
    *("-m", "not long and not bulk and not any_python"),
    *("-k", f"not redis-server and (not valkey-9.1 or {' or '.join(SMOKE)})"),
)
SOURCES = ("trio_bus", "tests", "property_tests", "docs", "conftest.py", "noxfile.py")


def _output(*command: str) -> str:
    """Return what *command* prints, or nothing if it cannot run."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603


def _show_pyenv_all_versions() -> None:
    """Let every supported Python that pyenv has start: its commands know one version otherwise."""
    if "PYENV_VERSION" in os.environ:
        return
    installed = _output("pyenv", "versions", "--bare").split()
    wanted = [name for name in installed if name.rpartition(".")[0] in SUPPORTED]
    if wanted:
        os.environ["PYENV_VERSION"] = ":".join(wanted)


def _starts(version: str) -> bool:
    """Tell whether this Python runs: a command of pyenv may exist and not do so."""
    return _output(f"python{version}", "--version").startswith(f"Python {version}.")


_show_pyenv_all_versions()
# Otherwise each of a thousand processes would compile the package anew; the tree stays clean.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(".nox", "bytecode").resolve()))
# The Python that runs nox counts, even if it is on no PATH.
os.environ["PATH"] += os.pathsep + str(Path(sys.base_prefix, "bin"))
PRESENT = [version for version in SUPPORTED if _starts(version)]
MISSING = [version for version in SUPPORTED if version not in PRESENT]
MEASURED = (PRESENT or SUPPORTED)[0]


def _install(session: nox.Session, *groups: str) -> None:
    session.install(PACKAGE, *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and form."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with two checkers, and that the public face is completely typed."""
    _install(session, "types", "tests")
    session.run("mypy", "--num-workers", "2")
    session.run("pyright", "--threads", "2")
    session.run("pyright", "--verifytypes", "trio_bus", "--ignoreexternal")


@nox.session(python=PRESENT or SUPPORTED)
def tests(session: nox.Session) -> None:
    """Run the tests; on one Python with coverage, every server and those that take long."""
    for version in MISSING:
        session.warn(f"Python {version} is supported and not on this machine: not tested")
    _install(session, "tests")
    asked = session.posargs or ["tests"]
    if session.python == MEASURED:
        pytest = ("pytest", *WAITERS, *asked)
        if not session.posargs:
            session.run(*pytest, "-m", "bulk")
        _measure(session, "tests", *pytest, *(() if session.posargs else ("-m", "not bulk")))
    else:
        session.run("pytest", *WORKERS, *asked, *(() if session.posargs else LESS))


@nox.session(python=MEASURED)
def property_tests(session: nox.Session) -> None:
    """Let Hypothesis look for counterexamples; ``-- --hypothesis-profile=thorough`` for many."""
    _install(session, "tests")
    pytest = ("pytest", *WORKERS, "property_tests", *session.posargs)
    session.run(*pytest, "-m", "bulk")
    _measure(session, "property_tests", *pytest, "-m", "not bulk")


@nox.session(python=MEASURED)
def coverage(session: nox.Session) -> None:
    """Demand that both directories of tests together reach all of the source."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "tests"))
    files = [_coverage_file(name) for name in ("tests", "property_tests")]
    if missing := [file for file in files if not Path(file).exists()]:
        session.error(f"run the tests first, and the property tests: there is no {missing[0]}")
    session.run("coverage", "combine", "--quiet", "--keep", *files)
    session.run("coverage", "report", "--skip-covered", "--show-missing", "--fail-under=100")


def _coverage_file(name: str) -> str:
    return str(Path(f".coverage-{name}").resolve())


def _measure(session: nox.Session, name: str, *command: str) -> None:
    """Run tests, and keep what they reached in a file of that name."""
    where = {"COVERAGE_FILE": _coverage_file(name)}
    session.run("coverage", "erase", env=where)
    session.run("coverage", "run", "-m", *command, env=where)
    session.run("coverage", "combine", "--quiet", env=where)


@nox.session
def servers(session: nox.Session) -> None:
    """Run everything that speaks to a server on those that users have, besides our own."""
    _install(session, "tests", "servers")
    kinds = "--servers=redis-8.2,redis-6.2,valkey-8.1"
    session.run("pytest", *PATIENT, kinds, "tests", "property_tests", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Put known faults back into a copy, one at a time: a test has to notice each (on demand)."""
    _install(session, "tests")
    session.run("python", "-m", "tests.put_back", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant faults in a copy, one at a time: the suites have to find each (on demand)."""
    _install(session, "tests")
    session.run("python", "-m", "tests.hunt", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the manual; a warning is an error (the tests run its examples)."""
    _install(session, "docs")
    session.run("sphinx-build", "-nWE", "--keep-going", "docs", "docs/_build/html")
