"""The alert rules fire when they should and not otherwise, as Prometheus itself judges them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from controlplane.ui.runbook import headings_of
from docs.metrics import PROCESSES, RULES, alert_rules
from observability.telemetry import metrics
from tests.servers.promtool import promtool

ROOT: Final = Path(__file__).parents[2]
#: minutes of the series, and when the alert is looked for
MINUTES: Final = 90
LOOK_AT: Final = "80m"
HTTP: Final = 'driftgate_http_requests_total{job="driftgate-%s",instance="a",route="%s",status="%s"}'
SLOW: Final = (
    'driftgate_http_request_duration_seconds_bucket{job="driftgate-serving",instance="a",route="predict",le="%s"}'
)
TICK: Final = 'driftgate_tick_last_success_timestamp_seconds{job="driftgate-control",instance="a",tick="%s"}'
UNAVAILABLE: Final = 'driftgate_log_store_unavailable_total{job="driftgate-shipper",instance="a",call="append"}'
CALLS: Final = 'driftgate_log_store_call_duration_seconds_count{job="driftgate-shipper",instance="a",call="append"}'
LAG: Final = 'driftgate_monitor_watermark_lag_seconds{model="m"}'
ASKED: Final = 'driftgate_predictions_total{model="m"}'
GIVEN_UP: Final = 'driftgate_notifications_given_up{channel="ops"}'
RESTARTS: Final = 'process_start_time_seconds{job="driftgate-shipper",instance="a"}'
CERTIFICATE: Final = "driftgate_log_store_certificate_expiry_timestamp_seconds"
LOGGED: Final = 'driftgate_log_lines_total{job="driftgate-control",instance="a",level="%s"}'
STALE: Final = {"decide": f"60x{MINUTES}", "runs": f"0+60x{MINUTES}"}
#: series by alert: those of which it fires, and those of which it does not; in promtool's notation, one value a minute
CASES: Final[dict[str, tuple[dict[str, str], dict[str, str]]]] = {
    "DriftgateProcessDown": (
        {'up{job="driftgate-serving",instance="a"}': f"0x{MINUTES}"},
        {'up{job="driftgate-serving",instance="a"}': "1x77 0 1x20", 'up{job="other"}': f"0x{MINUTES}"},
    ),
    "DriftgateProcessRestarts": ({RESTARTS: "1x70 71 72 73 73x20"}, {RESTARTS: "1x70 71 71x20"}),
    "DriftgateErrorsLogged": (
        {LOGGED % "error": "0x75 1x20"},
        {LOGGED % "error": "0x10 1x90", LOGGED % "warning": f"0+1x{MINUTES}"},
    ),
    "DriftgateLogLinesRefused": (
        {'driftgate_log_lines_refused_total{job="driftgate-serving",reason="rate"}': "0x75 9x20"},
        {'driftgate_log_lines_refused_total{job="driftgate-serving",reason="rate"}': f"9x{MINUTES}"},
    ),
    "DriftgateServingNotReady": (
        {"driftgate_serving_ready": f"1x70 0x{MINUTES}"},
        {"driftgate_serving_ready": "1x78 0x1 1x20"},
    ),
    "DriftgateVersionNotLoaded": (
        {'driftgate_serving_versions_failed{model="m"}': f"1x{MINUTES}"},
        {'driftgate_serving_versions_failed{model="m"}': f"0x{MINUTES}"},
    ),
    "DriftgateServingErrors": (
        {HTTP % ("serving", "predict", 500): f"0+2x{MINUTES}", HTTP % ("serving", "predict", 200): f"0+98x{MINUTES}"},
        {
            HTTP % ("serving", "predict", 500): f"0+1x{MINUTES}",
            HTTP % ("serving", "predict", 200): f"0+999x{MINUTES}",
            HTTP % ("serving", "readiness", 503): f"0+999x{MINUTES}",
            HTTP % ("serving", "predict", 422): f"0+999x{MINUTES}",
        },
    ),
    "DriftgateServingSlow": (
        {SLOW % "0.25": f"0+90x{MINUTES}", SLOW % "0.5": f"0+100x{MINUTES}", SLOW % "+Inf": f"0+100x{MINUTES}"},
        {SLOW % "0.25": f"0+100x{MINUTES}", SLOW % "0.5": f"0+100x{MINUTES}", SLOW % "+Inf": f"0+100x{MINUTES}"},
    ),
    "DriftgateServingAlone": (
        {"driftgate_serving_control_plane_age_seconds": f"0+60x{MINUTES}"},
        {"driftgate_serving_control_plane_age_seconds": f"30x{MINUTES}"},
    ),
    "DriftgateSpoolFilling": (
        {"driftgate_serving_spool_quota_ratio": f"0.91x{MINUTES}"},
        {"driftgate_serving_spool_quota_ratio": f"0.89x{MINUTES}"},
    ),
    "DriftgatePredictionsNotRecorded": (
        {"driftgate_serving_spool_refused_total": "0x77 5x20"},
        {"driftgate_serving_spool_refused_total": f"5x{MINUTES}"},
    ),
    "DriftgateLinesUnaccounted": (
        {"driftgate_events_unaccounted": f"-3x{MINUTES}"},
        {"driftgate_events_unaccounted": f"0x78 1 0x{MINUTES}"},
    ),
    "DriftgateDeadLetters": (
        {"driftgate_events_dead_lettered_total": "0x75 1x20"},
        {"driftgate_events_dead_lettered_total": f"7x{MINUTES}"},
    ),
    "DriftgateShippingStopped": (
        {"driftgate_shipper_stopped": "0x77 1 0x20"},
        {"driftgate_shipper_stopped": "0x60 1 0x40"},
    ),
    "DriftgateDeadLettersFull": (
        {'driftgate_shipper_failures_total{reason="DeadLettersFull"}': f"0+3x{MINUTES}"},
        {'driftgate_shipper_failures_total{reason="LogStoreUnavailable"}': f"0+3x{MINUTES}"},
    ),
    "DriftgateLogStoreDown": (
        {UNAVAILABLE: f"0x60 0+2x{MINUTES}", CALLS: f"0+9x60 540x{MINUTES}"},
        {UNAVAILABLE: f"0+2x{MINUTES}", CALLS: f"0+9x{MINUTES}"},
    ),
    "DriftgateShippingBehind": (
        {"driftgate_events_oldest_waiting_seconds": f"0+60x{MINUTES}"},
        {"driftgate_events_oldest_waiting_seconds": f"500x{MINUTES}"},
    ),
    "DriftgateCertificateEnds": ({CERTIFICATE: f"1000000x{MINUTES}"}, {CERTIFICATE: f"9000000x{MINUTES}"}),
    "DriftgateMonitorStale": (
        {TICK.replace("control", "monitor") % "monitor": f"60x{MINUTES}"},
        {TICK.replace("control", "monitor") % "monitor": f"0+60x{MINUTES}"},
    ),
    "DriftgateWatermarkBehind": (
        {LAG: f"7200x{MINUTES}", ASKED: f"0+10x{MINUTES}"},
        {LAG: f"7200x{MINUTES}", ASKED: f"10x{MINUTES}", 'driftgate_predictions_total{model="n"}': f"0+10x{MINUTES}"},
    ),
    "DriftgateTickStale": (
        {TICK % tick: values for tick, values in STALE.items()},
        {TICK % tick: f"0+60x{MINUTES}" for tick in STALE},
    ),
    "DriftgateRunTooLong": (
        {"driftgate_run_oldest_active_seconds": f"25200+60x{MINUTES}"},
        {"driftgate_run_oldest_active_seconds": f"0+60x{MINUTES}"},
    ),
    "DriftgateOutboxOld": (
        {"driftgate_outbox_oldest_seconds": f"0+60x{MINUTES}"},
        {"driftgate_outbox_oldest_seconds": f"2x{MINUTES}"},
    ),
    "DriftgateNotificationsWaiting": (
        {"driftgate_notifications_oldest_seconds": f"0+60x{MINUTES}"},
        {"driftgate_notifications_oldest_seconds": f"60x{MINUTES}"},
    ),
    "DriftgateNotificationsGivenUp": ({GIVEN_UP: "_x60 2x40"}, {GIVEN_UP: f"2x{MINUTES}"}),
    "DriftgateDatabaseBusy": (
        {"driftgate_database_busy_total": f"0+30x{MINUTES}"},
        {"driftgate_database_busy_total": f"0+3x{MINUTES}"},
    ),
    "DriftgateControlErrors": (
        {HTTP % ("control", "/x", 500): f"0+10x{MINUTES}", HTTP % ("control", "/x", 200): f"0+90x{MINUTES}"},
        {
            HTTP % ("control", "/x", 500): f"0+1x{MINUTES}",
            HTTP % ("control", "/x", 200): f"0+90x{MINUTES}",
            HTTP % ("control", "/readyz", 503): f"0+90x{MINUTES}",
        },
    ),
}


def asked(alert: str, series: dict[str, str]) -> dict[str, Any]:
    """A test for promtool that lists which alerts of this name fire: none."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": LOOK_AT, "alertname": alert, "exp_alerts": []}],
    }


