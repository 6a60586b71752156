"""What may be remembered of a row: the same filter stands before the data layers and before the prediction log."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bundle.signature import RawField

_MASKS: Final = (
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "email@masked"),
    (re.compile(r"(?<![\w@])@\w+"), "@user"),
    (re.compile(r"(?<![\w.])\+?\d(?:[\s().-]?\d){6,}(?!\w)"), "0000000"),
)


def mask(text: str) -> str:
    """The text without e-mail addresses, mentions and telephone or account numbers (seven digits and more).

    >>> mask("ask @jane, jane.doe@example.org or +44 20 7946 0958 about 2020")
    'ask @user, email@masked or 0000000 about 2020'

    Masking twice changes nothing: what was served may enter the data layers again.
    """
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


def pseudonym(value: str, key: bytes) -> str:
    """A stable name for a person that cannot be turned back without the key (HMAC-SHA256, 64 bits kept)."""
    return "p-" + hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]


def filtered(row: Mapping[str, Any], fields: Iterable[RawField], key: bytes) -> dict[str, Any]:
    """The declared fields of the row, each masked, hashed or kept as declared; everything else is dropped."""
    return {field.name: _filtered_value(row[field.name], field, key) for field in fields if field.name in row}


def _filtered_value(value: Any, field: RawField, key: bytes) -> Any:  # noqa: ANN401 - what a caller sent
    if not isinstance(value, str) or field.privacy == "keep":
        return value
    if field.privacy == "mask":
        return mask(value)
    return value if value.startswith("p-") and len(value) == 18 else pseudonym(value, key)
