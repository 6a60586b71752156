"""What the body of a request may be like, told from its bytes before anything is made of it.

A parser makes an object of each key and each bracket: a megabyte of them is a hundred of memory. Counting them costs
one pass over the bytes, whatever they say.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

#: lists and objects within each other
DEEPEST: Final = 64
#: a spec of 4,000 columns has fewer
MOST_KEYS: Final = 5_000
MOST_CONTAINERS: Final = 5_000
MOST_ITEMS: Final = 100_000
#: a text that does not end goes to the end of the body, so that nothing is looked at twice
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def burden(body: bytes) -> str:
    """Why a JSON body is too much to be read; empty where it is not. What is no JSON at all is left to the parser.

    >>> burden(b'{"a": [1, 2]}'), burden(b"[" * 100), burden(b'{"code": "[[[[:::"}')
    ('', 'lists and objects are nested deeper than 64', '')
    """
    if not _is_text(body):
        return "it is not UTF-8, or holds a NUL byte"
    structure = _TEXT.sub(b"", body)
    if structure.count(b":") > MOST_KEYS:
        return f"it has more than {MOST_KEYS:,} fields"
    if structure.count(b",") > MOST_ITEMS:
        return f"it has more than {MOST_ITEMS:,} items"
    brackets = structure.translate(None, _NO_BRACKETS)
    if _depth(brackets[: 2 * MOST_CONTAINERS]) > DEEPEST:
        return f"lists and objects are nested deeper than {DEEPEST}"
    return f"it has more than {MOST_CONTAINERS:,} lists and objects" if len(brackets) > 2 * MOST_CONTAINERS else ""


def _is_text(body: bytes) -> bool:
    """Whether bytes are characters as they are counted here: in UTF-16 a bracket is no byte of its own."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in body


def _depth(brackets: bytes) -> int:
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


async def whole(receive: Receive) -> bytes:
    """The whole body. Raises ClientDisconnect where the sender went away before its end."""
    pieces, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


def again(body: bytes, receive: Receive) -> Receive:
    """The same body for whoever asks next, and behind it what comes after it."""
    told = False

    async def telling() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return telling
