"""Series with seasons and a break that look like the flu's, on which the policy of S6 was chosen; nothing here is real.

`python -m bench.drift_stage.seasons` prints, for each kind of series, the mean absolute error as a share of that of
weekly refits, the refits, and what became of the alarms, for the policy that ships and for others.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bench.drift_stage.refitting import Floats, Outcome, Policy, losses_of_fits, refitted_by, refitted_when

ROWS: Final = 620
YEAR: Final = 52
#: the peak of the season, in weeks after July
PEAK: Final = 26
#: the season with the break
BROKEN: Final = 9


@dataclass(frozen=True)
class Kind:
    """How a series moves: the logit of the search share follows the logarithm of the rate, and drifts away from it."""

    #: weeks before the peak at which the season stands at 60 %
    width: tuple[float, float]
    #: standard deviation and persistence of what comes on top of the share in a week
    noise: float
    stays: float
    #: of the steps of the two weights that tie the share to the rate
    wander: float
    #: shifts of the share, half of which pass within half a year: so many a week, and how large
    shifts: float
    shift: float
    #: what the break adds to the share at its height
    break_by: float = 0.8


KINDS: Final = {
    "mild": Kind((3.0, 6.0), 0.05, 0.8, 0.006, 1 / 150, 0.2),
    "sharp": Kind((1.8, 3.2), 0.05, 0.5, 0.008, 1 / 120, 0.3),
    "rough": Kind((3.0, 6.0), 0.05, 0.8, 0.004, 1 / 90, 0.5),
}
POLICIES: Final = {
    "ships": Policy(),
    "no return": replace(Policy(), return_price=np.inf),
    "return at 2": replace(Policy(), return_price=2.0),
    "return at 4": replace(Policy(), return_price=4.0),
    "not by age": replace(Policy(), refit_after=None),
    "refit at 4": replace(Policy(), refit_price=4.0),
    "refit at 12": replace(Policy(), refit_price=12.0),
}


def series(kind: Kind, seed: int) -> tuple[Floats, Floats, int]:
    """The logit of the share, the rate in points, and the week of the break."""
    rng = np.random.default_rng(seed)
    weeks = np.arange(ROWS)
    rate = 1.0 + 0.35 * np.cos(2 * np.pi * (weeks - PEAK) / YEAR)
    for season in range(-1, ROWS // YEAR + 2):
        peak, width = YEAR * season + PEAK + rng.normal(0, 4), rng.uniform(*kind.width)
        rate += rng.lognormal(np.log(2.1), 0.45) * np.exp(
            -(((weeks - peak) / np.where(weeks < peak, width, 1.3 * width)) ** 2) / 2
        )
    rate *= np.exp(_persistent(rng, 0.04, 0.8))
    level = np.log(rate / 100)
    slope, offset = 1 + rng.normal(0, kind.wander, ROWS).cumsum(), rng.normal(0, kind.wander, ROWS).cumsum()
    share = level.mean() + slope * (level - level.mean()) + offset + _shifts(rng, kind)
    share += _persistent(rng, kind.noise, kind.stays)
    winter = slice(YEAR * BROKEN + PEAK - 12, YEAR * BROKEN + PEAK + 13)
    broken = winter.start + int(np.argmax(rate[winter])) - 2
    share[broken : broken + 12] += kind.break_by * np.array([0.5, 0.8, *[1.0] * 8, 0.6, 0.3])
    return share, rate, broken


def _persistent(rng: np.random.Generator, noise: float, stays: float) -> Floats:
    values = rng.normal(0, noise, ROWS)
    for week in range(1, ROWS):
        values[week] += stays * values[week - 1]
    return values


def _shifts(rng: np.random.Generator, kind: Kind) -> Floats:
    shifts = np.zeros(ROWS)
    for week in np.flatnonzero(rng.random(ROWS) < kind.shifts):
        passes = rng.random() < 0.5
        shifts[week : week + int(rng.integers(8, 26)) if passes else ROWS] += rng.normal(0, kind.shift)
    return shifts


def judged(outcome: Outcome, weekly: Outcome, broken: int) -> list[float]:
    """MAE beside weekly refits, refits, returns, alarms, seasons but that of the break with two, weeks to its alarm."""
    seasons = np.bincount(np.array(outcome.alarms, int) // YEAR, minlength=ROWS // YEAR + 1)
    after = [row - broken for row in outcome.alarms if broken - 4 <= row <= broken + YEAR // 2]
    others = float(sum(count > 1 for season, count in enumerate(seasons) if season != BROKEN))
    share = outcome.mean_loss / weekly.mean_loss
    return [share, len(outcome.refits), outcome.returns, len(outcome.alarms), others, min(after, default=YEAR // 2)]


def main(seeds: int = 24) -> None:
    for name, kind in KINDS.items():
        found: dict[str, list[list[float]]] = {}
        for seed in range(seeds):
            share, rate, broken = series(kind, seed)
            losses = losses_of_fits(share[:, None], rate)
            weekly = refitted_when(losses, lambda weeks: True)
            others = {
                "never": refitted_when(losses, lambda weeks: False),
                "yearly": refitted_when(losses, lambda weeks: weeks % YEAR == 0),
            }
            for title, outcome in (others | {t: refitted_by(losses, p) for t, p in POLICIES.items()}).items():
                found.setdefault(title, []).append(judged(outcome, weekly, broken))
        sys.stdout.write(
            f"{name}: MAE by weekly, refits, returns, alarms, seasons with two, median weeks to the alarm\n"
        )
        for title, figures in found.items():
            means = [*np.mean(figures, axis=0)[:-1], np.median(np.array(figures)[:, -1])]
            sys.stdout.write(f"  {title:<12}" + "".join(f"{value:8.3f}" for value in means) + "\n")


if __name__ == "__main__":
    main()
