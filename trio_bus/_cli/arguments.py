"""What the command can be told."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module, metadata
from typing import NoReturn, Protocol, cast

from .failing import CommandError

Run = Callable[[argparse.Namespace], int]

_COMMANDS = ("demo", "publish", "consume", "info", "dead", "doctor", "bench", "simulate")
"""Each is a module here."""
_EPILOG = "exit codes: 0 done, 1 it failed, 2 it was misused"


class _Command(Protocol):
    """What the module of a command has."""

    HELP: str
    DESCRIPTION: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what it takes."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; return the exit code."""
        ...


class Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and ending the process."""
        raise CommandError(f"{message} (see {self.prog} --help)")


def parse(argv: Sequence[str]) -> tuple[Run, argparse.Namespace]:
    """Return the function of the command that *argv* names, and what it is called with.

    Raises:
      CommandError: there is no such command, or it does not understand its arguments.
      SystemExit: help or the version was asked for, and printed.
    """
    # Only what is named is loaded: all takes twice as long.
    named = [name for name in _COMMANDS if name in argv[:1]]
    known = {name: _load(name) for name in named or _COMMANDS}
    arguments = _parser(known).parse_args(argv)
    return known[str(arguments.command)].run, arguments


def _load(name: str) -> _Command:
    return cast("_Command", import_module(f".{name}", __package__))


def _parser(known: Mapping[str, _Command]) -> Parser:
    parser = Parser(
        prog="trio-bus",
        description="A durable event bus for trio, on Redis Streams (Redis and Valkey).",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    version = f"trio-bus {metadata.version('trio-bus')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in known.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=_EPILOG,
            allow_abbrev=False,
        )
        module.add_arguments(command)
    return parser
