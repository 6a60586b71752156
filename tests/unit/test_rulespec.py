"""What may be said of a rule, and what is told to somebody who says it wrong."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pipeline.contract.rulespec import Rule
from pipeline.contract.specfile import SpecInvalid, parse_spec, read_yaml

RECIPE = (Path(__file__).parents[2] / "recipes" / "tweets" / "model.yaml").read_text(encoding="utf-8")
MONTHLY = 'cron: "0 0 1 * *"'


def with_hours(hours: str) -> str:
    assert MONTHLY in RECIPE
    return RECIPE.replace(MONTHLY, f"{MONTHLY}, active: {hours}")


def test_a_time_of_the_day_needs_no_quotes():
    active = parse_spec(with_hours("{from: 18:00, to: 06:30}"), "model.yaml").rules[-1].active
    assert (active.since, active.until) == (time(18), time(6, 30))


@pytest.mark.parametrize(
    ("hours", "field"),
    [
        ("{from: 1080}", "active.from"),
        ("{from: 6:30}", "active.from"),
        ("{to: 24:00}", "active.to"),
        ('{to: "18:00Z"}', "active.to"),
        ("{days: []}", "active.days"),
        ("{timezone: Mars/Olympus}", "active.timezone"),
    ],
)
def test_wrong_hours_are_refused_with_file_line_and_field(hours, field):
    line = RECIPE[: RECIPE.index(MONTHLY)].count("\n") + 1
    with pytest.raises(SpecInvalid) as told:
        parse_spec(with_hours(hours), "model.yaml")
    (problem,) = told.value.problems
    assert problem.startswith(f"model.yaml:{line}: rules.") and f"{field}: " in problem


@given(st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False), st.booleans(), st.none(), st.text("0:.5e")))
def test_everything_but_numbers_with_colons_is_read_as_ever(value):
    text = yaml.safe_dump({"value": value})
    assert read_yaml(text) == yaml.safe_load(text) == {"value": value}


@pytest.mark.parametrize("name", ["manual", "webhook"])
def test_no_rule_may_be_taken_for_one_of_the_system(name):
    with pytest.raises(ValidationError, match="rule of the system"):
        TypeAdapter(Rule).validate_python({"name": name, "kind": "volume", "new_labelled_rows": 1})


def test_so_many_windows_are_of_as_many_where_nothing_else_is_said():
    declared = {"name": "d", "kind": "drift", "monitor": "m", "drifted_share": 0.5, "hold": {"windows": 3}}
    assert TypeAdapter(Rule).validate_python(declared).hold.of == 3
    with pytest.raises(ValidationError, match="3 of 2 windows can never hold"):
        TypeAdapter(Rule).validate_python(declared | {"hold": {"windows": 3, "of": 2}})
