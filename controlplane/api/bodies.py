"""What the body of a request may be like, told from its bytes while they come, before anything is made of them.

A parser makes an object of each key and each bracket, and who checks what it made a list of all that is wrong. Counting
them costs one pass over the bytes, whatever they say; what is too much is refused where it shows, and the rest unread.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import Final, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from bundle.structure import Structure

#: lists and objects within each other
DEEPEST: Final = 64
#: a spec of 4,000 columns has fewer
MOST_KEYS: Final = 5_000
#: of one object; a recipe has a hundred files
MOST_KEYS_OF_ONE: Final = 200
MOST_CONTAINERS: Final = 5_000
MOST_ITEMS: Final = 100_000


class Allowance(NamedTuple):
    """How many of each a body may have."""

    keys: int = MOST_KEYS
    keys_of_one: int = MOST_KEYS_OF_ONE
    containers: int = MOST_CONTAINERS
    items: int = MOST_ITEMS


ORDINARY: Final = Allowance()
#: 10,000 predictions of a model with some 40 features, and as many labels
BULK: Final = Allowance(keys=500_000, keys_of_one=5_000, containers=50_000, items=1_000_000)
#: so many of all of them are not too many of any
FEW: Final = DEEPEST
_NO_TEXT: Final = "it is not UTF-8, or holds a NUL byte"
_MARKS: Final = re.compile(rb":+|[\[\]{}]")
_COLON, _OPENING = ord(":"), b"[{"
_NO_MARKS: Final = bytes(set(range(256)) - set(b"[]{}:,"))
_ENDS: Final = {b"{": b"}", b"[": b"]"}


class Weight:
    """Of one body, as it comes: why it is too much to be read, empty where it is not.

    What is no JSON at all is left to the parser.
    """

    def __init__(self, allowed: Allowance = ORDINARY) -> None:
        self._allowed = allowed
        self._structure = Structure()
        self._text = getincrementaldecoder("utf-8")()
        #: not looked at closer yet: while there are few marks, in texts or not, they are not too many
        self._unread: list[bytes] = []
        self._marks = self._keys = self._items = self._containers = 0
        #: of each list and object that is open: how many keys it has
        self._open = [0]

    def add(self, piece: bytes) -> str:
        """Why the body is not read on after this piece."""
        try:
            self._text.decode(piece)
        except UnicodeDecodeError:
            return _NO_TEXT
        if b"\0" in piece:  # in UTF-16 a bracket is no byte of its own
            return _NO_TEXT
        self._unread.append(piece)
        self._marks += len(piece.translate(None, _NO_MARKS))
        if self._marks <= FEW:
            return ""
        steps = (step for each in self._unread for step in self._structure.steps(each))
        why = next(filter(None, map(self._weigh, steps)), "")
        self._unread.clear()
        return why

    def end(self) -> str:
        """Why the body is not read although all of it has come."""
        try:
            self._text.decode(b"", final=True)
        except UnicodeDecodeError:
            return _NO_TEXT
        return ""

    def _weigh(self, marks: bytes) -> str:
        self._keys += marks.count(b":")
        self._items += marks.count(b",")
        self._containers += marks.count(b"[") + marks.count(b"{")
        if self._keys > self._allowed.keys:
            return f"it has more than {self._allowed.keys:,} fields"
        if self._items > self._allowed.items:
            return f"it has more than {self._allowed.items:,} items"
        if self._containers > self._allowed.containers:
            return f"it has more than {self._allowed.containers:,} lists and objects"
        return self._walk(marks.replace(b",", b""))

    def _walk(self, marks: bytes) -> str:
        for mark in _MARKS.findall(marks):
            if mark[0] == _COLON:
                self._open[-1] += len(mark)
                if self._open[-1] > self._allowed.keys_of_one:
                    return f"an object in it has more than {self._allowed.keys_of_one:,} fields"
            elif mark in _OPENING:
                self._open.append(0)
                if len(self._open) > DEEPEST + 1:
                    return f"lists and objects are nested deeper than {DEEPEST}"
            elif len(self._open) > 1:
                self._open.pop()
        return ""


def burden(body: bytes) -> str:
    """Why a JSON body is too much to be read; empty where it is not.

    >>> burden(b'{"a": [1, 2]}'), burden(b"[" * 100), burden(b'{"code": "[[[[:::"}')
    ('', 'lists and objects are nested deeper than 64', '')
    """
    weight = Weight()
    return weight.add(body) or weight.end() or _broken_off(body)


def _broken_off(body: bytes) -> str:
    """Why it cannot be JSON, told from its ends: a parser would read all of it first, and keep it with its error."""
    begins = body[:1]
    ends = _ENDS.get(begins)
    if ends is None or body.rstrip().endswith(ends):
        return ""
    return f"it breaks off: what begins with {begins.decode()} does not end with {ends.decode()}"


class TooMuch(Exception):
    """The body is too much to be read."""

    def __init__(self, why: str, *, came: bool) -> None:
        super().__init__(why)
        self.why = why
        #: whether all of it had come
        self.came = came


async def weighed(receive: Receive, allowed: Allowance = ORDINARY) -> bytes:
    """The whole body. Raises TooMuch as soon as it is, and ClientDisconnect as `whole` does."""
    weight, pieces, more = Weight(allowed), [], True
    while more:
        piece, more = await _piece(receive)
        if why := weight.add(piece) or ("" if more else weight.end()):
            raise TooMuch(why, came=not more)
        pieces.append(piece)
    body = b"".join(pieces)
    if why := _broken_off(body):
        raise TooMuch(why, came=True)
    return body


async def whole(receive: Receive) -> bytes:
    """The whole body. Raises ClientDisconnect where the sender went away before its end."""
    pieces, more = [], True
    while more:
        piece, more = await _piece(receive)
        pieces.append(piece)
    return b"".join(pieces)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """What comes next of a body, and whether more does."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


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
