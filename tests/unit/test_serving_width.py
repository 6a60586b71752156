"""An object that is too wide is found wherever it stands and however its body comes; rows that are not never are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Refused
from serving.requests import MAX_FIELDS
from serving.width import NARROW, Width

CUTS = st.integers(1_000, 100_000)
#: what a caller may send in a row beside what is declared
EXTRAS = st.sampled_from(["", "{}:[", '\\"}', [], {}, [[1], {"a": {"b": 2}}], {"a": [1, {}]}, None])


def fields(count: int, value: object = 0) -> dict[str, object]:
    return {f"f{number}": value for number in range(count)}


def said(body: object, cut: int) -> Refused | None:
    width, wire = Width(), json.dumps(body).encode()
    found = (width.refusal(wire[at : at + cut]) for at in range(0, len(wire), cut))
    return next(filter(None, found), None)


@given(st.integers(0, 12), EXTRAS, CUTS)
def test_rows_as_wide_as_they_may_be_are_let_through(rows, extra, cut):
    each = fields(MAX_FIELDS - 2, 0) | {"x": extra, "y": extra}
    assert said({"rows": [each] * rows, "event_times": ["2021-01-01T00:00:00Z"] * rows}, cut) is None


@given(st.integers(0, 12), EXTRAS, CUTS)
def test_a_row_that_is_too_wide_is_refused_behind_any_others(rows, extra, cut):
    wide = {"x": extra} | fields(MAX_FIELDS) | {"y": extra}
    refused = said({"rows": [fields(500, extra)] * rows + [wide], "more": fields(1)}, cut)
    assert refused is not None
    assert (refused.status, refused.code, refused.details["limit"]) == (422, "too_many", MAX_FIELDS)


@given(CUTS)
def test_lists_between_the_fields_hide_none_of_them(cut):
    assert said({"rows": [fields(MAX_FIELDS + 1, [])]}, cut) is not None


def test_a_short_body_cannot_hold_an_object_that_is_too_wide():
    assert len(b"{" + b",".join([b'"":0'] * (MAX_FIELDS + 1)) + b"}") > NARROW


@pytest.mark.parametrize("opening", [b'{"":', b'[{"":'])
def test_what_is_nested_without_end_is_refused_or_left_but_never_kept(opening):
    width = Width()
    found = [width.refusal(opening * 10_000) for _ in range(20)]
    assert any(each is not None and each.code == "too_deep" for each in found)
