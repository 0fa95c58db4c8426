"""The call of the script that commits."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trio_bus._backend import Commit
from trio_bus._once import Append

from .once import mark_of
from .resp import Argument
from .scripts import ScriptCall

_NO_MARK = 0


def committing(stream: str, group: str, consumer: str, word: Commit) -> ScriptCall:
    """Say how outputs are appended and an entry is finished."""
    keys = {stream: 1}
    words = [word for output in word.outputs for word in _words(output, keys)]
    receipt = word.receipt
    return ScriptCall(
        "commit", list(keys), (group, consumer, str(receipt.id), receipt.attempt, *words)
    )


def _words(output: Append, keys: dict[str, int]) -> Iterator[Argument]:
    """Yield what the script is told of one output; add the keys that it names."""
    yield _place(output.topic, keys)
    if output.once is None:
        yield from (_NO_MARK, 0)
    else:
        yield _place(mark_of(output.topic, output.once.key), keys)
        yield math.ceil(output.once.window * 1000)
    yield 2 * len(output.record)
    for field in output.record:
        yield from field


def _place(key: str, keys: dict[str, int]) -> int:
    return keys.setdefault(key, len(keys) + 1)
