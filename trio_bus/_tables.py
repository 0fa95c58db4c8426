"""How settings are read from a table, say of a TOML file: nothing is bent to fit."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated

import cattrs

from ._entry_id import EntryId
from ._errors import ValidationError
from ._modes import StartPosition
from ._names import shown


def as_is(value: object, _: object) -> object:
    """Keep what a table says, so that our validators see it and nothing is bent to fit."""
    return value


def start_from_table(value: object, _: object) -> object:
    """Read where a group begins: a named position or an entry id."""
    if not isinstance(value, str):
        return value
    named = {position.value: position for position in StartPosition}
    try:
        return named.get(value) or EntryId.parse(value)
    except ValidationError as error:
        raise ValidationError(
            f"start: {shown(value)} is not 'oldest', 'newest' or an entry id"
        ) from error


def member_of(kind: type[Enum]) -> Callable[[object, object], object]:
    """Read a member of an enum by its value; what is none is left to the validator."""
    named = {str(member.value): member for member in kind}

    def read(value: object, _: object) -> object:
        return named.get(value, value) if isinstance(value, str) else value

    return read


def only_in_code(name: str) -> Callable[[object, object], object]:
    """Refuse a setting that a table cannot say."""

    def refuse(value: object, _: object) -> object:
        raise ValidationError(f"{name}: {shown(value)}: this can only be set in code")

    return refuse


raw = cattrs.override(struct_hook=as_is)
Text = Annotated[str, raw]
Count = Annotated[int, raw]
Seconds = Annotated[float, raw]
