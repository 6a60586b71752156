"""What retraining a model has cost lately, held against what it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pipeline.contract.rulespec import Budget

DAY: Final = timedelta(hours=24)
MONTH: Final = timedelta(days=30)


@dataclass(frozen=True)
class Spent:
    """The runs that a budget counts, whoever asked for them."""

    #: when each run of the last 24 hours was asked for
    asked: tuple[datetime, ...] = ()
    #: when each run of the last 30 days ended, and the processor hours that it took
    ended: tuple[tuple[datetime, float], ...] = ()


@dataclass(frozen=True)
class Overspent:
    """Why no rule may fire, and until when if nothing else is spent."""

    detail: str
    until: datetime


def overspent(budget: Budget, spent: Spent, now: datetime) -> Overspent | None:
    """What of the budget is spent; None where another run may be asked for. One of the future counts as one of now."""
    over = [each for each in (_runs(budget, spent, now), _hours(budget, spent, now)) if each is not None]
    return max(over, key=lambda each: each.until, default=None)


def _runs(budget: Budget, spent: Spent, now: datetime) -> Overspent | None:
    limit = budget.runs_per_day
    asked = sorted(min(at, now) for at in spent.asked if at > now - DAY)
    if limit is None or len(asked) < limit:
        return None
    detail = f"{len(asked)} runs were asked for in the last 24 hours, {limit} are allowed"
    return Overspent(detail, asked[-limit] + DAY)


def _hours(budget: Budget, spent: Spent, now: datetime) -> Overspent | None:
    limit = budget.cpu_hours_per_month
    if limit is None:
        return None
    ended = sorted((min(at, now), hours) for at, hours in spent.ended if at > now - MONTH)
    took = sum(hours for _, hours in ended)
    if took < limit:
        return None
    detail = f"runs of the last 30 days took {took:.2f} hours of processor time, {limit:g} are allowed"
    left = took
    for at, hours in ended:
        left -= hours
        if left < limit:
            return Overspent(detail, at + MONTH)
    return Overspent(detail, ended[-1][0] + MONTH)
