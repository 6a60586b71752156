"""What may be remembered of a row: the same filter stands before the data layers and before the prediction log."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bundle.signature import RawField

_EMAIL, _USER, _NUMBER = "email@masked", "@user", "0000000"
#: the sign itself, as wide as it is, and the small one
_AT: Final = "@\uff20\ufe6b"
#: all that is joined to an at sign, from its first character to its last letter or digit
_ADDRESSED: Final = re.compile(rf"(?<![\w.+{_AT}-])[\w.+-]*[{_AT}](?:[\w.+{_AT}-]*\w)?")
_AN_EMAIL: Final = re.compile(rf"[\w.+-][{_AT}]+[.+-]*\w[\w-]*\.[\w-]")
_A_MENTION: Final = re.compile(rf"[{_AT}]+[.+-]*\w[\w-]*")
#: what may stand between two digits of one number: also the dashes of typography
_GAP: Final = r"[\s().\-‐‑‒–—−]"  # noqa: RUF001 - they are meant
#: A leading plus goes with its number, but not one that would then join the number to what stands before it.
_LONG_NUMBER: Final = re.compile(
    rf"(?:(?<![\w.+{_AT}-])(?<!\d{_GAP})(?<!\d{_GAP}{{2}})(?<!\d{_GAP}{{3}})\+)?\d(?:{_GAP}{{0,3}}\d){{6,}}"
)
_PSEUDONYM: Final = re.compile(r"p-[0-9a-f]{16}")


def mask(text: str) -> str:
    """The text without e-mail addresses, mentions and telephone or account numbers (seven digits and more).

    >>> mask("ask @jane, jane.doe@example.org or +44 20 7946 0958 about 2020")
    'ask @user, email@masked or 0000000 about 2020'

    Masking twice changes nothing: what was served may enter the data layers again.
    """
    return _LONG_NUMBER.sub(_NUMBER, _ADDRESSED.sub(_masked, text))


def _masked(found: re.Match[str]) -> str:
    text = found[0]
    if text == _EMAIL or _AN_EMAIL.search(text):
        return _EMAIL
    return _A_MENTION.sub(_USER, text)


def pseudonym(value: str, key: bytes) -> str:
    """A stable name for a person that cannot be turned back without the key (HMAC-SHA256, 64 bits kept)."""
    return "p-" + hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]


def known_by_pseudonym(value: str, key: bytes) -> str:
    """The pseudonym of a value; one that is a pseudonym already stays, so that what was served may enter again."""
    return value if _PSEUDONYM.fullmatch(value) else pseudonym(value, key)


def filtered(row: Mapping[str, Any], fields: Iterable[RawField], key: bytes) -> dict[str, Any]:
    """The declared fields of the row, each masked, hashed or kept as declared; everything else is dropped."""
    return {field.name: _filtered_value(row[field.name], field, key) for field in fields if field.name in row}


def _filtered_value(value: Any, field: RawField, key: bytes) -> Any:  # noqa: ANN401 - what a caller sent
    if not isinstance(value, str) or field.privacy == "keep":
        return value
    if field.privacy == "mask":
        return mask(value)
    return known_by_pseudonym(value, key)
