"""A rollout as a picture: the steps of its plan, how far each is, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

from controlplane.lifecycle import RolloutState
from controlplane.ui import words
from controlplane.ui.charts import Chart, Interval, interval_bar
from observability.durations import format_duration
from pipeline.contract.promotionspec import Guards, RolloutPlan

Row: TypeAlias = Mapping[str, Any]
Place: TypeAlias = Literal["behind", "at", "ahead", "stopped"]
#: where a rollout ended early, and where it had ended well
STOPPED: Final = (RolloutState.ABORTED, RolloutState.ROLLED_BACK)


@dataclass(frozen=True)
class Stop:
    """One step of the way."""

    name: str
    place: Place
    #: what it is for, or how far it is
    said: str = ""
    #: of the requests that the new version answers
    share: float = 0.0
    #: rows that both have to score before the next step, and those so far; None where it asks for none
    needed: int | None = None
    seen: int | None = None


@dataclass(frozen=True)
class Track:
    """The whole way."""

    stops: tuple[Stop, ...]
    #: the step that it is in, in words
    now: str
    share: float
    note: str


@dataclass(frozen=True)
class Measured:
    """What was measured of the two versions, and what is allowed."""

    rows: int
    failed: int
    labelled: int
    error_share: float | None
    allowed_share: float
    champion_ms: float | None
    challenger_ms: float | None
    latency_ratio: float | None
    metric: str
    #: labelled rows that are needed before the metric says something
    min_labels: int
    challenger_value: float | None = None
    champion_value: float | None = None
    interval: Interval | None = None
    bar: Chart | None = None

    @property
    def words(self) -> str:
        """The improvement with its bounds."""
        if self.interval is None:
            return ""
        said = map(words.signed, (self.interval.difference, self.interval.low, self.interval.high))
        return "{} [{}, {}]".format(*said)


def track_of(plan: RolloutPlan, rollout: Row, compared: Row | None = None) -> Track:
    """The steps of a plan seen from where its rollout is."""
    seen = max(0, int(compared.get("rows", 0)) - int(compared.get("failed", 0))) if compared else 0
    stops = _stops(plan, rollout, seen)
    at = next((stop for stop in stops if stop.place in ("at", "stopped")), stops[-1])
    return Track(stops, at.name, float(rollout["share"]), str(rollout["note"]))


def _stops(plan: RolloutPlan, rollout: Row, seen: int) -> tuple[Stop, ...]:
    names = _names(plan, rollout["champion"])
    if rollout["state"] is RolloutState.ABORTED:  # how far it had come is not kept
        ahead = tuple(_stop(plan, (state, step), name, "ahead", seen) for state, step, name in names[:-1])
        return (*ahead, Stop("ended", "stopped", "before production"))
    place = _place(rollout, names)
    ended = rollout["state"] is RolloutState.ROLLED_BACK
    stops = []
    for number, (state, step, name) in enumerate(names):
        where: Place = "behind" if number < place else "ahead" if number > place else "stopped" if ended else "at"
        if rollout["state"] is RolloutState.DONE:
            where = "behind"
        stops.append(_stop(plan, (state, step), name, where, seen))
    return tuple(stops)


def _names(plan: RolloutPlan, champion: int | None) -> list[tuple[str, int, str]]:
    """(state, step, name) of each stop. The first version of a model has nothing to be compared with."""
    found = [("loading", 0, "loading")]
    if champion is not None:
        found += [("shadow", 0, "shadow")] if plan.shadow else []
        found += [("canary", n, f"canary {words.percent(each.share)}") for n, each in enumerate(plan.canary)]
    found.append(("production", 0, "production"))
    if champion is not None and plan.watch:
        found.append(("watching", 0, "watching"))
    return found


def _place(rollout: Row, names: list[tuple[str, int, str]]) -> int:
    state, step = rollout["state"].value, int(rollout["step"])
    if rollout["state"] is RolloutState.DONE:
        return len(names)
    if rollout["state"] is RolloutState.ROLLED_BACK:
        return len(names) - 1
    wanted = (state, step if state == "canary" else 0)
    return next((n for n, (kind, number, _) in enumerate(names) if (kind, number) == wanted), 0)


def _stop(plan: RolloutPlan, step: tuple[str, int], name: str, where: Place, seen: int) -> Stop:
    kind, number = step
    if kind == "shadow" and plan.shadow:
        until = ", until labels show that the new one is better" if plan.shadow.better else ""
        said = "both score, the old one answers" + _at_least(plan.shadow.at_least) + until
        return Stop(name, where, said, 0.0, plan.shadow.rows, seen if where == "at" else None)
    if kind == "canary":
        canary = plan.canary[number]
        said = f"answers {words.percent(canary.share)} of the requests" + _at_least(canary.at_least)
        return Stop(name, where, said, canary.share, canary.rows, seen if where == "at" else None)
    said = {
        "loading": "every serving instance loads it",
        "production": "answers every request",
        "watching": f"for {format_duration(plan.watch)} the old version may come back by itself",
    }[kind]
    return Stop(name, where, said, 1.0 if kind != "loading" else 0.0)


def _at_least(span: timedelta) -> str:
    return f", for at least {format_duration(span)}" if span else ""


def measured(guards: Guards, compared: Row | None) -> Measured | None:
    """What was measured in this step, beside what the guards allow; None where nothing was.

    Where no guard looks at a metric it is the one in which a shadow has to show that it is better.
    """
    if compared is None:
        return None
    found = compared.get("improvement" if guards.metric else "better") or {}
    interval = _interval(guards, found)
    reach = max(abs(interval.low), abs(interval.high), abs(guards.margin)) if interval else 0.0
    return Measured(
        rows=int(compared.get("rows") or 0),
        failed=int(compared.get("failed") or 0),
        labelled=int(compared.get("labelled") or 0),
        error_share=compared.get("error_share"),
        allowed_share=guards.error_share,
        champion_ms=compared.get("champion_ms_p99"),
        challenger_ms=compared.get("challenger_ms_p99"),
        latency_ratio=guards.latency_ratio,
        metric=str(found.get("metric") or guards.metric or ""),
        min_labels=guards.min_labels,
        challenger_value=found.get("challenger"),
        champion_value=found.get("champion"),
        interval=interval,
        bar=interval_bar(interval, reach or 1.0, "improvement of the new version with its bounds")
        if interval
        else None,
    )


def _interval(guards: Guards, found: Row) -> Interval | None:
    numbers = [found.get(name) for name in ("difference", "lower", "upper")]
    known = [float(each) for each in numbers if isinstance(each, int | float)]
    if len(known) != len(numbers):
        return None
    difference, low, high = known
    return Interval(difference, low, high, -guards.margin, high >= -guards.margin if guards.metric else low > 0)
