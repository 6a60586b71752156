"""When a schedule is due: in UTC, so no hour is skipped or comes twice when summer time begins or ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from cronsim import CronSim, CronSimError

from pipeline.contract.rulespec import ScheduleRule


class BadCron(ValueError):
    """A cron expression that means nothing, or that is never due."""


def check(rule: ScheduleRule, now: datetime) -> None:
    """Raises BadCron where the rule's expression cannot be used, also where it will never be due."""
    next_due(rule, now, now)


def latest_due(rule: ScheduleRule, start: datetime, now: datetime) -> datetime | None:
    """The last due time after `start` and not after `now`; after a long downtime just that one.

    >>> from datetime import UTC
    >>> daily = ScheduleRule(name="daily", kind="schedule", cron="0 6 * * *")
    >>> latest_due(daily, datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 9, 5, 59, tzinfo=UTC))
    datetime.datetime(2021, 1, 8, 6, 0, tzinfo=datetime.timezone.utc)
    """
    if rule.every is not None:
        periods = (now - start) // rule.every
        return start + periods * rule.every if periods >= 1 else None
    due = _first(rule, now + timedelta(minutes=1), reverse=True)
    if due is not None and due > now:  # the minute after `now` was itself due, or `now` lies within a minute
        due = _first(rule, due, reverse=True)
    return due if due is not None and due > start else None


def next_due(rule: ScheduleRule, start: datetime, now: datetime) -> datetime:
    """The first due time after `now`, counted from `start`."""
    if rule.every is not None:
        return start + (max(0, (now - start) // rule.every) + 1) * rule.every
    due = _first(rule, now, reverse=False)
    if due is None:
        raise BadCron(f"rule {rule.name}: {rule.cron!r} is never due")
    return due


def _first(rule: ScheduleRule, instant: datetime, *, reverse: bool) -> datetime | None:
    try:
        return next(CronSim(rule.cron or "", instant, reverse=reverse), None)
    except CronSimError as error:
        raise BadCron(f"rule {rule.name}: {rule.cron!r} is not a cron expression of five fields: {error}") from error
