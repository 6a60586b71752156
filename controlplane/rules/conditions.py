"""The conditions of rules: what each says of a cause by itself, before anything keeps it from firing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from controlplane.rules.facts import NO_VERSION, Facts, Finding, Reason, WindowFacts, WindowRule
from controlplane.rules.schedule import latest_due, next_due
from controlplane.rules.worth import Terms, weigh
from observability.durations import format_duration
from pipeline.contract.rulespec import DriftRule, MetricRule, NoveltyRule, Rule, ScheduleRule, VolumeRule, WorthRule


def findings(rule: Rule, facts: Facts) -> Iterator[Finding]:
    """What the rule's condition says: of each window that it has to judge, or of the newest cause."""
    if facts.version is None:
        detail = "no version is in production; train the first with `driftgate train`"
        yield Finding(NO_VERSION, Reason.WAIT_NO_VERSION, detail)
        return
    match rule:
        case ScheduleRule():
            yield _schedule(rule, facts)
        case VolumeRule():
            yield _volume(rule, facts)
        case _:
            yield from _of_windows(rule, facts)


def causes(rule: Rule, facts: Facts) -> Iterator[str]:
    """Every cause that the rule could present now, so that nobody has to know all that has ever fired."""
    if facts.version is None:
        return
    match rule:
        case ScheduleRule():
            start = schedule_start(rule, facts)
            due = latest_due(rule, start, facts.now)
            yield from (each.isoformat() for each in (due, next_due(rule, start, facts.now)) if each is not None)
        case VolumeRule():
            crossing = (facts.labelled_new or 0) // rule.new_labelled_rows
            yield from (f"v{facts.version}:{each}" for each in (crossing, crossing + 1))
        case _:
            yield from (window.id for window in facts.windows.get(rule.name, ()) if window.judge)


def schedule_start(rule: ScheduleRule, facts: Facts) -> datetime:
    """Since when the schedule counts: the model is in service, and the rule is as it is."""
    start = facts.in_service_since or facts.now
    return max(start, facts.schedule_starts.get(rule.name, start))


def _of_windows(rule: WindowRule, facts: Facts) -> Iterator[Finding]:
    windows = facts.windows.get(rule.name, ())
    if isinstance(rule, MetricRule):
        windows = tuple(window for window in windows if window.settled)
    if not windows:
        whose = f"{rule.monitor} has no window{f' of {rule.segment}' if rule.segment else ''} to judge yet"
        yield Finding(f"v{facts.version}", Reason.WAIT_NO_DATA, whose)
    found = [_window(rule, window, facts) for window in windows]
    for number, window in enumerate(windows):
        if window.judge:
            yield _persistent(rule, found[max(0, number + 1 - rule.hold.of) : number + 1])


def _persistent(rule: WindowRule, latest: list[Finding]) -> Finding:
    """What is said of the last of these findings: it has to hold itself, and so have enough of those before it."""
    judged, holding = latest[-1], sum(finding.holds for finding in latest)
    if not judged.holds or rule.hold.of == 1:
        return judged
    so_far = f"{holding} of the latest {len(latest)} windows hold, {rule.hold.windows} of {rule.hold.of} are needed"
    detail = f"{so_far}; {judged.detail}"
    enough = holding >= rule.hold.windows
    numbers = {**judged.numbers, "holding": holding, "needed": rule.hold.windows, "of": rule.hold.of}
    reason = judged.reason if enough else Reason.WAIT_HYSTERESIS
    return replace(judged, reason=reason, detail=detail, numbers=numbers)


def _window(rule: WindowRule, window: WindowFacts, facts: Facts) -> Finding:
    found = _worth(rule, window, facts) if isinstance(rule, WorthRule) else _condition(rule, window)
    if found.holds and window.broken is not None:
        found = replace(found, reason=Reason.WAIT_BROKEN_DATA, detail=f"{window.broken} ({found.detail})")
    if rule.segment is None:
        return found
    numbers = {**found.numbers, "segment": rule.segment}
    return replace(found, detail=f"{rule.segment}: {found.detail}", numbers=numbers)


def _condition(rule: DriftRule | NoveltyRule | MetricRule, window: WindowFacts) -> Finding:
    match rule:
        case DriftRule():
            return _drift(rule, window)
        case NoveltyRule():
            return _novelty(rule, window)
        case MetricRule():
            return _metric(rule, window)


def _few_rows(window: WindowFacts, needed: int) -> Finding:
    detail = f"{window.rows} rows, {needed} are needed"
    return Finding(window.id, Reason.WAIT_FEW_ROWS, detail, {"rows": window.rows, "min_rows": needed})


def _drift(rule: DriftRule, window: WindowFacts) -> Finding:
    if window.rows < rule.min_rows:
        return _few_rows(window, rule.min_rows)
    if window.drifted_share is None:
        return Finding(window.id, Reason.WAIT_NO_DATA, "no feature of the window could be compared")
    numbers = {"drifted_share": window.drifted_share, "rows": window.rows, "drifted": list(window.drifted)}
    if rule.drifted_share is None:
        alarms = (*window.drifted, *window.drifted_else)
        detail = f"{', '.join(alarms) or 'nothing'} drifted"
        return Finding(window.id, Reason.RETRAIN_DRIFT if alarms else Reason.WAIT_STABLE, detail, numbers)
    share, bound = window.drifted_share, rule.drifted_share
    numbers["threshold"] = bound
    detail = f"{share:.0%} of the features drifted ({', '.join(window.drifted) or 'none'}), threshold {bound:.0%}"
    reason = Reason.RETRAIN_DRIFT if share >= bound else Reason.WAIT_STABLE
    return Finding(window.id, reason, detail, numbers)


