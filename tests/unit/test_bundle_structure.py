"""What is counted of a body is what a parser would make of it, wherever its pieces are cut."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bundle.structure import STEP, Structure

#: texts that look like structure, and end like texts that do not end
WORDS = st.text(alphabet='[]{}:,"\\\u00e9\n a') | st.text()
JSON = st.recursive(
    st.none() | st.floats(allow_nan=False) | WORDS, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)
)


def marks(value: object) -> bytes:
    """The structure, said anew from the value itself."""
    if isinstance(value, dict):
        return b"{" + b",".join(b":" + marks(each) for each in value.values()) + b"}"
    return b"[" + b",".join(map(marks, value)) + b"]" if isinstance(value, list) else b""


@given(JSON, st.booleans(), st.lists(st.integers(0, 200)))
def test_texts_say_nothing_wherever_they_are_cut(value, ascii_only, cuts):
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    read, bounds = Structure(), sorted({0, *cuts, len(body)})
    found = b"".join(read.step(body[begin:end]) for begin, end in pairwise(bounds))
    assert (found, read.inside_a_text) == (marks(value), False)


@given(JSON)
def test_a_body_that_breaks_off_in_a_text_is_known(value):
    read = Structure()
    read.step(json.dumps([value, "a"]).encode()[:-2])
    assert read.inside_a_text


def test_a_long_body_is_looked_at_in_steps():
    steps = iter(Structure().steps(b"[" * STEP + b"]" * STEP))
    assert next(steps) == b"[" * STEP
    assert next(steps) == b"]" * STEP
