"""What the command can be told."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import NoReturn

from . import bench, consume, dead, demo, doctor, info, publish, simulate
from .failing import CommandError

Run = Callable[[argparse.Namespace], int]

_COMMANDS = {
    "demo": demo,
    "publish": publish,
    "consume": consume,
    "info": info,
    "dead": dead,
    "doctor": doctor,
    "bench": bench,
    "simulate": simulate,
}
_EPILOG = "exit codes: 0 done, 1 it failed, 2 it was misused"


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
    arguments = _parser().parse_args(argv)
    return _COMMANDS[str(arguments.command)].run, arguments


def _parser() -> Parser:
    parser = Parser(
        prog="trio-bus",
        description="A durable event bus for trio, on Redis Streams (Redis and Valkey).",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    version = f"trio-bus {metadata.version('trio-bus')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=_EPILOG,
            allow_abbrev=False,
        )
        module.add_arguments(command)
    return parser