@pytest.fixture(scope="module")
def firing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says of each file `<alert>-fires.yml` and `<alert>-rests.yml`: which alerts fire."""
    folder = tmp_path_factory.mktemp("rules")
    for alert, cases in CASES.items():
        for what, series in zip(("fires", "rests"), cases, strict=True):
            test = {"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": [asked(alert, series)]}
            (folder / f"{alert}-{what}.yml").write_text(yaml.safe_dump(test))
    tested = promtool("test", "rules", *(str(file) for file in sorted(folder.iterdir())))
    _, *said = re.split(r"^Unit Testing: +", tested.stdout, flags=re.MULTILINE)
    return {Path(each.splitlines()[0]).stem: each for each in said}


def test_the_examples_are_valid():
    for what, file in (("rules", RULES), ("config", RULES.with_name("prometheus.yml"))):
        checked = promtool("check", what, str(file))
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alert_rules()])
def test_an_alert_fires_when_it_should_and_not_otherwise(alert, firing):
    fires, rests = firing[f"{alert}-fires"], firing[f"{alert}-rests"]

    assert "FAILED" in fires and f'alertname="{alert}"' in fires, fires
    assert "SUCCESS" in rests and "Labels" not in rests, rests


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_holds_and_what_to_do(rule):
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    severities = dict(re.findall(r"^### (Driftgate\w+)\n\*(\w+)\*", text, re.MULTILINE))
    url, _, anchor = rule["annotations"]["runbook_url"].partition("#")

    assert severities[rule["alert"]] == rule["labels"]["severity"] and rule["annotations"]["summary"]
    assert url.endswith("/runbook") and anchor in {each.id for each in headings_of(text)}


def test_the_runbook_has_no_alert_that_nothing_tells():
    told = re.findall(r"^### (Driftgate\w+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.MULTILINE)

    assert sorted(told) == sorted(rule["alert"] for rule in alert_rules())


def test_rules_ask_only_for_metrics_that_are_declared():
    declared = {each.name for measures in PROCESSES.values() for each in measures}
    declared |= {each.name for each in metrics.OF_EVERY_PROCESS}
    named = set(re.findall(r"(?<!:)\bdriftgate_\w+", RULES.read_text(encoding="utf-8")))

    assert {re.sub(r"_(count|bucket|sum)$", "", name) for name in named} - declared == set()
