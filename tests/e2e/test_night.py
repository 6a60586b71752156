"""A night of 200 events: people hear exactly what they should, with a channel down and the control plane killed.

What should be heard is worked out here by hand rules for each event, without the code that decides it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.lifecycle import VersionState
from controlplane.loop.triggers import ask
from controlplane.notifying.webhook import signature
from controlplane.store import Store
from controlplane.tables.columns import EPOCH
from observability.clock import SystemClock
from observability.windows import Cursor, Window
from pipeline.contract.training import Failure, TrainingReport
from tests.controlplane_world import DRIFT, RECIPE, START, WEEKLY, World, spec
from tests.servers.alertmanager import Receiver, eventually

SECRET = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"
MODELS = 8
ROUNDS = 25
KILLED_IN = (6, 14)
DOWN_FROM, UP_AGAIN = 11, 16
NAPS_IN = (3, 20)
NAP = timedelta(seconds=4)


@dataclass
class Heard:
    """One alert, from its beginning to its end, as people should hear of it."""

    key: tuple[str, str, str]
    states: list[str] = field(default_factory=list)
    muted: bool = False
    #: how many states had been told when the webhook went down
    before_down: int | None = None

    @property
    def webhook(self) -> tuple[str, ...]:
        return tuple(self.states)

    def forget_what_was_missed(self) -> None:
        """Of what came while the webhook was down, it hears where things stand."""
        before = self.before_down or 0
        if len(self.states) > before:
            del self.states[before:-1]

    @property
    def pager(self) -> tuple[str, ...]:
        """Alertmanager tells people that it fires, once, and that it is over."""
        if not self.states:
            return ()
        return ("firing", "resolved") if self.states[-1] == "resolved" else ("firing",)


@dataclass
class Expected:
    """A model as the script knows it, and what should be heard of it."""

    model: str
    retrains: bool
    approval: bool
    watched: bool
    versions: int = 1
    production: int = 1
    retired: list[int] = field(default_factory=list)
    drift: bool = False
    running: bool = False
    awaiting: int | None = None
    failed: bool = False
    rejected: int | None = None
    aborted: int | None = None
    watching: bool = False
    open: dict[tuple[str, str, str], Heard] = field(default_factory=dict)
    #: what somebody silenced for the rest of the night, whether it holds all the while or comes back
    silent: set[tuple[str, str, str]] = field(default_factory=set)
    over: list[Heard] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        return self.running or self.awaiting is not None

    def settle(self) -> None:
        """What holds is heard; drift is kept quiet while a retraining answers it."""
        numbered = {
            "RetrainingRejected": self.rejected, "ApprovalWaiting": self.awaiting, "RolloutAborted": self.aborted,
        }  # fmt: skip
        holds = {(self.model, name, str(number)) for name, number in numbered.items() if number is not None}
        holds |= {(self.model, "RetrainingFailed", "")} if self.failed else set()
        holds |= {(self.model, "DriftDetected", "drifted")} if self.drift else set()
        for key in holds:
            heard = self.open.setdefault(key, Heard(key))
            if not heard.states and key not in self.silent and not (key[1] == "DriftDetected" and self.busy):
                heard.states.append("firing")
        for key in [key for key in self.open if key not in holds]:
            heard = self.open.pop(key)
            if heard.states:
                heard.states.append("resolved")
                self.over.append(heard)

    def all(self) -> list[Heard]:
        return [heard for heard in (*self.open.values(), *self.over) if heard.states]


class Night:
    def __init__(self, folder: Path, pager_url: str, hook: Receiver) -> None:
        self.folder, self.hook, self.rng = folder, hook, random.Random(20260131)
        self.settings = {
            "clock": "replay", "alertmanager_url": pager_url, "allowed_hosts": hook.origin,
            "webhooks": json.dumps([{"name": "ops", "url": f"{hook.origin}/alerts", "secret": SECRET}]),
        }  # fmt: skip
        (folder / "reports").mkdir()
        self.world = World(folder)  # makes the versions' files
        self.store: Store = self.world.store
        self.store.channels = ("alertmanager", "webhook:ops")
        self.now, self.broken, self.windows, self.events = START, [], 0, Counter()
        self.models = [self._apply(number) for number in range(MODELS)]
        self.process = self._start()

    def _apply(self, number: int) -> Expected:
        expected = Expected(f"night/m{number}", number % 2 == 0, approval=number in (2, 3), watched=number in (4, 5))
        self._declare(expected, approval=False)  # the first version comes without a person
        return expected

    def _declare(self, expected: Expected, approval: bool) -> None:
        declared = spec(
            [DRIFT | {"dry_run": not expected.retrains}], expected.model, monitors=[WEEKLY],
            gate={"resamples": 200, "approval": approval},
            rollout={"watch": "60d"} if expected.watched else {},
        )  # fmt: skip
        self.store.apply_model(declared, RECIPE, self.now)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.e2e.night_control", str(self.folder), json.dumps(self.settings)]
        return subprocess.Popen(command, cwd=Path(__file__).parents[2])

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def restart(self) -> None:
        self.kill()
        self.process = self._start()

    def report_fleet(self) -> None:
        """One instance has loaded all that it should, but what is broken."""
        named = [
            {"model": each.model, "version": each.number, "manifest": each.manifest} for each in self.store.deployed()
        ]
        bad = [(name, number) for name, number in self.broken]
        loaded = [each for each in named if (each["model"], each["version"]) not in bad]
        failed = [{"model": model, "version": number, "reason": "it is broken"} for model, number in bad]
        self.store.report_instance("serving-1", loaded, failed)

    def until(self, what, seconds: float = 40.0) -> bool:
        def step() -> bool:
            self.report_fleet()
            return what()

        return eventually(step, seconds=seconds)

    def asleep(self, model: str) -> bool:
        """Everything that changed was decided on."""
        return self.store.model(model).due_at > EPOCH

    def window(self, model: Expected, share: float) -> None:
        self.windows += 1
        start = self.now + timedelta(seconds=self.windows)
        window = Window(
            model=model.model, version=model.production, monitor="weekly", after=Cursor.before(start),
            until=Cursor.before(start + timedelta(seconds=1)), spec_digest="s",
        )  # fmt: skip
        told = {"drifted_share": share, "features": {}, "error": None}
        self.store.record_window(window, 100, 0, told, start + timedelta(days=1), self.now)
        model.drift = share > 0.5
        model.running |= model.drift and model.retrains and not model.busy

    def finish(self, model: Expected, better: bool | None, broken: bool = False) -> None:
        """The active run ends: with a version, better or not, or with none."""
        run = self.store.active_run(model.model)
        made = None if better is None else self.world.made(better)
        failure = Failure(code="too_few_rows", message="not enough") if made is None else None
        model.failed, model.running = made is None, False
        if made is not None:
            model.versions += 1
            if broken:
                self.broken.append((model.model, model.versions))
            self._judged(model, bool(better), broken)
        report = TrainingReport(key=run.key, made=made, failure=failure, finished_at=self.now, seconds=1.0)
        partial = self.folder / "reports" / "partial"
        partial.write_text(report.model_dump_json())
        partial.rename(self.folder / "reports" / f"{run.key}.json")

    def _judged(self, model: Expected, better: bool, broken: bool) -> None:
        model.rejected = None if better else model.versions
        if better and model.approval:
            model.awaiting = model.versions
        elif better:
            self._rolled_out(model, broken)

    def _rolled_out(self, model: Expected, broken: bool = False) -> None:
        model.aborted = model.versions if broken else None
        if not broken:
            model.retired.append(model.production)
            model.production, model.drift = model.versions, False
        model.watching = model.watched and not broken

    def ask(self, model: Expected) -> None:
        ask(self.store, model.model, f"request-{sum(self.events.values())}", "a person wants it", self.now)
        model.running = True

    def approve(self, model: Expected) -> None:
        number, model.awaiting = model.awaiting, None
        self._rolled_out(model)
        self.store.approve(model.model, number, "good", self.now)

    def refuse(self, model: Expected) -> None:
        number, model.awaiting = model.awaiting, None
        self.store.reject(model.model, number, "not now", self.now)

    def roll_back(self, model: Expected) -> None:
        """Who takes a version out of production himself is not told that it was."""
        model.production, model.drift, model.watching = model.retired.pop(), False, False
        self.store.roll_back(model.model, "it is bad", self.now)

    def act(self, model: Expected, state: str) -> None:
        """A person acts on an alert that was heard."""
        heard = self.actable(model, state)[0]
        alert = next(
            each for each in self.store.open_alerts(model.model)
            if (each.name, each.labels.get("version", each.labels.get("rule", ""))) == heard.key[1:]
        )  # fmt: skip
        heard.muted = state in ("acknowledged", "silenced")
        heard.states.append("silenced" if state == "nap" else state)
        wall = SystemClock().now()
        match state:
            case "acknowledged":
                self.store.acknowledge(alert.id, "on it", self.now, "ann")
            case "silenced":
                model.silent.add(heard.key)
                self.store.silence(alert.id, wall + timedelta(hours=8), "night", self.now, "ann")
            case "nap":
                heard.states.append("firing")
                self.store.silence(alert.id, wall + NAP, "a nap", self.now, "ann")
            case "firing":
                model.silent.discard(heard.key)
                self.store.unsilence(alert.id, "awake", self.now, "ann")

    def actable(self, model: Expected, state: str) -> list[Heard]:
        """Drift that is inhibited is left alone: whether it is told then is said elsewhere."""
        return [
            heard for heard in model.open.values()
            if heard.states and heard.muted == (state == "firing")
            and not (heard.key[1] == "DriftDetected" and model.busy)
        ]  # fmt: skip

    def choices(self, model: Expected, number: int) -> list:
        """The events that may happen to the model now."""
        found: dict[str, tuple[bool, object]] = {
            "quiet window": (not model.running or not model.retrains, lambda: self.window(model, 0.0)),
            "drift": (not model.busy or not model.retrains, lambda: self.window(model, 0.9)),
            "run fails": (model.running, lambda: self.finish(model, None)),
            "gate rejects": (model.running, lambda: self.finish(model, better=False)),
            "good version": (model.running, lambda: self.finish(model, better=True)),
            "broken version": (
                model.running and not model.approval, lambda: self.finish(model, better=True, broken=True)
            ),
            "asked for": (not model.busy, lambda: self.ask(model)),
            "approved": (model.awaiting is not None, lambda: self.approve(model)),
            "refused": (model.awaiting is not None, lambda: self.refuse(model)),
            "rollback": (
                not model.busy and bool(model.retired) and (model.watching or not model.watched),
                lambda: self.roll_back(model),
            ),
            "acknowledged": (bool(self.actable(model, "acknowledged")), lambda: self.act(model, "acknowledged")),
            "silenced": (bool(self.actable(model, "silenced")), lambda: self.act(model, "silenced")),
            "unsilenced": (bool(self.actable(model, "firing")), lambda: self.act(model, "firing")),
            "nap": (number in NAPS_IN and bool(self.actable(model, "nap")), lambda: self.act(model, "nap")),
        }  # fmt: skip
        return [(name, do) for name, (may, do) in found.items() if may]

    def begin(self) -> None:
        """Every model has its first version in production."""
        self.store.move_replay_time(self.now)
        for model in self.models:
            self.ask(model)
            run = self.store.active_run(model.model)
            report = TrainingReport(
                key=run.key, made=self.world.made(champion=False), finished_at=self.now, seconds=1.0
            )
            (self.folder / "reports" / f"{run.key}.json").write_text(report.model_dump_json())
            model.running = False
        for model in self.models:
            there = self.until(lambda model=model: self.store.production(model.model) is not None)
            assert there, f"{model.model} does not come into production"
            self._declare(model, model.approval)

    def play(self, number: int) -> None:
        """One event for each model."""
        self.now += timedelta(minutes=1)
        self.store.move_replay_time(self.now)
        for model in self.models:
            name, do = self.rng.choice(self.choices(model, number))
            do()
            self.events[name] += 1
            model.settle()
        if number in KILLED_IN:
            time.sleep(self.rng.uniform(0, 0.5))
            self.restart()
        for model in self.models:
            assert self.until(lambda model=model: self.is_there(model)), f"{model} is not where it should be"

    def is_there(self, model: Expected) -> bool:
        production, last = self.store.production(model.model), self.store.versions(model.model, 1)[0]
        moving = (VersionState.CANDIDATE, VersionState.STAGING)
        return (
            production is not None and production.number == model.production and last.number == model.versions
            and last.state not in moving and (self.store.active_run(model.model) is not None) == model.running
            and self.asleep(model.model)
        )  # fmt: skip

    def expected(self, of: str) -> Counter:
        return Counter((*heard.key, getattr(heard, of)) for model in self.models for heard in model.all())

    def all_heard(self) -> list[Heard]:
        return [heard for model in self.models for heard in model.all()]


def heard(what, wanted: Counter) -> bool:
    """Whether exactly this is heard in the end; if not, what is missing and what is too much is shown."""
    found = eventually(what, lambda found: found == wanted, 25)
    if found != wanted:
        print("missing:", wanted - found, "too much:", found - wanted)
    return found == wanted


def heard_at_hook(hook: Receiver) -> Counter:
    """Every alert with the states that were told, in order; a repetition is recognised by its id."""
    known: dict[str, dict] = {}
    for headers, body in list(hook.taken):
        signed = signature(SECRET, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
        assert headers["webhook-signature"] == signed
        known |= {each["id"]: each for each in json.loads(body)["alerts"]}
    alerts: dict[str, list[dict]] = {}
    for each in sorted(known.values(), key=lambda each: each["revision"]):
        alerts.setdefault(each["alert"], []).append(each)
    return Counter((*_key(told[0]["labels"]), tuple(each["state"] for each in told)) for told in alerts.values())


def heard_at_pager(receiver: Receiver) -> Counter:
    alerts: dict[str, tuple[tuple[str, str, str], set[str]]] = {}
    for message in receiver.messages():
        for each in message["alerts"]:
            _, states = alerts.setdefault(each["annotations"]["alert_id"], (_key(each["labels"]), set()))
            states.add(each["status"])
    return Counter((*key, tuple(sorted(states))) for key, states in alerts.values())


def _key(labels: dict[str, str]) -> tuple[str, str, str]:
    return labels["model"], labels["alertname"], labels.get("version", labels.get("rule", ""))


@pytest.mark.timeout(240)
def test_a_night_of_200_events_is_heard_exactly_as_it_was(tmp_path, alertmanager):
    hook = Receiver()
    night = Night(tmp_path, alertmanager.url, hook)
    try:
        night.begin()
        for number in range(ROUNDS):
            if number == DOWN_FROM:
                hook.down = True
                for each in night.all_heard():
                    each.before_down = len(each.states)
            night.play(number)
            if number == UP_AGAIN:
                for each in night.all_heard():
                    each.forget_what_was_missed()
                hook.down = False
            assert heard(lambda: heard_at_pager(alertmanager.receiver), night.expected("pager")), number
            assert hook.down or heard(lambda: heard_at_hook(hook), night.expected("webhook")), number
        time.sleep(2.5)  # whatever would still come is one too many
        assert sum(night.events.values()) == MODELS * ROUNDS
        assert heard_at_pager(alertmanager.receiver) == night.expected("pager")
        assert heard_at_hook(hook) == night.expected("webhook")
        assert hook.refused > 0
    finally:
        night.kill()
        hook.stop()
        print(dict(night.events), "alerts:", len(night.all_heard()))
