"""Pages of a list that people leaf through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

#: nobody leafs further
LAST = 100_000


@dataclass(frozen=True)
class Pages:
    """Which page of how many rows is shown.

    >>> pages = Pages.of(9, 50, 120)
    >>> pages.number, pages.offset, pages.last
    (3, 100, 3)
    """

    number: int
    size: int
    total: int

    @classmethod
    def of(cls, number: int, size: int, total: int) -> Pages:
        """The page asked for, or the nearest that there is."""
        last = max(1, -(-total // size))
        return cls(min(max(1, number), last), size, total)

    @property
    def last(self) -> int:
        return max(1, -(-self.total // self.size))

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    @property
    def first_row(self) -> int:
        return self.offset + 1 if self.total else 0

    @property
    def last_row(self) -> int:
        return min(self.offset + self.size, self.total)


def page_number(text: str) -> int:
    """The page that an address asks for.

    >>> page_number("3"), page_number("x"), page_number("9" * 5000)
    (3, 1, 100000)
    """
    if not (text.isascii() and text.isdecimal()):
        return 1
    return min(int(text), LAST) if len(text) < 20 else LAST


def address(path: str, **asked: str | int | None) -> str:
    """A path with what is asked of it; what is empty is left out.

    >>> address("/alerts", state="open", text="", page=2)
    '/alerts?state=open&page=2'
    """
    said: Mapping[str, str | int] = {name: value for name, value in asked.items() if value not in ("", None)}
    return f"{path}?{urlencode(said)}" if said else path
