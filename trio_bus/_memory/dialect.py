"""What one family of servers does differently from the newest ones, as data."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Dialect:
    """The differences between servers that a client can see. The defaults are Valkey 9.1."""

    name: str
    auto_sequence: bool = True
    """``XADD 7-*`` lets the server choose the sequence number."""
    drops_deleted: bool = True
    """Claiming an entry that was deleted from the stream removes it from the pending ones."""
    eager_consumers: bool = True
    """A read or claim creates its consumer even when it gets nothing."""
    meaningless: tuple[str, ...] = ("$", "+")
    """What XREADGROUP refuses with an explanation, not just as something that is no id."""
    too_few_arguments: str = "ERR wrong number of arguments for 'xadd' command"
    too_few_fields: str = "ERR wrong number of arguments for 'xadd' command"


VALKEY = Dialect(name="valkey")
REDIS_6 = Dialect(
    name="redis 6.2",
    auto_sequence=False,
    drops_deleted=False,
    eager_consumers=False,
    meaningless=("$",),
    too_few_fields="ERR wrong number of arguments for XADD",
)
