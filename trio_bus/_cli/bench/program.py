"""A program that measures: it reads orders from standard input and answers each, line by line."""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec

from trio_bus._exception_groups import is_group

from .order import Answer, Figures, Order

Measure = Callable[[Order], Figures]


class Wrong(Exception):
    """What was measured is no answer: something was lost, or not acked."""


def serve(measure: Measure) -> None:
    """Answer orders until there are no more."""
    for line in sys.stdin:
        answer = answer_to(msgspec.json.decode(line, type=Order), measure)
        print(msgspec.json.encode(answer).decode(), flush=True)


def answer_to(order: Order, measure: Measure) -> Answer:
    """Measure; what goes wrong, whatever it is, is an answer too."""
    try:
        return Answer(measure(order))
    except Exception as error:  # noqa: BLE001 - libraries raise what they like
        return Answer(error=_text(error, order.url))


def _text(error: BaseException, url: str) -> str:
    while is_group(error):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".replace(url, "...")
