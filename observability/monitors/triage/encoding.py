"""Categories written in another way: unseen ones that are known ones once the writing is undone."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import unquote

import numpy as np
import pandas as pd

from observability.monitors.triage.columns import Columns, TextColumn
from observability.monitors.triage.fitting import fit
from observability.monitors.triage.hypotheses import Hypothesis, shown

Undo = Callable[[str], str]

#: of the rows, those of categories that the reference does not hold
_LEAST_UNSEEN: Final = 0.03
#: of these rows, beyond those that chance gives (Good and Turing), those that are known once undone
_LEAST_MAPPED: Final = 0.5
#: chance gives no more than so many times what is expected
_CHANCE: Final = 1.5


def _redecoded(written: str, read: str) -> Undo:
    def undo(text: str) -> str:
        try:
            return text.encode(read).decode(written)
        except UnicodeError:
            return text

    return undo


def _plain(text: str) -> str:
    """Without accents."""
    return "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))


def _unquoted(text: str) -> str:
    return re.sub(r"^b?(['\"])(.*)\1$", r"\2", text.strip(), flags=re.DOTALL).replace('""', '"')


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _visible(text: str) -> str:
    return re.sub("[\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff]", "", text)


_OUTER_TO_INNER: Final[tuple[Undo, ...]] = (_visible, _unquoted, _spaced, _plain, str.casefold)


#: what happened, and how it is undone; what both sides become by it is compared
WRITINGS: Final[tuple[tuple[str, Undo], ...]] = (
    ("in other case", str.casefold),
    ("with white space around or inside", _spaced),
    ("in quotes", _unquoted),
    ("in UTF-8 read as Latin-1", _redecoded("utf-8", "latin-1")),
    ("in UTF-8 read as Windows-1252", _redecoded("utf-8", "cp1252")),
    ("in UTF-8 read as Mac Roman", _redecoded("utf-8", "mac_roman")),
    ("in another Unicode form", lambda text: unicodedata.normalize("NFKC", text)),
    ("without accents", _plain),
    ("with control or invisible marks", _visible),
    ("as HTML", html.unescape),
    ("as part of an address", lambda text: unquote(text.replace("+", " "))),
    ("with escapes", lambda text: re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)),
    ("as decimal numbers", lambda text: re.sub(r"^([-+]?\d+)\.0+$", r"\1", text)),
    ("with or without leading zeros", lambda text: re.sub(r"^0+(?=\d)", "", text)),
    ("with other marks between words", lambda text: re.sub(r"[\W_]+", "", text)),
    ("with letters replaced", lambda text: re.sub("(?:[^\x00-\x7f]|\\?)+", "?", text)),
)


def _all_undone(text: str) -> str:
    """By the undoings that lose little, the outer writings first."""
    for undo in (html.unescape, _redecoded("utf-8", "latin-1"), *_OUTER_TO_INNER):
        text = undo(text)
    return text


def find_encoding(columns: Columns) -> Iterator[Hypothesis]:
    """Every categorical column whose unseen categories one way of writing explains, or several together."""
    for column in columns.categorical:
        now, then = column.counted
        unseen = now.drop(index=then.index, errors="ignore").drop(index="", errors="ignore")
        usual = float((then == 1).sum() / max(len(column.then), 1)) * len(column.now)
        beyond = float(unseen.sum()) - _CHANCE * usual
        if not len(unseen) or beyond < _LEAST_UNSEEN * len(column.now):  # free text is full of new writings
            continue
        tried = [(said, _undone(column, unseen, undo)) for said, undo in (*WRITINGS, ("in several ways", _all_undone))]
        said, known = max(tried, key=lambda each: unseen[list(each[1])].sum())
        mapped = min(float(unseen[list(known)].sum()) / beyond, 1.0)
        if mapped >= _LEAST_MAPPED:
            yield _told(column, said, known, mapped, unseen)


def _undone(column: TextColumn, unseen: pd.Series, undo: Undo) -> dict[str, str]:
    """Unseen categories to the known ones that they are written for; what has lost all its letters is like anything."""
    both = ((undo(str(category)), str(category)) for category in reversed(column.counted[1].index))
    known = {undone: category for undone, category in both if any(mark.isalnum() for mark in undone)}
    return {category: known[undo(category)] for category in map(str, unseen.index) if undo(category) in known}


def _told(column: TextColumn, said: str, known: dict[str, str], mapped: float, unseen: pd.Series) -> Hypothesis:
    put_back = TextColumn(
        column.name, np.array([known.get(text, text) for text in column.now], dtype=object), column.then
    )
    now, then = column.shares_now, column.shares_then
    found = fit(put_back, put_back.shares(put_back.then), whole=True)
    gain = max(float(np.abs(now - then).sum() / 2) - found.after, float(unseen.sum() / len(column.now)) * mapped)
    example = next(iter(known.items()))
    told = (
        f"{unseen.sum() / len(column.now):.0%} of the rows hold a {column.name} that the reference does not; "
        f"{mapped:.0%} of these are known ones written {said}, such as {shown(example[0])} for {shown(example[1])}"
    )
    return Hypothesis(
        "encoding", (column.name,), mapped, gain, told, {"mapped": mapped, "categories": len(known)}, seen=True
    )
