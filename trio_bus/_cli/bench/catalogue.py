"""Everything that ``trio-bus bench`` can measure."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from .works import BATCH, READ, TASKS, Area, Kind, Work

_MIB = 1024 * 1024
_SIZES = ((100, "100 B"), (1024, "1 KiB"), (10 * 1024, "10 KiB"), (102_400, "100 KiB"))
_LARGEST = (_MIB, "1 MiB")
_BYTES = 128 * _MIB
"""What is published of large payloads."""
_AT_ONCE = 8 * _MIB
"""What of that is under way at a time: of what a first read brings all, nobody is measured."""


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured."""

    size: int
    rate: float
    messages: int
    """In each measurement of throughput; one by one it is a part of them."""
    backlogs: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    subscriptions: tuple[int, ...] = (1, 16, 64, 256)
    idlers: int = 100
    latency: float = 4.0
    """Seconds in which messages come at the rate."""
    seconds: float = 20.0
    """How long the idle are watched."""
    lives: int = 20


def quick(scale: Scale) -> Scale:
    """Return what is over in less than two minutes."""
    return attrs.evolve(
        scale,
        messages=min(scale.messages, 4000),
        backlogs=(10_000, 40_000),
        subscriptions=(1, 64),
        latency=1.0,
        seconds=2.0,
        lives=5,
    )


def works(scale: Scale, areas: Collection[Area] = tuple(Area)) -> tuple[Work, ...]:
    """Return what there is to measure in these areas."""
    everything = (
        *_publishing(scale),
        *_consuming(scale),
        *_latency(scale),
        *_sizes(scale),
        *_many(scale),
        *_backlogs(scale),
        *_waiting(scale),
    )
    return tuple(work for work in everything if work.area in areas)


def _publishing(scale: Scale) -> list[Work]:
    rows = (
        ("publish, one task", scale.messages // 5, 1, 1),
        (f"publish, {TASKS} tasks", scale.messages, TASKS, 1),
        (f"publish, batches of {BATCH:,}", scale.messages, 1, BATCH),
    )
    return [
        Work(
            name=name,
            area=Area.PUBLISH,
            kind=Kind.PUBLISH,
            count=max(1, count),
            width=width,
            batch=batch,
            size=scale.size,
        )
        for name, count, width, batch in rows
    ]


def _consuming(scale: Scale) -> list[Work]:
    single = [
        Work(
            name=f"consume, {width} in flight",
            area=Area.CONSUME,
            kind=Kind.CONSUME,
            count=max(1, scale.messages // share),
            width=width,
            size=scale.size,
        )
        for width, share in ((1, 5), (16, 1), (64, 1), (256, 1))
    ]
    batches = Work(
        name=f"consume, batches of {READ}",
        area=Area.CONSUME,
        kind=Kind.BATCHES,
        count=scale.messages,
        batch=READ,
        size=scale.size,
    )
    return [*single, batches]


def _latency(scale: Scale) -> list[Work]:
    work = Work(
        name=f"latency at {scale.rate:,.0f}/s",
        area=Area.LATENCY,
        kind=Kind.LATENCY,
        count=max(1, min(scale.messages, round(scale.rate * scale.latency))),
        width=TASKS,
        rate=scale.rate,
        size=max(8, scale.size),
    )
    return [work]


def _sizes(scale: Scale) -> list[Work]:
    return [
        _sized(scale, kind, size, text)
        for size, text in (*_SIZES, _LARGEST)
        for kind in (Kind.PUBLISH, Kind.CONSUME)
    ]


def _sized(scale: Scale, kind: Kind, size: int, text: str) -> Work:
    width = min(TASKS, _AT_ONCE // size)
    return Work(
        name=f"{kind.value}, {width} at a time, {text}",
        area=Area.SIZES,
        kind=kind,
        count=max(1, min(scale.messages, _BYTES // size)),
        width=width,
        size=size,
    )


def _many(scale: Scale) -> list[Work]:
    return [
        Work(
            name=f"{count} subscription{'s' if count > 1 else ''}",
            area=Area.SUBSCRIPTIONS,
            kind=Kind.SUBSCRIPTIONS,
            count=max(count, scale.messages),
            width=count,
            size=scale.size,
        )
        for count in scale.subscriptions
    ]


def _backlogs(scale: Scale) -> list[Work]:
    return [
        Work(
            name=f"backlog of {backlog:,}{_others(pending)}",
            area=Area.BACKLOG,
            kind=Kind.BACKLOG,
            count=min(scale.messages, backlog),
            width=TASKS,
            backlog=backlog,
            pending=pending,
            size=scale.size,
        )
        for held in (False, True)
        for backlog in scale.backlogs
        for pending in [backlog if held else 0]
    ]


def _others(pending: int) -> str:
    return f", {pending:,} in other hands" if pending else ""


def _waiting(scale: Scale) -> list[Work]:
    idle = Work(
        name=f"{scale.idlers} idle subscriptions",
        area=Area.IDLE,
        kind=Kind.IDLE,
        count=scale.idlers,
        width=scale.idlers,
        seconds=scale.seconds,
    )
    life = Work(
        name="start and shutdown", area=Area.LIFE, kind=Kind.LIFE, count=scale.lives, width=TASKS
    )
    return [idle, life]
