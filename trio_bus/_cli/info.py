"""``trio-bus info``: what the server knows of a topic and its groups."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from datetime import datetime

import attrs
import trio

from trio_bus._bus import Bus
from trio_bus._checks import MAX_SECONDS
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost
from trio_bus._info import GroupInfo, TopicInfo
from trio_bus._names import check_topic
from trio_bus._one_error import one_error
from trio_bus._wall import wall

from .failing import FAILED, CommandError, one_line, say
from .pipes import wait_reader_gone, write_all
from .server import add_url, open_server, server_url
from .stopping import stopped_by_signals

HELP = "tell what there is of a topic: entries, groups, and how far behind they are"
DESCRIPTION = (
    "Tell how many entries a topic has, and what each of its groups holds: how many entries it has "
    "not been given yet, how many are pending, released, delayed or dead, how old the oldest one "
    "is that is not finished, and who its consumers are. Changes nothing."
)
_STDOUT = 1
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("topic", metavar="TOPIC", help="what to ask about")
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_seconds,
        help="ask again and again, so many seconds apart, until Ctrl-C",
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask; return the exit code."""
    asker = Asker(check_topic(arguments.topic), bool(arguments.json), arguments.watch)
    return trio.run(asker.run, server_url(arguments))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!a} is not a number of seconds above 0")
    return seconds


@attrs.frozen
class Asker:
    """Asks about one topic, once or again and again."""

    _topic: str
    _json: bool
    _interval: float | None

    async def run(self, url: str) -> int:
        """Ask that server; return the exit code."""
        watching = self._interval is not None
        async with stopped_by_signals() as stop, open_server(url) as bus:
            if self._interval is None:
                await self._print(await bus.info(self._topic))
                return 0
            with one_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_without_reader, nursery.cancel_scope)
                    await self._watch(bus, self._interval)
        return 0 if watching else stop.exit_code  # to stop watching is no failure

    async def _watch(self, bus: Bus, interval: float) -> None:
        """Go on when the server was away: that is what one watches for."""
        while True:
            try:
                await self._print(await bus.info(self._topic))
            except ConnectionLost as error:
                say(str(error))
            await trio.sleep(interval)

    async def _print(self, info: TopicInfo) -> None:
        exists = info.length or info.groups or info.scheduled
        if not exists and self._interval is None:
            raise CommandError(f"there is no topic {info.topic!a}", FAILED)
        if self._json:
            text = json.dumps(as_json(info), separators=(",", ":"))
        else:
            lines = [one_line(line) for line in report(info, wall.now())]
            text = "\n".join(lines if self._interval is None else [*lines, ""])
        try:
            await write_all(_STDOUT, f"{text}\n".encode())
        except BrokenPipeError:
            return  # as after ``| head``


async def _cancel_without_reader(scope: trio.CancelScope) -> None:
    await wait_reader_gone(_STDOUT)
    scope.cancel("nobody reads")


def report(info: TopicInfo, now: datetime) -> Iterator[str]:
    """Yield a line for the topic, for each group, and for each of its consumers.

    Of a private group, which has one, they are the same line.
    """
    facts = ["1 entry" if info.length == 1 else f"{info.length:,} entries"]
    if info.oldest is not None:
        facts.append(f"the oldest from {_age(info.oldest, now)} ago")
    yield f"topic {info.topic!a}: {', '.join([*facts, f'{info.scheduled:,} scheduled'])}"
    for group in info.groups:
        if group.is_private:
            idle = "".join(f", idle for {duration(it.idle)}" for it in group.consumers)
            yield f"private group {group.name!a}: {_group(group, now)}{idle}"
        else:
            yield f"group {group.name!a}: {_group(group, now)}"
            yield from _consumers(group)


def _consumers(group: GroupInfo) -> Iterator[str]:
    for consumer in group.consumers:
        held, idle = consumer.pending, duration(consumer.idle)
        yield f"consumer {consumer.name!a} of {group.name!a}: {held:,} pending, idle for {idle}"


def _group(group: GroupInfo, now: datetime) -> str:
    facts = {
        "undelivered": "unknown" if group.lag is None else f"{group.lag:,}",
        "pending": f"{group.pending:,}",
        "released": f"{group.released:,}",
        "delayed": f"{group.delayed:,}",
        "suspects": f"{group.suspects:,}",
        "dead": f"{group.dead:,}",
    }
    told = ", ".join(f"{name} {count}" for name, count in facts.items())
    behind = "nothing to do" if group.oldest is None else f"{_age(group.oldest, now)} behind"
    return f"{told}, {behind}"


def _age(entry_id: EntryId, now: datetime) -> str:
    return duration((now - entry_id.time).total_seconds())


def duration(seconds: float) -> str:
    """Return a duration in its two largest units; clocks that differ make none negative."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    left = int(seconds)
    parts: list[str] = []
    for name, size in _UNITS:
        if left >= size or parts:
            parts.append(f"{left // size} {name}")
            left %= size
    return " ".join(parts[:2])


def as_json(info: TopicInfo) -> dict[str, object]:
    """Return what JSON can say: ids as text, durations in seconds, null for what is not known."""
    return {
        "topic": info.topic,
        "length": info.length,
        "oldest": _id(info.oldest),
        "scheduled": info.scheduled,
        "groups": [
            {
                **attrs.asdict(group),
                "is_private": group.is_private,
                "last_delivered": _id(group.last_delivered),
                "oldest": _id(group.oldest),
            }
            for group in info.groups
        ],
    }


def _id(entry_id: EntryId | None) -> str | None:
    return None if entry_id is None else str(entry_id)
