"""What does not fit in decoded JSON, and where."""

from __future__ import annotations

from typing import Final

from ._names import shown

_MAX_PATH = 200
_MISSING: Final = object()


class Misfit(Exception):
    """A value that is not what its place asks for. On its way out it learns its path."""

    def __init__(self, complaint: str, value: object = _MISSING) -> None:
        super().__init__(complaint)
        self._complaint = complaint
        self._value = value
        self._steps: list[str] = []

    def inside(self, step: str) -> None:
        """Note that what misfits stands inside of something, at this step."""
        self._steps.append(step)

    def __str__(self) -> str:
        what = "" if self._value is _MISSING else shown(self._value) + " "
        return f"{self._path()}: {what}{self._complaint}"

    def _path(self) -> str:
        path = "$" + "".join(reversed(self._steps))
        if len(path) <= _MAX_PATH:
            return path
        return f"{path[: _MAX_PATH // 2]}...{path[-_MAX_PATH // 2 :]}"


def step(name: str) -> str:
    """Write a name as a part of a path: ``.price``, or ``['two words']``."""
    return f".{name}" if name.isascii() and name.isidentifier() else f"[{shown(name)}]"


def missing(name: str) -> Misfit:
    """Make the misfit of an object that lacks something."""
    misfit = Misfit("is missing")
    misfit.inside(step(name))
    return misfit


def told(error: Exception) -> str:
    """Describe an error of others, bounded and in one line."""
    try:
        text = shown(str(error))
    except Exception:  # noqa: BLE001 - the error is broken; what it is about is not
        text = "its text cannot be made"
    return f"{type(error).__name__}: {text}"
