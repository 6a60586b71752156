"""One rule of what is taken, at every door."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bundle.ranges import check_moment, check_number
from serving.errors import Refused
from serving.requests import read_rows

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [0, -1.5, 2**63 - 1, 3.4e38])
def test_what_64_bits_and_float32_hold_is_taken(value):
    check_number(value)


def test_the_years_end_before_2200():
    check_moment(datetime(2199, 12, 31, tzinfo=UTC))
    with pytest.raises(ValueError, match="1900 to 2200"):
        check_moment(datetime(2200, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00Z", "1899-12-31T23:59:59Z"])
def test_an_event_time_that_no_layer_takes_is_refused_at_the_door(instant):
    with pytest.raises(Refused, match="row 1, field event_times: lies outside the years 1900 to 2200"):
        read_rows({"rows": [{}, {}], "event_times": ["2021-01-01T00:00:00Z", instant]}, NOW)
