# ruff: noqa: RUF001 - signs that look like others are the point
"""Columns and the privacy filter: what may be remembered, and in which types it reaches the model."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

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
        ("@@jane and ＠jane and ﹫jane", "@user and @user and @user"),
        ("RT@jane: yes", "RT@user: yes"),
        ("a@@b.org or a＠b.org", "email@masked or email@masked"),
        ("call 555–123–4567 or 555 — 123 4567", "call 0000000 or 0000000"),
        ("tel:5551234567x, IBAN DE89370400440532013000", "tel:0000000x, IBAN DE0000000"),
        ("+44 (0)20 7946 0958", "0000000"),
    ],
)
def test_people_are_masked_and_figures_are_not(text, masked):
    assert mask(text) == masked
    assert mask(masked) == masked


@given(st.text(alphabet="@＠.+-– ()\n:17ax_", max_size=40) | st.text())
@settings(max_examples=2000)
def test_masking_twice_changes_nothing(text):
    once = mask(text)

    assert mask(once) == once


@given(st.text(alphabet="@＠.+-– ()\n:17ax_", max_size=40))
def test_no_mention_and_no_long_number_is_left(text):
    masked = mask(text).replace("email@masked", "").replace("@user", "").replace("0000000", "")

    assert not re.search(r"[@＠]\w|\d{7}", masked)


@pytest.mark.parametrize("value", ["p-this-is-my-namee", "p-0123456789ABCDEF", "p-0123456789abcdef\n", "p-12"])
def test_only_an_exact_pseudonym_passes_unhashed(value):
    assert filtered({"user": value}, FIELDS, KEY)["user"] == pseudonym(value, KEY)


@pytest.mark.parametrize("privacy", ["mask", "hash"])
@pytest.mark.parametrize("kind", ["integer", "number", "boolean"])
def test_a_field_that_is_no_text_cannot_be_declared_hidden(privacy, kind):
    with pytest.raises(ValidationError, match=f"phone: privacy {privacy} hides text, and the field is of type {kind}"):
        RawField(name="phone", type=kind, privacy=privacy)


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
