"""The house rules that a machine can hold: layers, sizes, what is never imported."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import trio_bus

pytestmark = pytest.mark.any_python

PACKAGE = Path(trio_bus.__file__).parent
ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Values: what there is to say. They import each other and nothing above.
PLAIN = {
    *("_entry_id", "_errors", "_names", "_backend", "_dead_letter", "_checks", "_credentials"),
    *("_info", "_decision", "_settled", "_look", "_once", "_patience", "_suspects", "_graves"),
    *("_settlement", "_ordering", "_chance", "_wall", "_entry", "_flat"),
}
EVENTS = {"_alternatives", "_events", "_misfit", "_shape", "_shapes", "_structure", "_writing"}
MESSAGES = {"_codec", "_envelope", "_fields", "_headers", "_message", "_timestamp", "_uid"} | EVENTS
SETTINGS = {"_backoff", "_config", "_modes", "_options", "_retention", "_tables"}
VALUES = PLAIN | MESSAGES | SETTINGS | {"_observer"}
# Backends: entries, groups and bytes. They never see a message.
BACKENDS = {"_embedded", "_embedded_watchdog", "_memory", "_redis"}
# Doors: they join backends and the bus. The rest of the package is the runtime between.
DOORS = {"__init__", "_cli", "_connect", "abc", "testing"}

PURE_PARTS = {"_memory.stream", "_memory.store", "_memory.group", "_memory.takeover", "_redis.resp"}


# For programs of their own that ``trio-bus bench`` starts: they measure other libraries. See below.
OTHER_LOOP = "_cli.bench.peers.on_asyncio"
PEERS = "_cli.bench.peers."

PUBLIC = sorted(
    name
    for name, value in vars(trio_bus).items()
    if not name.startswith("_") and not inspect.ismodule(value)
)


def test_every_named_module_exists() -> None:
    """A rule about a module that was renamed would hold nothing."""
    families = {name.partition(".")[0] for name in FILES}
    assert families >= PLAIN | MESSAGES | BACKENDS | {"_connect", "_cli"}
    assert set(FILES) >= PURE_PARTS


def test_imports_point_down() -> None:
    for name in FILES:
        family = name.partition(".")[0]
        imported = {target.partition(".")[0] for target in _imports(name)} - {family}
        if family in VALUES:
            assert imported <= VALUES, name
        elif family in BACKENDS:
            # (The clock and the helpers that wait are neither messages nor runtime.)
            above = MESSAGES | DOORS | {"_bus", "_delivery", "_subscription"}
            assert not imported & above, name
        elif family not in DOORS:
            assert not imported & (BACKENDS | DOORS), name


def test_no_imports_go_round_in_circles() -> None:
    graph = {name: _imports(name) - {name} for name in FILES if name != "__init__"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {error.args[1]}")


@pytest.mark.parametrize("name", sorted(VALUES | PURE_PARTS))
def test_pure_modules_do_not_import_trio(name: str) -> None:
    if name in FILES:
        assert "trio" not in _foreign(name)
    else:
        pytest.fail(f"there is no module {name}")


def test_no_other_event_loop_and_no_threads() -> None:
    others = {"asyncio", "anyio", "threading", "concurrent", "multiprocessing"}
    for name in sorted(FILES.keys() - {OTHER_LOOP}):
        assert not _foreign(name) & others, name
        measures = any(it.startswith(PEERS) for it in _imports(name))
        assert name.startswith(PEERS) or not measures, name


def test_only_one_module_has_another_event_loop() -> None:
    """The exception is needed: a peer that is measured runs in its own process, on its own loop."""
    assert "asyncio" in _foreign(OTHER_LOOP)


def test_a_file_is_read_in_one_sitting() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_a_function_is_seen_at_once() -> None:
    long = [
        f"{name}: {node.name}: {length}"
        for name in FILES
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := _body_length(node)) > 50
    ]
    assert not long


def test_types_are_ignored_rarely_and_with_a_reason() -> None:
    ignores = [
        line.strip()
        for path in FILES.values()
        for line in path.read_text().splitlines()
        if re.search(r"#\s*(type|pyright):\s*ignore", line)
    ]
    assert len(ignores) <= 4, ignores
    reasoned = re.compile(r"# (type|pyright): ignore\[[\w, -]+\]  # \w+")
    assert all(reasoned.search(line) for line in ignores), ignores


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_a_docstring(name: str) -> None:
    public: object = getattr(trio_bus, name)
    if not (inspect.isclass(public) or inspect.isroutine(public)):
        return  # a constant or an alias: its text stands below it in the source
    # A docstring of its own: not one that is inherited, or generated.
    assert (public.__doc__ or "").strip().endswith((".", ":", ")", "``"))
    for part, value in vars(public).items() if inspect.isclass(public) else ():
        if not part.startswith("_") and inspect.isroutine(value):
            assert inspect.getdoc(getattr(public, part)), f"{name}.{part}"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_in_the_reference(name: str) -> None:
    reference = (PACKAGE.parent / "docs" / "reference.rst").read_text()
    assert re.search(rf"^\.\. auto\w+:: {name}\b", reference, re.MULTILINE)


@cache
def test_a_clock_is_an_argument_of_its_test() -> None:
    """pytest-trio does not look for it in marks: such a test would run in real time."""
    marked = re.compile(r"usefixtures\([^)]*_clock")
    files = [path for name in ("tests", "property_tests") for path in ROOT.glob(f"{name}/**/*.py")]
    assert len(files) > 100
    assert [path.name for path in files if marked.search(path.read_text())] == []


def _tree(name: str) -> ast.Module:
    """Parse a module, once."""
    return ast.parse(FILES[name].read_text(), str(FILES[name]))


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _nodes(node)


@cache
def _foreign(name: str) -> set[str]:
    """Name the packages that a module imports from elsewhere."""
    found: set[str] = set()
    for node in _nodes(_tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


@cache
def _imports(name: str) -> set[str]:
    """Name the modules of the package that a module imports."""
    found: set[str] = set()
    for node in _nodes(_tree(name)):
        if isinstance(node, ast.ImportFrom) and (node.level or _is_ours(node.module or "")):
            base = _base(name, node)
            for alias in node.names:
                found.add(_module(f"{base}.{alias.name}".strip("."), base))
    return found


def _is_ours(module: str) -> bool:
    return module == "trio_bus" or module.startswith("trio_bus.")


def _base(name: str, node: ast.ImportFrom) -> str:
    """Resolve the part of an import of ours before ``import``."""
    if not node.level:
        return (node.module or "").partition(".")[2]
    package = name.removesuffix("__init__").rstrip(".").split(".")
    if not name.endswith("__init__"):
        package = package[:-1]
    package = package[: len(package) - (node.level - 1)]
    return ".".join([*package, *([node.module] if node.module else [])]).strip(".")


def _module(full: str, base: str) -> str:
    for candidate in (full, f"{full}.__init__", base, f"{base}.__init__"):
        if candidate in FILES:
            return candidate
    return "__init__"


def _body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function after its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
