"""What a rule of the triage answers: a supposed fault, with what speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from observability.monitors.verdicts import Bug

#: characters of a value of the data that are told
SHOWN: Final = 40


@dataclass(frozen=True)
class Hypothesis:
    """One pipeline bug that would explain what is seen."""

    bug: Bug
    #: empty where it is the source as a whole
    columns: tuple[str, ...]
    #: of the columns' distance from the reference, the share that is gone once it is undone; 1 where it was seen itself
    explained: float
    #: how much distance is gone, over all columns: of two bugs that are both possible the one that explains more wins
    gain: float
    #: one sentence with the numbers
    said: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    #: whether it was seen itself, in rows that nothing else brings about: such a one goes before what shares suggest
    seen: bool = False


def shown(value: object, longest: int = SHOWN) -> str:
    """A value of the data as it may stand in a sentence: cut, and control characters and invisible ones as escapes.

    Escapes rather than nothing: an invisible mark may be the very thing that is told of.

    >>> shown("Paris"), shown(999.0), shown("a\\x00b"), shown("abcdef", 3)
    ("'Paris'", '999', "'a\\\\x00b'", "'abc…'")
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    escaped = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text[: longest + 1])
    return f"'{escaped}'" if len(text) <= longest and len(escaped) <= longest else f"'{escaped[:longest]}…'"
