"""The blocks that a server keeps entries in; only approximate trimming shows them."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

import attrs

from trio_bus._entry_id import EntryId

NODE_ENTRIES = 100
"""The servers' default for ``stream-node-max-entries``. Their limit in bytes is not modelled."""


@attrs.define
class Node:
    """``filled`` counts what was ever put in, ``live`` what is still there."""

    last: EntryId
    filled: int = 1
    live: int = 1


class Nodes:
    """All entries of a stream, in blocks. A block without live entries is gone."""

    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        self._nodes: list[Node] = []

    def first(self) -> Node:
        """Return the oldest block. There must be one."""
        return self._nodes[0]

    def add(self, entry_id: EntryId) -> None:
        """Count a new entry, newer than all others."""
        if not self._nodes or self._nodes[-1].filled >= NODE_ENTRIES:
            self._nodes.append(Node(entry_id))
            return
        node = self._nodes[-1]
        node.last = entry_id
        node.filled += 1
        node.live += 1

    def remove(self, entry_id: EntryId) -> None:
        """Forget an entry that is there."""
        index = bisect_left(self._nodes, entry_id, key=attrgetter("last"))
        self._nodes[index].live -= 1
        if not self._nodes[index].live:
            del self._nodes[index]
