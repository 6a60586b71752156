"""The runbook beside the pages, so that an alert's link leads to what to do without leaving them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

#: a link to the page of the docs; an installed package has a copy of it here
FILE: Final = Path(__file__).with_name("runbook.md")
_SPAN: Final = re.compile(r"`([^`]+)`|\[([^\]]+)\]\([^)]*\)|\*([^*]+)\*")


@dataclass(frozen=True)
class Span:
    """A piece of a sentence: plain, code or stressed."""

    kind: str
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading with what stands below it; each paragraph is pieces of sentences."""

    id: str
    title: str
    level: int
    paragraphs: tuple[tuple[Span, ...], ...]


@cache
def runbook() -> tuple[Heading, ...]:
    """All headings, in order; none where the file is not there."""
    return headings_of(FILE.read_text(encoding="utf-8")) if FILE.is_file() else ()


@cache
def links(elsewhere: str = "") -> Mapping[str, str]:
    """A heading's id to where it is read: on our own page, or in the runbook that the settings name.

    Only what begins as an address of the web is followed.

    >>> links("https://wiki.example.com/driftgate")["driftdetected"]
    'https://wiki.example.com/driftgate#driftdetected'
    >>> links("javascript:alert(1)")["driftdetected"]
    '/runbook#driftdetected'
    """
    page = elsewhere if elsewhere.startswith(("https://", "http://")) else "/runbook"
    return {each.id: f"{page}#{each.id}" for each in runbook()}


def headings_of(text: str) -> tuple[Heading, ...]:
    """The headings of a document.

    >>> [(each.id, each.level) for each in headings_of("# Top\\n\\n### DriftDetected\\n*warning* see `x`")]
    [('top', 1), ('driftdetected', 3)]
    """
    found = []
    for level, title, body in re.findall(r"^(#{1,3}) (.+)\n((?:(?!#{1,3} ).*(?:\n|\Z))*)", text + "\n", re.M):
        paragraphs = tuple(_spans(each) for each in _paragraphs(body))
        anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        found.append(Heading(anchor, title, len(level), paragraphs))
    return tuple(found)


def _paragraphs(body: str) -> Iterator[str]:
    """Paragraphs as one line each; of a table each row."""
    for block in body.split("\n\n"):
        if block.lstrip().startswith("|"):
            rows = [line.strip("| ") for line in block.strip().splitlines()[2:]]
            yield from (": ".join(cell.strip() for cell in row.split("|")) for row in rows)
        elif block.strip():
            yield " ".join(block.split())


def _spans(sentence: str) -> tuple[Span, ...]:
    spans, last = [], 0
    for match in _SPAN.finditer(sentence):
        spans.append(Span("plain", sentence[last : match.start()]))
        code, link, stressed = match.groups()
        spans.append(Span("code", code) if code else Span("plain", link) if link else Span("stressed", stressed))
        last = match.end()
    return tuple(span for span in (*spans, Span("plain", sentence[last:])) if span.text)
