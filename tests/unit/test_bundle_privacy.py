"""Columns and the privacy filter: what may be remembered, and in which types it reaches the model."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.columns import BadRow, raw_columns
from bundle.privacy import filtered, mask, pseudonym
from bundle.signature import RawField

KEY = b"k" * 32
FIELDS = (
    RawField(name="text", type="string", privacy="mask"),
    RawField(name="user", type="string", privacy="hash"),
    RawField(name="followers", type="integer"),
)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("hi @jane!", "hi @user!"),
        ("write a.b@c.org now", "write email@masked now"),
        ("call +44 20 7946 0958", "call 0000000"),
        ("in 2020, 123456 cases", "in 2020, 123456 cases"),
        ("no one 👋", "no one 👋"),
    ],
)
def test_people_are_masked_and_figures_are_not(text, masked):
    assert mask(text) == masked
    assert mask(masked) == masked


def test_only_declared_fields_pass():
    row = {"text": "@jane", "user": "jane", "followers": 3, "user_description": "secret"}

    assert filtered(row, FIELDS, KEY) == {"text": "@user", "user": pseudonym("jane", KEY), "followers": 3}


def test_filtering_twice_changes_nothing():
    once = filtered({"text": "@jane 12345678", "user": "jane", "followers": None}, FIELDS, KEY)

    assert filtered(once, FIELDS, KEY) == once


@pytest.mark.parametrize("value", [2**63, -(2**63), 10**400])
def test_an_integer_that_no_layer_can_hold_names_row_and_field(value):
    with pytest.raises(BadRow, match="row 0, field followers: the integer is too large"):
        raw_columns([{"followers": value}], FIELDS)


@pytest.mark.parametrize("value", [1e39, -1e39, float("inf"), float("nan")])
def test_a_number_that_no_model_can_see_names_row_and_field(value):
    with pytest.raises(BadRow, match=r"row 0, field share: (the number is too large|expected a finite number)"):
        raw_columns([{"share": value}], [RawField(name="share", type="number")])


def test_missing_values_are_none_and_nan():
    columns = raw_columns([{"text": None}, {}], FIELDS)

    assert columns["text"].tolist() == [None, None]
    assert np.isnan(columns["followers"]).all()


@pytest.mark.parametrize("value", ["3", 3.5, True])
def test_a_value_of_another_type_names_row_and_field(value):
    with pytest.raises(BadRow, match="row 1, field followers"):
        raw_columns([{"followers": 1}, {"followers": value}], FIELDS)
