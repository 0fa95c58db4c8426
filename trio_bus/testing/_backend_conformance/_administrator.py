"""Who does to streams what no bus does: for the suite, where there is one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from trio_bus._entry_id import EntryId


@runtime_checkable
class Administrator(Protocol):
    """Removes what others use, as an operator does; each method may be plain or asynchronous.

    What is returned is awaited if it can be, and dropped. What does not exist is no error, or any
    error of trio_bus.

    One that has a method ``use_up(topic)`` too, which lets a stream take nothing more (XADD with
    the greatest id that there is), is asked what becomes of an entry that its dead-letter topic
    refuses.
    """

    def delete_entry(self, topic: str, entry_id: EntryId, /) -> object:
        """Remove one entry from its stream, pending or not."""

    def trim(self, topic: str, max_length: int, /) -> object:
        """Remove all but the newest *max_length* entries, exactly."""

    def destroy_group(self, topic: str, group: str, /) -> object:
        """Remove a group with all that is pending in it."""

    def delete_topic(self, topic: str, /) -> object:
        """Remove the stream of a topic with its groups, and nothing else that is kept for it."""


@runtime_checkable
class Exhauster(Protocol):
    """An administrator who can let a stream take nothing more."""

    def use_up(self, topic: str, /) -> object:
        """Append an entry with the greatest id that there is: none can stand behind it."""
