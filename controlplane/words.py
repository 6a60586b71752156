"""Texts that people gave, made safe to keep in a ledger."""

from __future__ import annotations


def one_line(text: str) -> str:
    """The text without line breaks and control characters, so that it cannot pretend to be another entry.

    >>> one_line("first\\nsecond\\x1b[31m")
    'first second [31m'
    """
    return "".join(each if each.isprintable() else " " for each in text).strip()
