"""How wide the objects of a body are, told while it comes: one that no row may be as wide as is refused unread.

What nests deeper than rows and their values do is left to the parser, which has its own bound.
"""

from __future__ import annotations

import re
from typing import Final

from bundle.structure import Structure
from serving.errors import Refused
from serving.requests import MAX_FIELDS

#: a shorter body has no object that is too wide: a field takes five bytes at least
NARROW: Final = 5 * MAX_FIELDS
#: what is open of a body of rows is far less
_MOST_OPEN: Final = 8 * MAX_FIELDS
#: a row's value, the row, the list of rows
_LEVELS: Final = 3
_CLOSED: Final = re.compile(rb"\{:*+\}|\[:*+\]")
_TOO_WIDE: Final = b":" * (MAX_FIELDS + 1)


class Width:
    """Of one body: what is open of it. A list or an object that has ended counts as the value that it is."""

    def __init__(self) -> None:
        self._structure = Structure()
        #: not looked at closer yet: while there are few colons, in texts or not, no object has too many fields
        self._unread: list[bytes] = []
        self._colons = 0
        self._open = b""
        self._seen = 0

    def refusal(self, piece: bytes) -> Refused | None:
        """Why the body is not read on after this piece: one of its objects has more fields than a row may have."""
        self._seen += len(piece)
        self._colons += piece.count(b":")
        self._unread.append(piece)
        if self._colons <= MAX_FIELDS:
            return None
        steps = (step for each in self._unread for step in self._structure.steps(each))
        refused = next(filter(None, map(self._look, steps)), None)
        self._unread.clear()
        return refused

    def _look(self, step: bytes) -> Refused | None:
        marks = self._open + step.replace(b",", b"")
        for _ in range(_LEVELS):
            if _TOO_WIDE in marks:
                return _too_wide(self._seen)
            marks, closed = _CLOSED.subn(b"", marks)
            if not closed:
                break
        self._open = marks
        too_deep = len(marks) > _MOST_OPEN
        return Refused(422, "too_deep", "the body nests lists and objects too deep") if too_deep else None


def _too_wide(seen: int) -> Refused:
    message = f"an object in the first {seen:,} bytes has more than {MAX_FIELDS:,} fields: send at most {MAX_FIELDS:,}"
    return Refused(422, "too_many", message, {"byte": seen, "limit": MAX_FIELDS})
