"""How Sphinx builds the manual."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from importlib.metadata import version as version_of
from typing import get_type_hints

import attrs
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import trio_bus.abc
import trio_bus.testing  # noqa: F401 - and with these every module that is documented

project = "trio_bus"
author = "trio_bus contributors"
project_copyright = "2026, trio_bus contributors"
release = version_of("trio-bus")
version = release

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"trio_bus {release}"

# `Name` in a docstring is a name of Python, and has to exist.
default_role = "py:obj"
nitpicky = True
# Names of others: no inventory is fetched, so that the manual builds without a network.
nitpick_ignore_regex = [
    ("py:.*", r"(trio|collections|contextlib|datetime|enum|types|typing|cattrs|attrs|msgspec)\..*"),
    ("py:.*", r"(abc|hypothesis|logging|os|pathlib|unittest)\..*"),
    ("py:.*", r".*\._(faulty_backend\.B|events\.T|events\.T_co)"),  # type variables
    # What the types of autodoc and of attrs are called when they stand in a signature.
    ("py:class", r"(AbstractAsyncContextManager|AsyncGenerator|AsyncIterator|Awaitable|Callable)"),
    ("py:class", r"(Collection|Iterable|Iterator|Mapping|Sequence|Path|TracebackType|datetime)"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}


SETTINGS = {"trio_bus._backoff", "trio_bus._config", "trio_bus._options"}


def prepare_sources() -> None:
    """Undo, for this build, what ``trio_bus/__init__.py`` does to ``__module__``.

    Sphinx reads the docstrings of attributes, and their order, from the source of that module.
    How cattrs reads a setting (in ``Annotated``) is no concern of the reader.
    """
    for module in [module for name, module in sys.modules.items() if name.startswith("trio_bus.")]:
        for statement in ast.parse(inspect.getsource(module)).body:
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                public = getattr(module, statement.name)
                public.__module__ = module.__name__
                if module.__name__ in SETTINGS and attrs.has(public):
                    public.__annotations__ = get_type_hints(public)


def show_defaults(
    _app: Sphinx, what: str, _name: str, documented: object, *_: object
) -> tuple[str, None] | None:
    """Show how a class of settings is made without the types, which its attributes repeat."""
    if not isinstance(documented, type) or documented.__module__ not in SETTINGS:
        return None
    if what != "class" or not attrs.has(documented):
        return None
    signature = inspect.signature(documented)
    parameters = [
        parameter.replace(
            annotation=parameter.empty,
            default=Shown("...") if parameter.default is attrs.NOTHING else parameter.default,
        )
        for parameter in signature.parameters.values()
    ]
    shown = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
    return re.sub(r"<(class '([\w.]+)'|([\w.]+):[^>]*)>", r"\2\3", shown), None


class Shown(str):
    """Text that stands in a signature as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def keep_colons(
    _app: Sphinx, what: str, _name: str, _documented: object, _options: object, lines: list[str]
) -> None:
    """Keep Napoleon from taking what stands before a colon for the type of an attribute."""
    if what in {"attribute", "property"}:
        lines[:0] = ["..", ""]  # an empty comment: only a first line is searched


def find_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Find a name in another public module, or by the private one that an annotation names."""
    name = re.sub(r"^trio_bus(\.testing)?(\.[a-z_]\w*(?=\.))*\.", "", str(node.get("reftarget")))
    python = env.get_domain("py")
    for public in (f"trio_bus.{name}", f"trio_bus.abc.{name}", f"trio_bus.testing.{name}"):
        if any(public == known for known, *_ in python.get_objects()):
            document = str(node["refdoc"])
            return python.resolve_xref(env, document, app.builder, "obj", public, node, content)
    return None


def setup(app: Sphinx) -> None:
    """Add what is ours."""
    prepare_sources()
    app.connect("autodoc-process-signature", show_defaults)
    app.connect("autodoc-process-docstring", keep_colons, priority=100)  # before Napoleon
    app.connect("missing-reference", find_public)
