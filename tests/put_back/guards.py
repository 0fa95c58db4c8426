"""Which tests say that they guard against which fault: read from their sources, without a run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MARKER = "pytest.mark.guards"


def guards(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the ids of the tests below *root* that are marked, by the fault that they name."""
    found: dict[str, list[str]] = {}
    for directory in ("tests", "property_tests"):
        for path in sorted((root / directory).glob("test_*.py")):
            source = path.read_text()
            for test, name in _marked(source) if MARKER in source else ():
                found.setdefault(name, []).append(f"{path.relative_to(root).as_posix()}::{test}")
    return {name: tuple(tests) for name, tests in found.items()}


def _marked(source: str) -> Iterator[tuple[str, str]]:
    """Give the name of each test, with each fault that it names."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == MARKER:
                for argument in decorator.args:
                    yield node.name, str(ast.literal_eval(argument))
