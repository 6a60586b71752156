"""A body is weighed by its structure, whatever its texts say."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from controlplane.api.bodies import (
    DEEPEST,
    MOST_CONTAINERS,
    MOST_ITEMS,
    MOST_KEYS,
    MOST_KEYS_OF_ONE,
    TooMuch,
    Weight,
    again,
    burden,
    weighed,
    whole,
)

JSON = st.recursive(
    st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON)
def test_what_people_send_is_never_too_much(value):
    assert burden(json.dumps(value).encode()) == ""


@given(st.text(alphabet='[]{}:,"\\\\ a'))
def test_texts_weigh_nothing(words):
    assert burden(json.dumps({"code": words * 20}).encode()) == ""


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0[]{}:,")))
def test_what_is_no_json_is_left_to_the_parser(words):
    assert burden(words.encode()) == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_a_body_whose_brackets_are_no_bytes_of_their_own_is_not_read(encoding):
    assert "UTF-8" in burden(json.dumps([[1]] * 3).encode(encoding))


@given(st.binary())
def test_whatever_bytes_come_they_are_weighed_or_refused(body):
    assert isinstance(burden(body), str)


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def deep_in_objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"0" + b"}" * depth


def wide(keys: int) -> bytes:
    return b"{" + b",".join([b'"a":0'] * keys) + b"}"


def wide_around_objects(keys: int) -> bytes:
    return b"{" + b",".join([b'"a":{"b":{}}'] * keys) + b"}"


def keyed(keys: int) -> bytes:
    rows, rest = divmod(keys, 100)
    return b"[" + b",".join([wide(100)] * rows + [wide(rest)]) + b"]"


def itemed(items: int) -> bytes:
    return b"[" + b",".join([b"0"] * (items + 1)) + b"]"


def containing(containers: int) -> bytes:
    return b"[" + b",".join([b"[]"] * (containers - 1)) + b"]"


@pytest.mark.parametrize(
    ("made", "limit", "said"),
    [
        (deep, DEEPEST, "nested deeper"),
        (deep_in_objects, DEEPEST, "nested deeper"),
        (wide, MOST_KEYS_OF_ONE, "an object in it has more than 200 fields"),
        (wide_around_objects, MOST_KEYS_OF_ONE, "an object in it has more than 200 fields"),
        (keyed, MOST_KEYS, "5,000 fields"),
        (itemed, MOST_ITEMS, "items"),
        (containing, MOST_CONTAINERS, "lists and objects"),
    ],
)
def test_each_limit_is_exact_and_named(made, limit, said):
    assert burden(made(limit)) == ""
    assert said in burden(made(limit + 1))


@given(st.integers(0, 3_000), st.integers(1, 3_000))
def test_an_object_that_is_too_wide_is_found_wherever_it_stands_and_however_it_comes(before, cut):
    body = b"[" + b"0," * before + b'"{\\"[",' + wide(MOST_KEYS_OF_ONE + 1) + b"]"
    weight = Weight()
    said = [weight.add(body[at : at + cut]) for at in range(0, len(body), cut)]
    assert "more than 200 fields" in next(filter(None, said), "")


@pytest.mark.parametrize("body", [b'{"a": "', b'{"a": [1]', b'[{"a": 1}', b'{"a": 1}]'])
def test_a_body_that_breaks_off_is_refused_before_a_parser_reads_all_of_it(body):
    assert "breaks off" in burden(body)


def test_white_space_around_a_body_weighs_nothing():
    assert burden(b'\n {"a": 1} \r\n') == burden(b'{"a": 1}' + b" " * 1_000) == ""


def messages(*pieces: bytes) -> tuple[Receive, list[bytes]]:
    """A channel of these pieces, and which of them have not been taken."""
    left = list(pieces)

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive, left


def test_what_is_too_much_is_refused_before_the_rest_of_it_comes():
    receive, left = messages(wide(MOST_KEYS_OF_ONE + 1), b"never read", b"never read")
    with pytest.raises(TooMuch, match="more than 200 fields") as caught:
        asyncio.run(weighed(receive))
    assert (len(left), caught.value.came) == (2, False)


def test_a_body_that_is_not_too_much_comes_whole():
    body = json.dumps({"spec": {"columns": [{"name": f"c{n}"} for n in range(2_000)]}, "recipe": {"a.py": "{" * 9_000}})
    pieces = [body[at : at + 5_000].encode() for at in range(0, len(body), 5_000)]
    assert asyncio.run(weighed(messages(*pieces)[0])) == body.encode()


def test_a_body_is_there_again_and_one_that_broke_off_is_none():
    async def hear() -> None:
        pieces = iter([(b"ab", True), (b"c", False)])

        async def receive():
            body, more = next(pieces)
            return {"type": "http.request", "body": body, "more_body": more}

        async def gone():
            return {"type": "http.disconnect"}

        body = await whole(receive)
        assert body == b"abc"
        once = again(body, gone)
        assert (await once())["body"] == b"abc" and (await once())["type"] == "http.disconnect"
        with pytest.raises(ClientDisconnect):
            await whole(gone)

    asyncio.run(hear())
