"""A body is weighed by its structure, whatever its texts say."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from controlplane.api.bodies import DEEPEST, MOST_CONTAINERS, MOST_ITEMS, MOST_KEYS, again, burden, whole

JSON = st.recursive(
    st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON)
def test_what_people_send_is_never_too_much(value):
    assert burden(json.dumps(value).encode()) == ""


@given(st.text(alphabet='[]{}:,"\\\\ a'))
def test_texts_weigh_nothing(words):
    assert burden(json.dumps({"code": words * 20}).encode()) == ""


@given(st.text(st.characters(exclude_characters="\0[]{}:,")))
def test_what_is_no_json_is_left_to_the_parser(words):
    assert burden(words.encode()) == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_a_body_whose_brackets_are_no_bytes_of_their_own_is_not_read(encoding):
    assert "UTF-8" in burden(json.dumps([[1]] * 3).encode(encoding))


@given(st.binary())
def test_whatever_bytes_come_they_are_weighed_or_refused(body):
    assert isinstance(burden(body), str)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[" * (DEEPEST + 1), "nested deeper"),
        (b'{"a":' * (DEEPEST + 1), "nested deeper"),
        (b"{" + b'"a":0,' * (MOST_KEYS + 1), "fields"),
        (b"[" + b"0," * (MOST_ITEMS + 1), "items"),
        (b"[" + b"[]," * (MOST_CONTAINERS + 1), "lists and objects"),
    ],
)
def test_each_limit_is_named(body, said):
    assert said in burden(body)
    assert burden(body[: len(body) // 2 - 2]) == ""


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
