"""Windows of the monitor's loop: sliding ones, late events, segments, references, and what is exact about them."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import pytest

from controlplane.loop.monitoring import VERDICTS_A_PASS
from tests.controlplane_world import MODEL, START, Monitored, spec
from tests.served import Compared, label, prediction, put

HOURLY = {"name": "hourly", "window": {"kind": "time", "every": "1h"}, "min_labels": 10}
SLIDING = {"name": "sliding", "window": {"kind": "sliding", "length": "1h", "step": "20m"}}
BY_COUNT = {"name": "weekly", "window": {"kind": "count", "size": 10}}
PLACES = {"feature": "place", "values": ["x", "y"], "sample": 100}


@pytest.fixture
def watched(tmp_path):
    """Makes a world whose model has this monitor and these rules, and a version in production."""
    made: list[Monitored] = []

    def make(monitor, rules=()):
        world = Monitored(tmp_path, spec(rules, monitors=[monitor]))
        world.scores = Compared()
        world.to_production()
        made.append(world)
        return world

    yield make
    for world in made:
        world.logs.close()


def rows(world, segment=""):
    return list(reversed(world.store.windows(MODEL, 1000, segment=segment)))


def passes(world, most=20):
    """Passes until one is finished; returns how many that took."""
    for number in range(1, most + 1):
        world.watch()
        if world.store.model(MODEL).monitored_until == world.logs.watermark(MODEL):
            return number
    raise AssertionError(f"not finished after {most} passes")


def test_sliding_windows_overlap_and_a_step_without_predictions_makes_none(watched):
    world = watched(SLIDING)
    put(world, [prediction(minute) for minute in (25, 45, 65, 85, 150, 161)])
    world.watch()
    assert world.bounds() == [(20, 80), (40, 100), (100, 160)], "none ends at 120 or 140: nothing came in between"
    assert [row.rows for row in rows(world)] == [3, 3, 1]
    put(world, [prediction(181)])
    world.watch()
    assert world.bounds()[3:] == [(120, 180)]


def test_a_window_waits_for_what_may_be_late(watched):
    world = watched(HOURLY | {"lateness": "30m"})
    put(world, [prediction(10), prediction(80)])
    world.watch()
    assert world.bounds() == []
    put(world, [prediction(50), prediction(90)])
    world.watch()
    assert [(row.rows, row.late_rows) for row in rows(world)] == [(2, 0)]


def test_windows_by_count_are_cut_in_the_order_of_event_times_though_late_ones_came_after(watched):
    world = watched(BY_COUNT | {"lateness": "5m"})
    put(world, [prediction(minute) for minute in (*range(9), 10)])
    world.watch()
    assert world.bounds() == [], "the tenth is not five minutes old: one before it may come yet"
    put(world, [prediction(9), prediction(15)])
    world.watch()
    assert [row.until_time for row in rows(world)] == [START + timedelta(minutes=9)]
    put(world, [prediction(3, "late"), prediction(16)])
    world.watch()
    assert len(rows(world)) == 1


def test_after_an_outage_windows_are_made_a_pass_at_a_time_and_none_is_left_out(watched):
    world = watched(HOURLY)
    put(world, [prediction(60 * hour) for hour in range(2 * VERDICTS_A_PASS + 6)])
    world.watch()
    assert len(rows(world)) == VERDICTS_A_PASS
    assert world.store.model(MODEL).monitored_until is None, "it has not seen everything yet"
    assert world.store.observation(MODEL, 1) is not None
    assert passes(world) == 2
    assert world.bounds() == [(60 * hour, 60 * hour + 60) for hour in range(2 * VERDICTS_A_PASS + 5)]


def test_a_monitor_with_much_to_catch_up_holds_no_other_monitor_of_its_model_back(tmp_path):
    world = Monitored(
        tmp_path, spec((), monitors=[HOURLY | {"name": "half", "window": {"kind": "time", "every": "30m"}}, HOURLY])
    )
    world.to_production()
    put(world, [prediction(30 * number) for number in range(100)])
    world.watch()
    assert Counter(row.monitor for row in rows(world)) == {"half": 14, "hourly": 6}
    world.logs.close()


def test_each_segment_has_a_window_over_the_same_span_and_an_id_of_its_own(watched):
    world = watched(HOURLY | {"segments": [PLACES]})
    put(
        world,
        [prediction(minute, features={"followers": 1.0, "place": "y" if minute < 7 else "z"}) for minute in range(60)],
    )
    put(world, [prediction(60)])
    world.watch()

    whole, x, y = (rows(world, segment)[0] for segment in ("", "place=x", "place=y"))
    assert (whole.rows, x.rows, y.rows) == (60, 0, 7), "one that nobody asked for is told of too"
    assert len({whole.id, x.id, y.id}) == 3
    assert {(row.after_time, row.until_time) for row in (whole, x, y)} == {(START, START + timedelta(hours=1))}
    assert y.verdict["volume"]["rows"] == 7
    world.watch()
    assert [len(rows(world, segment)) for segment in ("", "place=x", "place=y")] == [1, 1, 1]


def test_a_monitor_that_ends_between_two_segments_leaves_none_without_a_window(watched, monkeypatch):
    world = watched(HOURLY | {"segments": [PLACES]})
    put(world, [prediction(10), prediction(61)])
    record, recorded = world.store.record_window, []

    def ends(window, *said):
        recorded.append(window.segment)
        if len(recorded) == 2:
            raise RuntimeError("out of memory")
        return record(window, *said)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "record_window", ends)
        world.watch()
    assert rows(world) == [], "the next pass has to come by again"
    world.watch()
    assert [len(rows(world, segment)) for segment in ("", "place=x", "place=y")] == [1, 1, 1]


def test_rules_look_at_whole_windows_unless_they_name_a_segment(watched):
    rule = {"kind": "drift", "monitor": "hourly", "drifted_share": 0.5, "min_rows": 20, "dry_run": True}
    rules = [rule | {"name": "all"}, rule | {"name": "of-y", "segment": "place=y"}]
    world = watched(HOURLY | {"segments": [PLACES]}, rules)
    put(
        world,
        [
            prediction(minute, features={"followers": 1.0, "place": "x" if minute % 10 else "y"})
            for minute in range(125)
        ],
    )
    world.watch()
    world.tick()

    said = {each.cause: each for each in world.store.decisions(MODEL) if each.cause.startswith("w-")}
    whole, y = ({row.id for row in rows(world, segment)} for segment in ("", "place=y"))
    assert {cause for cause, decision in said.items() if decision.rule == "all"} == whole
    of_y = [decision for decision in said.values() if decision.rule == "of-y"]
    assert {decision.cause for decision in of_y} == y
    assert {decision.reason for decision in of_y} == {"WAIT_FEW_ROWS"}, "12 rows in two hours are of y"
    assert {decision.detail for decision in of_y} == {"place=y: 6 rows, 20 are needed"}
    assert of_y[0].numbers["segment"] == "place=y"


TRAILING = {"kind": "trailing", "length": "1h"}
SEASONAL = {"kind": "seasonal", "period": "2h", "seasons": 2}
PINNED = {"kind": "pinned", "start": START.isoformat(), "end": (START + timedelta(minutes=40)).isoformat()}


@pytest.mark.parametrize(
    ("declared", "spans", "count"),
    [
        ({"kind": "training"}, [], 1),
        (TRAILING, [(240, 300)], 60),
        (SEASONAL, [(180, 240), (60, 120)], 100),
        (PINNED, [(0, 40)], 40),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_window_is_compared_with_what_its_monitor_names_and_the_verdict_says_so(watched, declared, spans, count):
    world = watched(HOURLY | {"reference": declared, "sample": 100})
    put(world, [prediction(minute, features={"followers": float(minute), "place": "x"}) for minute in range(361)])
    world.watch()

    assert world.bounds()[-1] == (300, 360)
    told, shown = rows(world)[-1].verdict["reference"], world.scores.references[-1]
    assert told["kind"] == declared["kind"] and told["sampled"] == len(shown.features) == count
    assert told["rows"] == sum(until - after for after, until in spans) or not spans
    minutes = shown.features["followers"]
    if spans:
        assert all(any(after <= minute < until for after, until in spans) for minute in minutes)
        assert len(shown.usual_scores) == count
        assert minutes.is_monotonic_increasing, "how long values stay is told by rows in the order of time"
    assert list(shown.scores) == [0.5], "errors are compared with the version's out-of-time rows, whatever else is"


def test_a_sample_of_seasons_is_one_of_all_their_rows_together(watched):
    world = watched(HOURLY | {"reference": SEASONAL, "sample": 100})
    busy = [prediction(60 + number / 10, f"b{number}") for number in range(540)]
    quiet = [prediction(180 + number, f"q{number}") for number in range(60)]
    put(world, [*busy, *quiet, prediction(310), prediction(360)])
    world.watch()

    assert rows(world)[-1].verdict["reference"] | {"spans": []} == {
        "kind": "seasonal", "spans": [], "rows": 600, "sampled": 100, "reason": None,
    }  # fmt: skip


def test_a_reference_of_too_few_rows_is_told_and_nothing_is_called_stable(watched):
    rule = {"name": "drifted", "kind": "drift", "monitor": "hourly", "drifted_share": 0.5, "min_rows": 20}
    world = watched(HOURLY | {"reference": TRAILING}, [rule])
    put(world, [prediction(minute) for minute in (*range(48, 60), *range(60, 121))])
    with evidently(world):
        world.watch()
        world.tick()

    verdict = rows(world)[-1].verdict
    assert verdict["reference"]["reason"] == "cannot tell: the reference has 12 rows, 30 are needed"
    assert verdict["features"]["place"]["reason"] == verdict["reference"]["reason"]
    assert (verdict["drifted_share"], verdict["features"]["place"]["unseen_share"]) == (None, None)
    assert world.reasons("drifted")[-1] == "WAIT_NO_DATA"


def test_features_are_compared_with_what_any_version_served_and_scores_with_the_same_version_only(watched):
    world = watched(HOURLY | {"reference": TRAILING, "sample": 1000})
    put(world, [prediction(minute, f"other{minute}", version=7, score=0.9) for minute in range(40)])
    put(world, [prediction(minute, score=0.2) for minute in range(40, 121)])
    world.watch()

    told, shown = rows(world)[-1], world.scores.references[-1]
    assert (told.rows, len(shown.features)) == (60, 60)
    assert list(shown.usual_scores) == [0.2] * 20


def test_the_reference_of_a_segment_holds_that_segment_only(watched):
    world = watched(HOURLY | {"reference": TRAILING, "segments": [PLACES]})
    put(
        world,
        [prediction(minute, features={"followers": 1.0, "place": "xy"[minute % 3 == 0]}) for minute in range(121)],
    )
    world.watch()

    segments = rows(world, "place=y")
    assert [row.rows for row in segments] == [20, 20]
    assert segments[-1].verdict["reference"]["rows"] == 20
    assert [set(each.features["place"]) for each in world.scores.references[-3:]] == [{"x"}, {"y"}, {"x", "y"}]


def test_the_first_window_by_count_begins_with_its_first_prediction(watched):
    world = watched(BY_COUNT | {"reference": {"kind": "trailing", "length": "30m"}})
    put(world, [prediction(minute, f"other{minute}", version=7) for minute in range(60)])
    put(world, [prediction(minute) for minute in range(60, 70)])
    world.watch()

    verdict = rows(world)[0].verdict
    assert verdict["reference"]["rows"] == 30
    assert verdict["volume"]["predictions_per_minute"] == pytest.approx(10 / 9)


def test_what_is_exact_is_counted_over_all_predictions_and_not_over_the_sample(watched):
    world = watched(HOURLY | {"sample": 100})
    put(
        world,
        [
            prediction(
                minute / 10, latency_ms=80.0 if minute % 50 == 0 else 1.0,
                features={"followers": None if minute % 4 == 0 else 1.0, "place": "x"},
            )
            for minute in range(600)
        ],
    )  # fmt: skip
    put(world, [prediction(60)])
    world.watch()

    verdict = rows(world)[0].verdict
    volume = verdict["volume"]
    assert (verdict["sampled"], volume["rows"], volume["predictions_per_minute"]) == (100, 600, 10)
    assert volume["missing_share"] == {"followers": 0.25, "place": 0.0}
    assert verdict["features"]["followers"]["missing_share"] == 0.25
    assert "missing_share" not in verdict["quality"]
    assert volume["latency_ms"]["p50"] == pytest.approx(1.0, rel=0.03)
    assert volume["latency_ms"]["p99"] == pytest.approx(80.0, rel=0.03)


def test_a_feature_that_no_prediction_bears_is_missing_in_all_of_them(watched):
    world = watched(HOURLY)
    put(world, [prediction(minute / 10, features={"followers": 1.0}) for minute in range(600)])
    put(world, [prediction(60)])
    world.watch()

    verdict = rows(world)[0].verdict
    assert verdict["volume"]["missing_share"] == {"followers": 0.0, "place": 1.0}


def test_the_drift_of_each_feature_is_an_event_of_its_own_at_the_windows_end(watched):
    world = watched(HOURLY | {"segments": [PLACES | {"values": ["x"]}]})
    put(world, [prediction(10), prediction(61)])
    world.watch()
    told = [entry for entry in world.store.unpublished(1000) if entry.kind == "drift"]

    assert [(each.body["segment"], each.body["feature"]) for each in told] == [
        ("place=x", "followers"), ("", "followers"),
    ]  # fmt: skip
    assert {each.event_time for each in told} == {START + timedelta(hours=1)}
    assert told[-1].body | {"window": "w"} == {
        "window": "w", "version": 1, "monitor": "hourly", "segment": "", "feature": "followers", "method": "calibrated",
        "score": 0.0, "threshold": 0.001, "drifted": True, "missing_share": 0.0, "reference_missing_share": 0.0,
        "unseen_share": None, "reason": None, "p_value": None, "effect": None, "aspect": None, "overdispersion": 1.0,
        "revision": 1, "rows": 1, "sampled": 1,
        "after": START.isoformat(), "until": (START + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    verdicts = [entry for entry in world.store.unpublished(1000) if entry.kind == "verdict"]
    assert {each.body["segment"] for each in verdicts} == {"", "place=x"}


def test_a_window_is_scored_once_more_when_many_labels_came_after_its_errors_were_settled(watched):
    world = watched(HOURLY)
    put(world, [prediction(minute) for minute in range(60)])
    put(world, [label(prediction(minute).id) for minute in range(40)])
    put(world, [prediction(60 + 24 * 60)])
    world.watch()
    first = rows(world)[0]
    assert (first.revision, first.labelled, first.settled_labels) == (2, 40, 40)

    put(world, [label(prediction(minute).id) for minute in range(40, 43)])
    put(world, [prediction(60 + 48 * 60)])
    world.watch()
    counted = rows(world)[0]
    assert (counted.revision, counted.labelled, counted.late_labels) == (2, 40, 3), "too few to change anything"

    put(world, [label(prediction(minute).id) for minute in range(43, 50)])
    put(world, [prediction(60 + 72 * 60)])
    world.watch()
    assert rows(world)[0].revision == 2, "it is looked at after one horizon and after three"
    put(world, [prediction(60 + 96 * 60)])
    scored = len(world.scores.seen)
    world.watch()
    world.watch()

    last = rows(world)[0]
    assert (last.id, last.revision, last.labelled, last.late_labels) == (first.id, 3, 50, 10)
    assert (last.error_at, last.settled_labels, last.recount_at) == (first.error_at, 40, None)
    assert world.scores.seen[scored:].count((60, 50)) == 1
    assert [(each.monitor, each.predictions, each.labels) for each in world.store.late_events()] == [("hourly", 0, 10)]


def test_a_window_that_is_scored_again_is_no_new_cause(watched):
    rule = {"name": "worse", "kind": "metric", "monitor": "hourly", "metric": "roc_auc", "below": 0.7, "dry_run": True}
    world = watched(HOURLY, [rule])
    put(world, [prediction(minute) for minute in range(60)])
    put(world, [label(prediction(minute).id) for minute in range(20)])
    put(world, [prediction(60 + 24 * 60)])
    world.watch()
    world.tick()
    put(world, [label(prediction(minute).id) for minute in range(20, 60)])
    put(world, [prediction(60 + 48 * 60)])
    world.watch()
    world.tick()

    assert rows(world)[0].revision == 3
    assert [each.cause for each in world.store.decisions(MODEL)].count(rows(world)[0].id) == 1


@contextmanager
def evidently(world):
    """Judged in truth."""
    from observability.monitors.judging import judge

    stand_in, world.scores = world.scores, judge
    yield
    world.scores = stand_in
