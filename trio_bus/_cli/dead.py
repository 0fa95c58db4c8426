"""``trio-bus dead``: what was given up, listed, shown, and sent back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from trio_bus._bus import Bus
from trio_bus._dead_letter import DeadLetter
from trio_bus._dead_letters import DeadMessage, RedriveOutcome
from trio_bus._entry_id import EntryId
from trio_bus._errors import ValidationError
from trio_bus._graves import Redriven
from trio_bus._names import check_any_group, check_topic

from .dead_table import COLUMNS, drawer, row_of
from .failing import FAILED, CommandError, hush, one_line
from .pipes import write_all
from .server import add_url, open_server, server_url
from .stopping import stopped_by_signals

HELP = "list, show and send back what was given up"
DESCRIPTION = (
    "Handle dead letters. TOPIC is a dead-letter topic, or a topic whose groups have none and keep "
    "what they gave up. 'list' and 'show' change nothing; 'redrive' sends them back into the group "
    "that gave them up, and into no other, with attempts that begin anew."
)
_STDOUT = 1
_SHOWN = 2000
"""Bytes of a payload, or of a field, that are shown."""
_SENT_BACK = {Redriven.DONE: "sent back", Redriven.COPIED: "sent back as a copy"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help_text in (
        ("list", "print a line for each"),
        ("show", "print all that is known of one"),
        ("redrive", "send them back into the group that gave them up"),
    ):
        action = actions.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        action.add_argument("topic", metavar="TOPIC", help="where they lie")
        _add_choice(action, name)
        add_url(action)
        action.add_argument("--group", metavar="GROUP", help="only what this group gave up")
        action.add_argument("--json", action="store_true", help="print lines of JSON")


def _add_choice(action: argparse.ArgumentParser, name: str) -> None:
    """Say how they are chosen."""
    if name == "show":
        action.add_argument("id", metavar="ID", type=_id, help="its id, as 'list' prints it")
        return
    action.add_argument("--error-type", metavar="TYPE", help="only those with this error")
    if name == "redrive":
        action.add_argument("ids", metavar="ID", type=_id, nargs="*", help="those with these ids")
        action.add_argument("--all", action="store_true", help="all of them")
        action.add_argument("--dry-run", action="store_true", help="only say which it would be")


def _id(text: str) -> EntryId:
    try:
        return EntryId.parse(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!a} is not an id like 1700000000000-0") from error


def run(arguments: argparse.Namespace) -> int:
    """Do it; return the exit code."""
    check_topic(arguments.topic)
    if arguments.group is not None:
        check_any_group(arguments.group)
    if arguments.action == "redrive":
        made = (bool(arguments.ids), arguments.error_type is not None, bool(arguments.all))
        if sum(made) != 1:
            raise CommandError("redrive takes one of ID..., --error-type and --all")
    act = {"list": _list, "show": _show, "redrive": _redrive}[str(arguments.action)]
    return trio.run(_run, arguments, act)


async def _run(
    arguments: argparse.Namespace, act: Callable[[Bus, argparse.Namespace], Awaitable[int]]
) -> int:
    code = 0
    async with stopped_by_signals() as stop, open_server(server_url(arguments)) as bus:
        try:
            code = await act(bus, arguments)
        except BrokenPipeError:
            return hush()  # as after ``| head``
    return stop.exit_code or code


async def _list(bus: Bus, arguments: argparse.Namespace) -> int:
    draw = None if arguments.json else drawer()
    rows: list[Sequence[str]] = []
    async for message in bus.dead_letters(arguments.topic, group=arguments.group):
        if arguments.error_type not in {None, message.dead_letter.error_type}:
            continue
        if draw is None:
            await _print(_as_json(message) if arguments.json else _line(message))
        else:
            rows.append(row_of(message))
    if draw is not None:
        draw(COLUMNS, rows)
    return 0


async def _show(bus: Bus, arguments: argparse.Namespace) -> int:
    found = False
    async for message in bus.dead_letters(arguments.topic, group=arguments.group):
        if message.id == arguments.id:
            found = True
            shown = _as_json(message, whole=True) if arguments.json else _page(message)
            await _print(shown)
    if not found:
        raise CommandError(f"there is no dead letter {arguments.id} in {arguments.topic!a}", FAILED)
    return 0


async def _redrive(bus: Bus, arguments: argparse.Namespace) -> int:
    outcome = await bus.redrive(
        arguments.topic,
        ids=arguments.ids or None,
        error_type=arguments.error_type,
        everything=bool(arguments.all),
        group=arguments.group,
        dry_run=bool(arguments.dry_run),
    )
    draw = None if arguments.json else drawer()
    if draw is not None:
        draw(("id", "group", "result"), _rows(outcome))
        return FAILED if _is_failure(outcome) else 0
    for line in _results(outcome, as_json=bool(arguments.json)):
        await _print(line)
    return FAILED if _is_failure(outcome) else 0


async def _print(text: str) -> None:
    await write_all(_STDOUT, f"{text}\n".encode())


def _line(message: DeadMessage) -> str:
    letter = message.dead_letter
    why = f"{letter.cause.value} after {_times(letter.attempts)}"
    return one_line(
        f"{message.id} {letter.topic!a} group {letter.group!a}: {why},"
        f" {letter.last_received:%Y-%m-%d %H:%M:%S}, {letter.error_type}: {letter.error_text}"
    )


def _page(message: DeadMessage) -> str:
    return "\n".join(one_line(line) for line in _facts(message))


def _facts(message: DeadMessage) -> Iterator[str]:
    """Yield a line for each thing that is known."""
    letter = message.dead_letter
    yield f"dead letter {message.id} of topic {letter.topic!a}, group {letter.group!a}"
    yield f"published: {letter.first_received:%Y-%m-%d %H:%M:%S} as {letter.entry_id}"
    for past in (*message.history, letter):
        yield (
            f"given up: {past.last_received:%Y-%m-%d %H:%M:%S}, {past.cause.value} after"
            f" {_times(past.attempts)}, {past.error_type}: {past.error_text}"
        )
    if message.message is None:
        yield f"cannot be decoded: {message.error}"
        for name, value in message.record:
            yield f"field {_bytes(name)}: {_bytes(value)}"
        return
    for header, text in message.message.headers.items():
        yield f"header {header!a}: {text!a}"
    yield f"payload: {_bytes(message.message.payload)}"


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _bytes(data: bytes) -> str:
    """Write bytes so that they cannot do anything to a terminal."""
    more = f" and {len(data) - _SHOWN:,} more bytes" if len(data) > _SHOWN else ""
    return f"{data[:_SHOWN].decode('utf-8', 'backslashreplace')!a}{more}"


def _as_json(message: DeadMessage, *, whole: bool = False) -> str:
    told: dict[str, object] = {
        "id": str(message.id),
        "dead_letter_topic": message.dead_letter_topic,
        **_context(message.dead_letter),
        "decodable": message.message is not None,
    }
    if whole:
        told["history"] = [_context(past) for past in message.history]
        told["fields"] = [[_bytes(name), _bytes(value)] for name, value in message.record]
    return json.dumps(told, separators=(",", ":"))


def _context(letter: DeadLetter) -> dict[str, object]:
    return {
        "topic": letter.topic,
        "group": letter.group,
        "entry_id": str(letter.entry_id),
        "attempts": letter.attempts,
        "first_received": letter.first_received.isoformat(),
        "last_received": letter.last_received.isoformat(),
        "cause": letter.cause.value,
        "error_type": letter.error_type,
        "error_text": letter.error_text,
    }


def _results(outcome: RedriveOutcome, *, as_json: bool) -> Iterator[str]:
    """Yield a line for each, and for those that are not there."""
    for entry_id, group, result in _rows(outcome):
        if as_json:
            line = {"id": entry_id, "group": group or None, "result": result}
            yield json.dumps(line, separators=(",", ":"))
        else:
            yield one_line(f"{entry_id} {result}" + (f" to {group!a}" if group else ""))


def _rows(outcome: RedriveOutcome) -> list[tuple[str, str, str]]:
    """Return id, group and result of each."""
    told = [(str(it.id), it.dead_letter.group, _told(it.result)) for it in outcome.results]
    return told + [(str(entry_id), "", "missing") for entry_id in outcome.missing]


def _told(result: Redriven | Exception | None) -> str:
    if result is None:
        return "would be sent back"
    if isinstance(result, Exception):
        return f"refused: {result}"
    return _SENT_BACK.get(result, f"not sent back, {result.value}:")


def _is_failure(outcome: RedriveOutcome) -> bool:
    fine = {None, *_SENT_BACK}
    return bool(outcome.missing) or any(it.result not in fine for it in outcome.results)
