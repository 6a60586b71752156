"""Cursors: where a page ends, so that the next one goes on behind it whatever is added meanwhile.

A cursor names its list and the key of the last row. It is opaque to the caller and believed only as far as a key of
its list goes: it is no secret, since the filters of the request decide what is shown.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from sqlalchemy.exc import DataError

from controlplane.api.parts import Limit, Parts, TheParts
from controlplane.errors import BadCursor
from controlplane.store.reading import KINDS, Noun
from observability.clock import aware
from observability.events import Instant

LONGEST: Final = 1000


class PageAsked:
    """Which page of a list a request asks for."""

    def __init__(
        self,
        parts: TheParts,
        limit: Limit = 100,
        cursor: Annotated[str | None, Query(max_length=LONGEST, description="`next` of the page before")] = None,
    ) -> None:
        self.parts: Parts = parts
        self.limit = limit
        self.cursor = cursor

    def rows(self, noun: Noun, **filters: Any) -> tuple[list[Mapping[str, Any]], str | None]:  # noqa: ANN401
        """The page's rows and the cursor of the next one. Raises BadCursor."""
        after = read_cursor(noun, self.cursor, list(KINDS[noun].order.values()))
        try:
            rows = list(self.parts.store.page(noun, filters, after, self.limit + 1))
        except (DataError, OverflowError) as error:
            raise BadCursor from error
        return self.cut(noun, rows, list(KINDS[noun].order))

    def cut(self, noun: str, rows: list[Any], order: Sequence[str]) -> tuple[list[Any], str | None]:
        """One row more was read than the page holds: that there is a next page costs no count."""
        page = rows[: self.limit]
        more = len(rows) > self.limit
        return page, write_cursor(noun, [_value(page[-1], name) for name in order]) if more else None


ThePage = Annotated[PageAsked, Depends(PageAsked)]
Since = Annotated[Instant | None, Query(description="not earlier than this instant")]
Until = Annotated[Instant | None, Query(description="earlier than this instant")]


def write_cursor(noun: str, key: Sequence[Any]) -> str:
    """The cursor of the page behind this key."""
    said = [noun, *(each.isoformat() if isinstance(each, datetime) else each for each in key)]
    return base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(noun: str, cursor: str | None, types: Sequence[type]) -> list[Any] | None:
    """The key that a cursor holds; None for the first page. Raises BadCursor for what is no key of the list."""
    if cursor is None:
        return None
    try:
        said = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(said, list) or said[0] != noun or len(said) != len(types) + 1:
            raise BadCursor
        return [_typed(value, kind) for value, kind in zip(said[1:], types, strict=True)]
    except (binascii.Error, ValueError, IndexError, RecursionError) as error:
        raise BadCursor from error


def _typed(value: object, kind: type) -> object:
    if kind is datetime and isinstance(value, str):
        return aware(datetime.fromisoformat(value))
    if type(value) is not kind:
        raise BadCursor
    if isinstance(value, str) and "\0" in value.encode().decode():  # half a pair of UTF-16 is a ValueError
        raise BadCursor
    if isinstance(value, int) and abs(value) >= 1 << 31:
        raise BadCursor
    return value


def _value(row: Any, name: str) -> Any:  # noqa: ANN401 - a mapping or an object
    return row[name] if isinstance(row, Mapping) else getattr(row, name)
