"""All keys of one server."""

from __future__ import annotations

from trio_bus._retention import Retention

from .dialect import Dialect
from .dialects import VALKEY
from .errors import StreamError, no_group, no_group_for_key, wrong_type
from .group import Consumer, Group
from .sorted_set import SortedSet
from .stream import Stream


class Store:
    """Keys, each with a stream or a sorted set, and the keys that readers should look at again."""

    __slots__ = ("_changed", "_keys", "dialect", "retained")

    def __init__(self, dialect: Dialect = VALKEY) -> None:
        self.dialect = dialect
        self._keys: dict[str, Stream | SortedSet] = {}
        # Insertion-ordered: readers of the key that changed first are served first.
        self._changed: dict[str, None] = {}
        # For each topic and retention, when somebody last removed what that says, in milliseconds.
        self.retained: dict[tuple[str, Retention], int] = {}

    def find_stream(self, key: str) -> Stream | None:
        """Return the stream of *key*, or None.

        Raises:
          StreamError: WRONGTYPE.
        """
        found = self._keys.get(key)
        if isinstance(found, SortedSet):
            raise wrong_type()
        return found

    def make_stream(self, key: str) -> Stream:
        """Return the stream of *key*, a new one if there was nothing.

        Raises:
          StreamError: WRONGTYPE.
        """
        stream = self.find_stream(key)
        if stream is None:
            stream = self._keys[key] = Stream()
            self.mark_changed(key)
        return stream

    def find_group(self, key: str, group: str) -> tuple[Stream, Group] | None:
        """Return a group and its stream; None without the key or the group.

        Raises:
          StreamError: WRONGTYPE.
        """
        stream = self.find_stream(key)
        found = stream.groups.get(group) if stream else None
        return (stream, found) if stream and found else None

    def need_group(self, key: str, group: str) -> tuple[Stream, Group]:
        """Return a group and its stream.

        Raises:
          StreamError: NOGROUP, as most commands say it, or WRONGTYPE.
        """
        found = self.find_group(key, group)
        if found is None:
            raise no_group(key, group)
        return found

    def need_stream(self, key: str) -> Stream:
        """Return the stream that XGROUP works on.

        Raises:
          StreamError: there is none, or WRONGTYPE.
        """
        stream = self.find_stream(key)
        if stream is None:
            raise StreamError(
                "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may"
                " want to use the MKSTREAM option to create an empty stream automatically."
            )
        return stream

    def need_group_for_key(self, key: str, group: str) -> tuple[Stream, Group]:
        """Return a group and its stream.

        Raises:
          StreamError: there is no such key, NOGROUP as XGROUP says it, or WRONGTYPE.
        """
        stream = self.need_stream(key)
        if group not in stream.groups:
            raise no_group_for_key(key, group)
        return stream, stream.groups[group]

    def sorted_set(self, key: str) -> SortedSet:
        """Return the sorted set of *key*, a new one if there was nothing.

        Unlike a server's, an empty one stays: nothing here can tell the difference.

        Raises:
          StreamError: WRONGTYPE.
        """
        found = self._keys.setdefault(key, SortedSet())
        if isinstance(found, Stream):
            raise wrong_type()
        return found

    def delete(self, key: str) -> int:
        """Remove a key, whatever it holds; return how many there were: 1 or 0."""
        if self._keys.pop(key, None) is None:
            return 0
        self.mark_changed(key)
        return 1

    def mark_changed(self, key: str) -> None:
        """Note that readers who wait for *key* should look again."""
        self._changed[key] = None

    def take_changed(self) -> list[str]:
        """Return the keys noted since the last call, in the order they were noted."""
        changed = list(self._changed)
        self._changed.clear()
        return changed

    def claimer(self, group: Group, name: str, now_ms: int) -> Consumer:
        """Return the consumer *name*, for a command that may turn out to give it nothing.

        Where that must not create it, what is returned is not in the group yet: `enrol` puts it
        there with the first entry.
        """
        if self.dialect.eager_consumers or name in group.consumers:
            return group.consumer(name, now_ms)
        return Consumer(name, now_ms)
