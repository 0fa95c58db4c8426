"""Which tasks there are in this run, and where each of them waits, in words."""

from __future__ import annotations

from collections.abc import Iterator

import trio


def describe_tasks() -> str:
    """Say on a line for each task below the main one where it waits; the innermost place last."""
    root = trio.lowlevel.current_root_task()
    tasks = [] if root is None else list(_walk(root, 0))
    return "\n".join(f"{'  ' * depth}{task.name}: {_place(task)}" for depth, task in tasks)


def all_tasks() -> list[trio.lowlevel.Task]:
    """Return all tasks of this run, those of trio itself too."""
    root = trio.lowlevel.current_root_task()
    return [] if root is None else [task for _, task in _walk(root, 0)]


def _walk(task: trio.lowlevel.Task, depth: int) -> Iterator[tuple[int, trio.lowlevel.Task]]:
    yield depth, task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _walk(child, depth + 1)


def _place(task: trio.lowlevel.Task) -> str:
    frames = [
        f"{frame.f_code.co_qualname}:{line}"
        for frame, line in task.iter_await_frames()
        if not frame.f_globals.get("__name__", "").startswith("trio._core")
    ]
    return " > ".join(frames) or "it has not begun"
