"""The monitor's pass: which windows are cut, once, and what is said of them when."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from controlplane.lifecycle import RolloutState
from controlplane.views import WindowView
from observability.events import LabelEvent, PredictionEvent
from observability.ids import sample_key
from observability.ports import LogStoreUnavailable
from tests.controlplane_world import MODEL, RECIPE, START, WEEKLY, CountingLogs, Monitored, spec
from tests.served import prediction, put

HOURLY = {"name": "hourly", "window": {"kind": "time", "every": "1h"}, "min_labels": 10}


@pytest.fixture
def world(tmp_path):
    world = Monitored(tmp_path, spec(monitors=[WEEKLY]))
    world.to_production()
    yield world
    world.logs.close()


@pytest.fixture
def hourly(tmp_path):
    world = Monitored(tmp_path, spec([], monitors=[HOURLY]))
    world.to_production()
    yield world
    world.logs.close()


def test_windows_by_count_are_cut_when_they_are_full_and_never_again(world):
    world.predict(99)
    world.watch()
    assert world.bounds() == []
    world.predict(251)
    world.watch()
    world.watch()

    assert [until for _, until in world.bounds()] == [99, 199, 299]
    assert world.scores.seen == [(100, 0)] * 3
    assert [row.revision for row in world.store.windows(MODEL)] == [1, 1, 1]


def test_windows_by_time_close_when_the_watermark_has_passed_their_end(hourly):
    hourly.predict(60)
    hourly.watch()
    assert hourly.bounds() == []
    hourly.predict(1)
    hourly.watch()
    assert hourly.bounds() == [(0, 60)]


def test_a_prediction_of_a_host_whose_clock_is_a_year_ahead_closes_no_window_before_its_time(hourly):
    put(hourly, [prediction(60 * 24 * 365)])
    for _ in range(3):
        hourly.predict(50)
        hourly.clock.advance(timedelta(minutes=50))
        hourly.watch(machine=hourly.clock)
    assert hourly.bounds() == [(0, 60), (60, 120)]
    assert [row.rows for row in hourly.store.windows(MODEL)] == [60, 60]
    assert hourly.store.model(MODEL).monitored_until == hourly.clock.now()


def test_hours_without_predictions_make_no_windows(hourly):
    hourly.predict(3, every=timedelta(hours=5))
    hourly.watch()
    assert hourly.bounds() == [(0, 60), (300, 360)]


def test_a_verdict_is_kept_as_the_rules_and_the_pages_read_it(world):
    world.predict(100)
    world.watch()
    verdict = world.store.windows(MODEL)[0].verdict
    assert verdict["features"]["followers"]["drifted"] is True
    assert (verdict["drifted_share"], verdict["error"]) == (0.5, None)
    world.tick()
    assert world.reasons("drifted")[-1] == "RETRAIN_DRIFT"


def test_errors_are_added_once_when_the_labels_are_due(world):
    world.predict(100)
    world.label(0, 60)
    world.watch()
    assert world.store.windows(MODEL)[0].verdict["error"] is None
    world.predict(1439)
    world.watch()
    assert world.store.windows(MODEL)[-1].error_at is None
    world.predict(1)
    scored = len(world.scores.seen)
    world.watch()
    world.watch()

    first = world.store.windows(MODEL)[-1]
    assert first.verdict["error"] == {"roc_auc": 0.6}
    assert (first.revision, first.labelled, first.error_at) == (2, 60, START)
    assert len(world.scores.seen) == scored + 1


def test_a_window_with_too_few_labels_waits_another_horizon_and_is_then_settled_without(world):
    world.predict(100)
    world.predict(1500)
    world.watch()
    assert world.store.windows(MODEL)[-1].error_at is None
    world.predict(1500)
    world.watch()

    assert world.store.windows(MODEL)[-1].verdict["error"] == {}
    assert world.store.windows(MODEL)[-1].error_at == START


def test_windows_with_too_few_labels_keep_no_other_window_from_being_settled(world):
    world.predict(2600)
    world.label(2400, 2500)
    world.predict(1500)
    for _ in range(4):
        world.watch()

    settled = [row for row in world.store.windows(MODEL, 1000) if row.error_at is not None]
    assert [row.labelled for row in settled if row.verdict["error"]] == [100]


def test_a_window_with_too_few_labels_is_not_sampled_again_before_its_time_to_look(world):
    world.predict(100)
    world.predict(1500)
    world.watch()
    counted = CountingLogs(world.logs)
    for _ in range(3):
        world.watch(logs=counted)
    assert counted.samples == 0
    world.label(0, 60)
    world.clock.advance(timedelta(hours=1))
    world.watch(logs=counted)
    assert counted.samples == 1
    first = world.store.windows(MODEL, 1000)[-1]
    assert (first.labelled, first.verdict["error"]) == (60, {"roc_auc": 0.6})


def test_a_window_whose_last_chance_has_come_is_settled_whatever_its_time_to_look(world):
    world.predict(1600)
    world.watch()
    assert world.store.windows(MODEL, 1000)[-1].look_at > world.clock.now()
    world.predict(1500)
    world.watch()
    assert world.store.windows(MODEL, 1000)[-1].error_at == START


def test_what_the_rules_need_to_know_is_written_after_the_windows(world):
    world.predict(150)
    world.label(0, 40)
    world.watch()
    seen = world.store.observation(MODEL, 1)
    assert seen.watermark == world.store.model(MODEL).monitored_until == START + timedelta(minutes=149)
    assert seen.labelled_new == 39, "the run's cut-off is START: the row of that instant is not new"


def test_a_new_version_starts_windows_of_its_own(world):
    world.predict(150)
    world.watch()
    world.to_production()
    world.predict(120, version=2)
    world.watch()
    windows = world.store.windows(MODEL)
    assert [(row.version, row.rows) for row in reversed(windows)] == [(1, 100), (2, 100)]


@pytest.mark.parametrize("monitors", [[WEEKLY], [HOURLY]], ids=["count", "time"])
def test_what_a_version_answered_is_cut_though_another_is_in_production_when_the_monitor_comes_to_it(
    tmp_path, monitors
):
    world = Monitored(tmp_path, spec([], monitors=monitors))
    world.to_production()
    world.predict(150)
    world.clock.advance(timedelta(minutes=150))
    world.to_production()
    world.predict(150, version=2)
    world.watch()

    cut = {version: sum(row.version == version for row in world.store.windows(MODEL)) for version in (1, 2)}
    assert cut == ({1: 1, 2: 1} if monitors == [WEEKLY] else {1: 3, 2: 2})
    world.logs.close()


def test_what_a_version_answered_is_cut_though_two_others_were_promoted_before_its_window_was_over(tmp_path):
    world = Monitored(tmp_path, spec([], monitors=[HOURLY]))
    for version, minutes in ((1, 20), (2, 30), (3, 150)):
        world.to_production()
        world.predict(minutes, version=version)
        world.clock.advance(timedelta(minutes=minutes))
        world.watch()

    windows = [(row.version, row.rows) for row in world.store.windows(MODEL)]
    assert sorted(windows) == [(1, 20), (2, 30), (3, 10), (3, 60), (3, 60)]
    world.logs.close()


def test_a_version_that_was_replaced_long_ago_is_looked_for_no_more(world):
    world.predict(150)
    world.to_production()
    world.predict(150, version=2)
    world.watch()
    asked: list[int] = []

    class Asked(CountingLogs):
        def cut(self, model, version, after, size):
            asked.append(version)
            return self._logs.cut(model, version, after, size)

    world.watch(logs=Asked(world.logs))
    assert set(asked) == {2}


def test_rows_that_come_after_the_cut_are_counted_when_the_window_is_scored_again(world):
    world.predict(101, every=timedelta(minutes=2))
    world.watch()
    first = world.store.windows(MODEL)[0]
    assert (first.rows, first.late_rows) == (100, 0)
    world.sent = 0
    world.predict(7, every=timedelta(seconds=61), prefix="late")
    world.sent = 3100
    world.predict(1)
    world.watch()

    settled = world.store.windows(MODEL)[-1]
    assert settled.id == first.id and settled.error_at is not None
    assert (settled.rows, settled.late_rows) == (100, 7)
    assert WindowView.model_validate(settled.model_dump()).late_rows == 7


def test_while_the_log_store_is_away_nothing_is_said_to_be_known(world, caplog):
    class Away:
        def watermark(self, _model):
            raise LogStoreUnavailable("no answer")

    world.predict(100)
    world.watch(logs=Away())
    assert world.store.windows(MODEL) == []
    assert world.store.model(MODEL).monitored_until is None
    assert "no answer" in caplog.text


def test_a_model_whose_pass_breaks_in_whatever_way_stops_no_other_model(world, monkeypatch, caplog):
    class Broken:
        def watermark(self, model):
            if model == "default/a":
                raise ZeroDivisionError("a watermark like no other")
            return world.logs.watermark(model)

        def __getattr__(self, name):
            return getattr(world.logs, name)

    version = world.store.production(MODEL)
    world.store.apply_model(spec(model="default/a"), RECIPE, START)
    monkeypatch.setattr(world.store, "production", lambda _model: version)
    world.predict(100)
    world.watch(logs=Broken())

    assert world.store.models()[0].id == "default/a"
    assert "a watermark like no other" in caplog.text
    assert [row.rows for row in world.store.windows(MODEL)] == [100]


def test_a_reference_that_is_gone_stops_the_windows_of_its_model_and_is_told(world, caplog):
    world.predict(100)
    world.blobs.path(world.store.production(MODEL).manifest).unlink()
    world.watch()
    assert world.store.model(MODEL).monitored_until is None
    assert "cannot be read" in caplog.text


def shadowed(world, count: int, failed: int, observed: datetime) -> None:
    """Answers of version 1 that version 2 scored too, half of them with a label; version 2 is always right."""
    events: list[PredictionEvent | LabelEvent] = []
    for number in range(count):
        name, truth = f"{observed:%H%M%S}{number:04d}", number % 2
        at = START + timedelta(minutes=number)
        common = {"model": MODEL, "observed_time": observed, "sample_key": sample_key(name)}
        events.append(
            PredictionEvent(
                id=name, version=1, event_time=at, latency_ms=2.0, score=0.5 + 0.001 * number, prediction=1,
                score_ms=1.0, rival_version=2, rival_score=None if number < failed else 0.1 + 0.8 * truth,
                rival_ms=None if number < failed else 1.5, raw={"followers": 1.0},
                features={"followers": 1.0, "place": "x"}, **common,
            )
        )  # fmt: skip
        if number % 4 < 2:
            label = LabelEvent(id="l" + name, prediction_id=name, label=truth, label_time=at, **common)
            events.append(label)
    assert world.logs.append(events) == []


def test_a_rollout_is_measured_on_what_both_versions_scored_since_its_step_began(tmp_path):
    plan = {"shadow": {"rows": 90}, "guards": {"error_share": 0.2, "metric": "roc_auc", "min_labels": 20}}
    world = Monitored(tmp_path, spec([], monitors=[WEEKLY], rollout=plan))
    world.to_production()
    run = world.ask()
    world.finish(run.key, world.made())
    for _ in range(2):
        world.tick()
        world.load_staged()
    world.tick()
    rollout = world.store.rollout_of(MODEL)
    assert rollout.state is RolloutState.SHADOW

    shadowed(world, 50, 50, rollout.recorded_at - timedelta(minutes=1))
    shadowed(world, 100, 10, rollout.recorded_at)
    world.watch()
    numbers = world.store.comparison(rollout.id).numbers
    assert (numbers["rows"], numbers["failed"], numbers["error_share"]) == (100, 10, 0.1)
    assert (numbers["champion_ms_p99"], numbers["challenger_ms_p99"]) == (1.0, 1.5)
    assert numbers["improvement"]["challenger"] == 1.0 and numbers["improvement"]["lower"] > 0
    world.tick()
    assert world.store.production(MODEL).number == 2
    world.logs.close()
