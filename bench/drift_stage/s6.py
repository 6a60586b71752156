"""Flu: the official rate from a search share, with a break in the winter of 2012-13 that everybody knows by now.

The one-feature form of Culotta (2010): the logit of the official rate (weighted ILI) regressed on the logit of the
Google Flu Trends share over `refitting.WINDOW` weeks, errors in points, labels `refitting.LAG` weeks late. What the
policy fixes was chosen on `seasons`, where nothing is real. An alarm counts by the week in which it is raised, with the
labels of that week; that of the break may come up to `EARLY` weeks before the break, whose week is a convention.
Seasons are from July to June.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from bench.drift_stage.data import FLU, real
from bench.drift_stage.refitting import LAG, WINDOW, Floats, Outcome, Policy, losses_of_fits, refitted_by, refitted_when
from bench.form import Claim

POLICY: Final = Policy()
BREAK: Final = date(2012, 12, 30)
EARLY: Final = 4
#: stands for an alarm that never came
NEVER: Final = 999.0
YEAR: Final = 52
MAE: Final = "S6 mean absolute error in points, one-feature form"
REFITS: Final = "S6 refits"
ALARM: Final = "S6 weeks from the break to its alarm"
OTHERS: Final = "S6 most alarms in a season but that of the break"
BARS: Final = ((MAE, 0.272), (REFITS, 12.0), (ALARM, 4.0), (OTHERS, 1.0))


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    """The same in both forms: it takes seconds."""
    folder = real(FLU)
    if isinstance(folder, str):
        return {}, [Claim.unmeasured(claim, "<=", bar, folder) for claim, bar in BARS]
    weeks = read_weeks(folder)
    share, rate = logit(weeks["share"].to_numpy(float)), weeks["rate"].to_numpy(float)
    losses = losses_of_fits(share[:, None], logit(rate / 100), in_points)
    outcome = refitted_by(losses, POLICY)
    raised = [weeks["week"].iloc[row] for row in outcome.alarms]
    measured = {MAE: outcome.mean_loss, REFITS: float(len(outcome.refits))} | _alarms(raised)
    figures = {
        "s6_mae": measured[MAE],
        "s6_refits": measured[REFITS],
        "s6_alarm_weeks": measured[ALARM],
        "s6_alarms": float(len(raised)),
        "s6_alarms_other_season": measured[OTHERS],
        "s6_returns": float(outcome.returns),
    }
    claims = [Claim.of(claim, measured[claim], "<=", bar) for claim, bar in BARS]
    return figures | _beside(losses) | _other_form(share, rate), claims


def read_weeks(folder: Path) -> pd.DataFrame:
    """By week that has both: its Sunday, the Google Flu Trends share of visits, and the official rate in points."""
    trends = folder / "google_flu_trends.csv"
    preamble = next(n for n, line in enumerate(trends.read_text().splitlines()) if line.startswith("Date,"))
    searched = pd.read_csv(trends, skiprows=preamble, usecols=["Date", "United States"]).dropna()
    official = pd.read_csv(folder / "ilinet_national.csv", skiprows=1)
    rates = pd.DataFrame(
        {
            "week": [
                sunday(int(year), int(week)) for year, week in zip(official["YEAR"], official["WEEK"], strict=True)
            ],
            "rate": pd.to_numeric(official["% WEIGHTED ILI"], errors="coerce"),
        }
    ).dropna()
    shares = pd.DataFrame(
        {"week": [date.fromisoformat(day) for day in searched["Date"]], "share": searched["United States"] / 100_000}
    )
    return shares.merge(rates, on="week").sort_values("week", ignore_index=True)


def sunday(year: int, week: int) -> date:
    """The first day of a week as the United States count them: week 1 is the one with 4 January, from Sunday on."""
    fourth = date(year, 1, 4)
    return fourth - timedelta(days=fourth.isoweekday() % 7) + timedelta(weeks=week - 1)


def season(week: date) -> int:
    return week.year if week.month >= 7 else week.year - 1


def in_points(log_odds: Floats) -> Floats:
    """The rate, in points, of its logit."""
    return 100 * np.asarray(expit(log_odds))


def _alarms(raised: list[date]) -> dict[str, float]:
    of_break = [week for week in raised if season(week) == season(BREAK) and week >= BREAK - timedelta(weeks=EARLY)]
    others = Counter(season(week) for week in raised if season(week) != season(BREAK))
    return {
        ALARM: (min(of_break) - BREAK).days / 7 if of_break else NEVER,
        OTHERS: float(max(others.values(), default=0)),
    }


def _beside(losses: Floats) -> dict[str, float]:
    """What plain rules come to, and the policy without its kept versions."""
    plain = {
        "never": refitted_when(losses, lambda weeks: False),
        "yearly": refitted_when(losses, lambda weeks: weeks % YEAR == 0),
        "weekly": refitted_when(losses, lambda weeks: True),
        "without_returns": refitted_by(losses, Policy(return_price=np.inf)),
    }
    return _told("", plain)


def _other_form(share: Floats, rate: Floats) -> dict[str, float]:
    """The same with the newest official rate that is there as a second feature. No bar is for this form."""
    newest = np.concatenate([np.full(LAG, rate[0]), rate[:-LAG]])
    losses = losses_of_fits(np.column_stack([share, logit(newest / 100)]), logit(rate / 100), in_points)
    both = {"policy": refitted_by(losses, POLICY), "weekly": refitted_when(losses, lambda weeks: True)}
    newest_only = Outcome(losses=np.abs(newest - rate)[WINDOW:].tolist())
    return _told("with_rate_", both) | {"s6_newest_rate_mae": newest_only.mean_loss}


def _told(form: str, outcomes: dict[str, Outcome]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, outcome in outcomes.items():
        figures |= {f"s6_{form}{name}_mae": outcome.mean_loss, f"s6_{form}{name}_refits": float(len(outcome.refits))}
    return figures
