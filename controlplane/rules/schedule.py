"""When a schedule is due: on the wall clocks of its time zone, so that summer time skips and repeats nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from controlplane.rules.zones import instant_of, wall
from pipeline.contract.rulespec import ScheduleRule


class BadCron(ValueError):
    """A cron expression that means nothing, or that is never due."""


def check(rule: ScheduleRule, now: datetime) -> None:
    """Raises BadCron where the rule's expression cannot be used, also where it will never be due."""
    next_due(rule, now, now)


def latest_due(rule: ScheduleRule, start: datetime, now: datetime) -> datetime | None:
    """The last due time after `start` and not after `now`; after a long downtime just that one.

    >>> from datetime import UTC
    >>> daily = ScheduleRule(name="daily", kind="schedule", cron="0 6 * * *", timezone="Europe/Berlin")
    >>> latest_due(daily, datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 9, 4, 59, tzinfo=UTC))
    datetime.datetime(2021, 1, 8, 5, 0, tzinfo=datetime.timezone.utc)
    """
    if rule.every is not None:
        periods = (now - start) // rule.every
        return start + periods * rule.every if periods >= 1 else None
    zone = ZoneInfo(rule.timezone)
    shown = now.astimezone(zone)
    # in an hour that is shown twice, what was shown later in the first one is due as well
    first, second = (shown.replace(fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    ahead = first - second if shown.fold else timedelta(0)
    for time in _times(rule, wall(now, zone) + max(ahead, timedelta(0)) + timedelta(minutes=1), reverse=True):
        due = instant_of(time, zone)
        if due <= now:
            return due if due > start else None
    return None


def next_due(rule: ScheduleRule, start: datetime, now: datetime) -> datetime:
    """The first due time after `now`, counted from `start`. Raises BadCron where there is none."""
    if rule.every is not None:
        return start + (max(0, (now - start) // rule.every) + 1) * rule.every
    zone = ZoneInfo(rule.timezone)
    for time in _times(rule, wall(now, zone), reverse=False):
        due = instant_of(time, zone)
        if due > now:
            return due
    raise BadCron(f"rule {rule.name}: {rule.cron!r} is never due")


def _times(rule: ScheduleRule, shown: datetime, *, reverse: bool) -> Iterator[datetime]:
    """The times of the expression on the wall, from this one on."""
    try:
        yield from CronSim(rule.cron or "", shown.replace(fold=0), reverse=reverse)
    except CronSimError as error:
        raise BadCron(f"rule {rule.name}: {rule.cron!r} is not a cron expression of five fields: {error}") from error
