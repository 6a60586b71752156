"""What both databases can keep: PostgreSQL refuses a NUL in text and a number in JSON that is none.

Such things come from outside: the last words of a process that died, the answer of another server. They are kept with a
mark in their place, because a row that is refused would be refused again at every tick.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from psycopg.types.string import StrBinaryDumper, StrDumper, StrDumperUnknown

from controlplane.tables.columns import Json

#: U+FFFD, which stands for what could not be read
MARK: Final = "\N{REPLACEMENT CHARACTER}"
#: NUL, and halves of pairs, which are no characters
_NONE: Final = re.compile("[\x00\ud800-\udfff]")


def storable_text(text: str) -> str:
    """The text with a mark for what no database keeps.

    >>> storable_text("a" + chr(0)) == "a" + MARK
    True
    """
    return _NONE.sub(MARK, text)


def storable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The value as it can be kept; a number that is not finite is not known.

    >>> storable({"a": [float("nan"), 1.5]})
    {'a': [None, 1.5]}
    """
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {storable(key): storable(each) for key, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list | tuple) else value


def written(value: Json) -> str:
    """The JSON that is kept."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(storable(value), allow_nan=False)
    return json.dumps(storable(value)) if "\\u0000" in text or "\\ud" in text else text


class _Text(StrDumper):
    def dump(self, obj: str) -> Any:  # noqa: ANN401 - bytes, in one of the driver's kinds
        return super().dump(storable_text(obj))


class _Binary(StrBinaryDumper):
    def dump(self, obj: str) -> Any:  # noqa: ANN401 - bytes, in one of the driver's kinds
        return super().dump(storable_text(obj))


class _Unknown(StrDumperUnknown):
    def dump(self, obj: str) -> Any:  # noqa: ANN401 - bytes, in one of the driver's kinds
        return super().dump(storable_text(obj))


#: the last is what the driver takes where nothing else is asked for
DUMPERS: Final = (_Binary, _Text, _Unknown)
