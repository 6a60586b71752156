"""How long to wait before a notification is tried again."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(minutes=10)
#: twice the shortest wait so often is far beyond the longest
DOUBLINGS: Final = 20


def delay(attempts: int, key: str) -> timedelta:
    """The wait after so many attempts in vain: twice as long each time, up to ten minutes, and half of it by chance.

    The chance is taken from the notification's id, so that what failed together is not tried together, and so
    that the same question has the same answer.

    >>> delay(1, "a") <= timedelta(seconds=1) <= delay(3, "a") * 2
    True
    """
    whole = min(SHORTEST * 2 ** min(attempts - 1, DOUBLINGS), LONGEST) if attempts > 0 else SHORTEST
    chance = int.from_bytes(hashlib.sha256(f"{key}:{attempts}".encode()).digest()[:4], "big") / 2**32
    return whole * (0.5 + chance / 2)
