"""Which alerts hold, and what people read of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.alertfacts import (
    AlertFacts,
    AlertName,
    BrokenData,
    Challenger,
    LastRun,
    Patience,
    RolloutStands,
    RuleSaid,
    Unjudged,
    Unstarted,
)
from controlplane.alerts import Holding, holding, labels_of, outbox_holding
from controlplane.errors import EgressRefused, NotDelivered, Unsafe
from controlplane.lifecycle import RolloutState
from controlplane.notifying.assembly import open_channels
from controlplane.notifying.backoff import LONGEST, delay
from controlplane.notifying.deliverer import Deliverer
from controlplane.notifying.egress import Egress, read_allowed
from controlplane.notifying.webhook import signature
from controlplane.promotion.rollout import StepReason
from controlplane.rules.facts import Reason
from controlplane.settings import Settings
from controlplane.tables import Notification
from tests.controlplane_world import START
from tests.servers.absence import absent

ROOT = Path(__file__).parents[2]
FACTS = AlertFacts("default/tweets", START, START, version=3)
DRIFTED = RuleSaid("drifted", "drift", "WAIT_COOLDOWN", "60% of the features drifted")
OFF = RuleSaid("auc", "metric", "RETRAIN_METRIC", "roc_auc is 0.5")
SECRET = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"
LONG_AGO = START - timedelta(hours=1)


def rollout(state: RolloutState, since=START, reason: StepReason = StepReason.STOP_ERRORS) -> RolloutStands:
    return RolloutStands(4, 3, state, "it failed on 3 of 20 rows", since, reason.name)


#: a fact that raises each alert
RAISED = {
    AlertName.DRIFT_DETECTED: replace(FACTS, windows=(DRIFTED,)),
    AlertName.DATA_BROKEN: replace(
        FACTS, broken=BrokenData("unit", ("distance",), "distance is 1.61 times what it was")
    ),
    AlertName.ERROR_METRIC_BEYOND_BOUND: replace(FACTS, windows=(OFF,)),
    AlertName.RETRAINING_FAILED: replace(FACTS, last_run=LastRun("k", True, "parity", "they differ")),
    AlertName.RETRAINING_REJECTED: replace(FACTS, challenger=Challenger(4, turned_down="not shown to be better")),
    AlertName.GATE_STUCK: replace(FACTS, unjudged=Unjudged(4, LONG_AGO)),
    AlertName.APPROVAL_WAITING: replace(FACTS, challenger=Challenger(4, awaits_approval=True)),
    AlertName.ROLLOUT_ABORTED: replace(FACTS, rollout=rollout(RolloutState.ABORTED)),
    AlertName.ROLLED_BACK: replace(FACTS, rollout=rollout(RolloutState.ROLLED_BACK)),
    AlertName.ROLLOUT_STUCK: replace(FACTS, rollout=rollout(RolloutState.LOADING, LONG_AGO, StepReason.STAY_LOADING)),
    AlertName.NO_SERVING_INSTANCE: replace(FACTS, unserved_since=LONG_AGO),
    AlertName.BUDGET_EXHAUSTED: replace(FACTS, without_budget=(DRIFTED,)),
    AlertName.RUN_STUCK: replace(FACTS, unstarted=Unstarted("k", LONG_AGO, 39)),
    AlertName.MONITOR_BEHIND: replace(FACTS, monitored_at=LONG_AGO),
}


@pytest.mark.parametrize("name", RAISED)
def test_each_alert_is_raised_by_its_fact_alone(name):
    (found,) = holding(RAISED[name])

    assert found.name is name and "default/tweets" in found.summary and found.description.endswith(".")


def test_every_alert_can_be_raised_and_is_a_heading_of_the_runbook():
    headings = re.findall(
        r"^### (?!Driftgate)(\w+)$", (ROOT / "docs/runbook.md").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert {*RAISED, AlertName.OUTBOX_STUCK} == set(AlertName)
    assert headings == [name.value for name in AlertName]


def test_the_runbook_says_the_severity_of_each_alert():
    said = re.findall(
        r"^### (?!Driftgate)(\w+)\n\*(\w+)\*", (ROOT / "docs/runbook.md").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert dict(said) == {name.value: name.severity for name in AlertName}


def test_nothing_holds_where_nothing_is_wrong():
    well = replace(
        FACTS, last_run=LastRun("k", False), challenger=Challenger(3), rollout=rollout(RolloutState.LOADING),
        unserved_since=START - timedelta(seconds=30), monitored_at=START - timedelta(minutes=5),
    )  # fmt: skip

    assert holding(well) == []
    assert holding(replace(RAISED[AlertName.MONITOR_BEHIND], patience=Patience(monitor=None))) == []


@pytest.mark.parametrize("reason", Reason)
def test_drift_holds_where_the_condition_does_whatever_keeps_the_rule_from_firing(reason):
    quiet = {
        "WAIT_STABLE", "WAIT_FEW_ROWS", "WAIT_FEW_LABELS", "WAIT_NO_DATA", "WAIT_NOT_DUE", "WAIT_NO_VERSION",
        "WAIT_HYSTERESIS", "RETRAIN_VOLUME", "RETRAIN_DUE", "RETRAIN_ASKED", "WAIT_NOT_WORTH", "WAIT_BROKEN_DATA",
    }  # fmt: skip
    found = holding(replace(FACTS, windows=(replace(DRIFTED, reason=reason.name),)))

    assert bool(found) == (reason.name not in quiet)


@pytest.mark.parametrize("ended", [RolloutState.ABORTED, RolloutState.ROLLED_BACK])
@pytest.mark.parametrize("reason", [each for each in StepReason if each.name.startswith("STOP")])
def test_who_stopped_a_rollout_himself_is_not_alerted_and_else_the_title_says_why(ended, reason):
    found = holding(replace(FACTS, rollout=rollout(ended, reason=reason)))

    assert bool(found) == (reason is not StepReason.STOP_ASKED)
    assert all(each.summary.endswith(f": {reason.value}") for each in found)


def test_a_retraining_in_progress_inhibits_what_it_answers_and_nothing_else():
    facts = replace(
        FACTS, windows=(DRIFTED, OFF), last_run=LastRun("k", True, "parity", "they differ"), retraining="run x is asked"
    )  # fmt: skip

    assert {each.name.value: each.inhibited_by for each in holding(facts)} == {
        "DriftDetected": "run x is asked", "ErrorMetricBeyondBound": "run x is asked", "RetrainingFailed": None,
    }  # fmt: skip


def test_a_version_that_its_gate_does_not_judge_answers_nothing_any_more():
    facts = replace(FACTS, windows=(DRIFTED,), retraining="version 4 is candidate", unjudged=Unjudged(4, START))
    assert [each.inhibited_by for each in holding(facts)] == ["version 4 is candidate"]

    found = holding(replace(facts, unjudged=Unjudged(4, LONG_AGO)))
    assert {each.name.value: each.inhibited_by for each in found} == {"DriftDetected": None, "GateStuck": None}


def test_the_same_thing_has_the_same_fingerprint_and_other_words_do_not_change_it():
    found = Holding(AlertName.ROLLED_BACK, "a", "b", {"version": "4"})

    assert found.fingerprint("m") == replace(found, summary="other").fingerprint("m")
    assert found.fingerprint("m") != found.fingerprint("n")
    assert found.fingerprint("m") != replace(found, labels={"version": "5"}).fingerprint("m")


def test_a_spec_cannot_pretend_to_be_another_model():
    found = Holding(AlertName.DRIFT_DETECTED, "a", "b", {"rule": "r"})

    labels = labels_of(found, "m", "t", "o", {"model": "x", "severity": "info", "rule": "s", "tier": "gold"})

    assert (labels["model"], labels["severity"], labels["rule"], labels["tier"]) == ("m", "warning", "r", "gold")


def test_an_outbox_that_waits_a_little_alarms_nobody():
    patience = Patience()

    assert outbox_holding(START - patience.outbox, START, patience) == []
    assert outbox_holding(LONG_AGO, START, patience)[0].name is AlertName.OUTBOX_STUCK


def test_waits_grow_to_ten_minutes_and_no_further_and_differ_by_notification():
    waits = [delay(attempts, "a") for attempts in range(1, 40)]

    assert waits[0] <= timedelta(seconds=1) and all(wait <= LONGEST for wait in waits)
    assert all(wait >= LONGEST / 2 for wait in waits[10:])
    assert len({delay(5, str(number)) for number in range(20)}) == 20


def test_the_signature_is_that_of_standard_webhooks():
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'

    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("changes", "refused", "named"),
    [
        ({"webhooks": "nonsense"}, Unsafe, "CONTROLPLANE_WEBHOOKS"),
        ({"webhooks": [{"name": "a", "url": "https://h.example.com/", "secret": "short"}]}, Unsafe, "fewer than 32"),
        ({"webhooks": [{"name": "a", "url": "https://other.example.com/", "secret": SECRET}]}, EgressRefused, "a:"),
        ({"webhooks": [{"name": "a", "url": "http://h.example.com/", "secret": SECRET}]}, EgressRefused, "TLS"),
        ({"alertmanager_url": "am:9093"}, Unsafe, "CONTROLPLANE_ALERTMANAGER_URL"),
        ({"allowed_hosts": "http://relay:9"}, EgressRefused, "CONTROLPLANE_ALLOWED_HOSTS"),
    ],
)  # fmt: skip
def test_a_channel_that_cannot_be_trusted_is_refused_at_the_start(changes, refused, named):
    said = {"allowed_hosts": "h.example.com", **changes}
    said["webhooks"] = (
        said["webhooks"] if isinstance(said.get("webhooks"), str) else json.dumps(said.get("webhooks", []))
    )

    with pytest.raises(refused, match=named) as caught:
        open_channels(Settings(**said), NoStore())

    assert "9f86d081" not in str(caught.value)


class NoStore:
    """Holds notifications in memory: what is claimed, delivered and put off."""

    channels = ()

    def __init__(self, waiting=()) -> None:
        self.waiting, self.delivered, self.put_off = list(waiting), [], []

    def claim_notifications(self, channel, owner, lease):
        claimed, self.waiting = self.waiting, []
        return claimed

    def mark_delivered(self, rows, owner):
        self.delivered += [row.id for row in rows]

    def mark_failed(self, delays, owner, error):
        self.put_off += list(delays)

    def tidy_notifications(self):
        return 0


class Alone:
    """A channel that takes all together, unless one of them is poison."""

    name = "alone"

    def __init__(self, down: bool) -> None:
        self.down, self.kept_up = down, 0

    def groups(self, claimed):
        return [claimed]

    def send(self, group):
        if any(row.id == "poison" for row in group):
            raise NotDelivered("no", down=self.down)

    def keep_up(self):
        self.kept_up += 1


@pytest.mark.parametrize("down", [False, True])
def test_one_that_is_never_taken_holds_up_no_other_unless_the_channel_is_down(down):
    store = NoStore(Notification(id=name, attempts=0) for name in ("a", "poison", "b"))

    Deliverer(store, Alone(down), "me").once()

    assert store.delivered == ([] if down else ["a", "b"])
    assert store.put_off == (["a", "poison", "b"] if down else ["poison"])


def test_a_webhook_is_never_called_in_the_clear_by_a_listed_name():
    with pytest.raises(EgressRefused):
        Egress(read_allowed("h.example.com")).post("http://h.example.com/", b"", {})


def test_the_example_routes_are_what_alertmanager_takes():
    if shutil.which("amtool") is None:
        missing = "no amtool here: `make servers` installs it"
        absent(missing)
    done = subprocess.run(
        ["amtool", "check-config", str(ROOT / "deploy/alertmanager.yml")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
