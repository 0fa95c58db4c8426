"""What is written into files: the figures, the part of a page that shows them, and a chart."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .chart import chart
from .page import page
from .report import Report


def as_json(report: Report) -> str:
    """Return all that was found."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def save(report: Report, directory: Path) -> None:
    """Write the three files into a directory, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files(report).items():
        (directory / name).write_text(text, encoding="utf-8")


def files(report: Report) -> dict[str, str]:
    """Return what is written, by the name of its file."""
    return {
        "bench.json": f"{as_json(report)}\n",
        "bench.inc": page(report),
        "bench.svg": chart(report),
    }


def load(path: Path) -> Report:
    """Return a report that was saved."""
    return msgspec.json.decode(path.read_bytes(), type=Report)
