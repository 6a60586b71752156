"""What rollups promise: they add up, and a quantile of latencies is off by a known share at most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.embedded.tallies import MINUTE, STEPS, start_of, step_for, too_many, whole_steps
from observability.rollups import BUCKETS, LEAST_MS, MOST_MS, LatencySketch, Rollup, bucket_of, upper_bound

MILLISECONDS = st.floats(LEAST_MS * 1.001, MOST_MS / 1.06)
ROLLUPS = st.builds(
    Rollup,
    rows=st.integers(0, 10**9),
    missing=st.dictionaries(st.sampled_from("abc"), st.integers(1, 10**9)),
    latency=st.builds(LatencySketch, st.dictionaries(st.integers(0, BUCKETS), st.integers(1, 10**9))),
)
TIMES = st.integers(-100 * MINUTE, 100 * MINUTE) | st.integers(-100, 100).map(lambda minute: minute * MINUTE)
CURSORS = st.tuples(TIMES, st.sampled_from(["", "a"]))


@given(MILLISECONDS)
def test_the_latency_of_a_bucket_is_within_two_and_a_half_percent_of_each_in_it(latency):
    assert LatencySketch.of([latency]).quantile(0.5) == pytest.approx(latency, rel=0.025)


@given(st.lists(MILLISECONDS, min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_near_that_of_the_latencies_themselves(latencies, share):
    exact = sorted(latencies)[max(1, math.ceil(share * len(latencies))) - 1]
    assert LatencySketch.of(latencies).quantile(share) == pytest.approx(exact, rel=0.025)


def test_latencies_of_any_size_have_a_bucket_and_none_has_no_quantile():
    assert [bucket_of(value) for value in (0.0, LEAST_MS, MOST_MS * 10, math.inf)] == [0, 0, BUCKETS, BUCKETS]
    assert upper_bound(BUCKETS) >= MOST_MS
    assert LatencySketch.of([0.0]).quantile(0.99) == LEAST_MS
    assert LatencySketch().quantile(0.99) is None


@given(st.lists(MILLISECONDS, max_size=20), st.lists(MILLISECONDS, max_size=20))
def test_the_sketch_of_all_latencies_is_the_sum_of_those_of_their_parts(some, others):
    assert LatencySketch.of(some) + LatencySketch.of(others) == LatencySketch.of(some + others)


@given(ROLLUPS, ROLLUPS, ROLLUPS)
def test_rollups_add_up_in_any_order(one, two, three):
    assert (one + two) + three == three + (two + one)
    assert one + Rollup() == one


@given(CURSORS, CURSORS, st.sampled_from([MINUTE, 60 * MINUTE]), st.lists(CURSORS, max_size=50))
def test_an_event_is_in_a_whole_step_or_at_an_end_and_never_in_both(after, until, step, events):
    after, until = min(after, until), max(after, until)
    first, behind = whole_steps(after, until, step)
    assert first % step == 0 and (behind - first) % step == 0
    for time, id in [*events, after, until]:
        event = (time, id or "0")
        whole = first <= start_of(time, step) < behind
        assert not whole or after < event <= until
        if not whole and after < event <= until:
            assert time < first or time >= behind or first == behind


@pytest.mark.parametrize(("spread", "step"), [((5, 1, 1), 0), ((600, 10, 1), 1), ((60_000, 1_000, 42), 2)])
def test_thin_traffic_is_tallied_by_longer_steps(spread: Sequence[int], step: int):
    assert step_for(1_000, zip(STEPS, spread, strict=True)) == STEPS[step]


def test_a_feature_of_many_or_long_values_is_not_counted_by_value():
    many = [("many", str(value)) for value in range(501)]
    assert too_many([*many, ("few", "a"), ("few", "b"), ("long", "x" * 201)]) == {"many", "long"}
    assert too_many(many[:500]) == set()


def test_a_quantile_of_many_latencies_keeps_its_promise_on_a_long_tail():
    latencies = np.random.default_rng(7).lognormal(1.0, 1.5, 100_000)
    sketch = LatencySketch.of(latencies)
    for share in (0.5, 0.9, 0.99, 0.999):
        assert sketch.quantile(share) == pytest.approx(np.quantile(latencies, share), rel=0.03)