def _novelty(rule: NoveltyRule, window: WindowFacts) -> Finding:
    if window.rows < rule.min_rows:
        return _few_rows(window, rule.min_rows)
    shares = {name: window.unseen[name] for name in rule.features if name in window.unseen}
    if not shares:
        return Finding(window.id, Reason.WAIT_NO_DATA, f"no unseen share is known of {', '.join(rule.features)}")
    name = max(shares, key=shares.__getitem__)
    numbers = {
        "feature": name,
        "unseen_share": shares[name],
        "threshold": rule.unseen_share,
        "rows": window.rows,
    }
    detail = f"{shares[name]:.1%} of {name} was never seen before, threshold {rule.unseen_share:.1%}"
    reason = Reason.RETRAIN_NOVELTY if shares[name] >= rule.unseen_share else Reason.WAIT_STABLE
    return Finding(window.id, reason, detail, numbers)


def _rising(rule: MetricRule, window: WindowFacts) -> Finding:
    found = window.rising
    if found is None or window.labelled < rule.min_labels:
        detail = f"{window.labelled} of {window.rows} rows have a label: too few for the detector of rising errors"
        return Finding(window.id, Reason.WAIT_FEW_LABELS, detail, {"labelled": window.labelled})
    before, now = found.numbers.get("baseline"), found.numbers.get("current")
    rates = f" from {before:.4f} to {now:.4f}" if before is not None and now is not None else ""
    detail = f"{rule.metric} rises{rates}" if found.alarm else f"{rule.metric} does not rise"
    numbers = {"metric": rule.metric, **found.numbers}
    return Finding(window.id, Reason.RETRAIN_METRIC if found.alarm else Reason.WAIT_STABLE, detail, numbers)


def _metric(rule: MetricRule, window: WindowFacts) -> Finding:
    if rule.rising:
        return _rising(rule, window)
    value = window.error.get(rule.metric)
    if value is None or window.labelled < rule.min_labels:
        needed = f", {rule.min_labels} are needed" if window.labelled < rule.min_labels else ""
        detail = f"{window.labelled} of {window.rows} rows have a label: too few for {rule.metric}{needed}"
        return Finding(
            window.id, Reason.WAIT_FEW_LABELS, detail, {"labelled": window.labelled, "min_labels": rule.min_labels}
        )
    side, bound = ("below", rule.below) if rule.below is not None else ("above", rule.above)
    beyond = value < rule.below if rule.below is not None else value > (rule.above or 0.0)
    numbers = {
        "metric": rule.metric,
        "value": value,
        "bound": bound,
        "side": side,
        "labelled": window.labelled,
    }
    detail = f"{rule.metric} is {value:.4f} on {window.labelled} labelled rows, bound: {side} {bound}"
    return Finding(window.id, Reason.RETRAIN_METRIC if beyond else Reason.WAIT_STABLE, detail, numbers)


def _worth(rule: WorthRule, window: WindowFacts, facts: Facts) -> Finding:
    """The model's past up to this window, weighed against the cost of a retraining."""
    lives = facts.lives.get(rule.name, ())
    if not lives or all(each.id != window.id for each in lives[-1].windows):
        return Finding(window.id, Reason.WAIT_NO_DATA, "nothing is known yet of what the version loses")
    terms = Terms(rule.cost, rule.horizon, rule.min_labels)
    found = weigh([*lives[:-1], lives[-1].until(window.id)], terms)
    return Finding(window.id, Reason[found.answer.name], found.detail, found.numbers)


def _volume(rule: VolumeRule, facts: Facts) -> Finding:
    """Each time that another `new_labelled_rows` are full is a cause of its own, whatever came of the last."""
    version, step = f"v{facts.version}", rule.new_labelled_rows
    if facts.labelled_new is None:
        return Finding(f"{version}:1", Reason.WAIT_NO_DATA, "labelled rows were not counted yet")
    crossing = facts.labelled_new // step
    enough = crossing >= 1 and (rule.name, f"{version}:{crossing}") not in facts.fired
    if not enough:
        crossing += 1
    needed = crossing * step
    detail = f"{facts.labelled_new} labelled rows that {version} has not learned from, {needed} needed"
    numbers = {"labelled_new": facts.labelled_new, "needed": needed}
    reason = Reason.RETRAIN_VOLUME if enough else Reason.WAIT_FEW_LABELS
    return Finding(f"{version}:{crossing}", reason, detail, numbers)


def _schedule(rule: ScheduleRule, facts: Facts) -> Finding:
    start = schedule_start(rule, facts)
    due, coming = latest_due(rule, start, facts.now), next_due(rule, start, facts.now)
    plan = f"{rule.cron}, {rule.timezone}" if rule.every is None else f"every {format_duration(rule.every)}"
    if due is not None and (rule.name, due.isoformat()) not in facts.fired:
        detail = f"due at {due.isoformat()} ({plan})"
        return Finding(due.isoformat(), Reason.RETRAIN_DUE, detail, {"due": due.isoformat()}, coming)
    at = coming.isoformat()
    return Finding(at, Reason.WAIT_NOT_DUE, f"next due at {at} ({plan})", {"due": at}, coming)
