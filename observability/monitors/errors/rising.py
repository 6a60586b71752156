"""A sequential detector of rising errors, for any kind of loss and without knowing the loss that was usual before.

Each row's loss is ranked among all losses seen so far, its own among them: `high` is the share that is at least as
large, `low` the share that is larger. A bet on rising errors pays `(F(high) - F(low)) / (high - low)` with
`F(p) = p ** power`: the likelihood ratio of a Lehmann alternative, where after the change a loss is exceeded with the
old probability to that power. For 0/1 errors at the unknown rate p it bets on the rate `p ** power`: from .2 on .23,
.32, .53 and .85.

As long as nothing changes, which of the rows seen so far came last is pure chance (they are exchangeable), and given
which losses were seen a bet pays 1 on average, whatever their distribution. So do products of bets over any run of
rows, and their sum over all first rows that a change could have, the Shiryaev-Roberts statistic `R = (1 + R) * bet`,
is the number of rows on average: nothing is assumed of the old rate, and no bound of it is needed. With an alarm where
R reaches A, rows between two false alarms are then A and a little more on average. This last step is exact for bets
whose ranks are drawn at random within ties (a conformal test martingale). Here ties are averaged, which needs no
randomness and loses less, and what that leaves open is measured: by `bench.drift s3`, and in this table. Rows that
depend on each other (a series, the same customer many times) are not exchangeable: there it alarms more often.

Rows between false alarms at A = 10,000 of 0/1 errors, by rows known at the start (200 streams of 20,000 rows):

| rate       |   .002 |    .02 |     .1 |     .2 |     .5 |     .8 |
|------------|--------|--------|--------|--------|--------|--------|
| 30 rows    | 13,900 | 15,600 | 14,800 | 12,600 | 12,900 | 11,200 |
| 500 rows   | 17,500 | 15,400 | 14,600 | 12,300 | 12,300 | 11,300 |
| 5,000 rows | 21,500 | 15,000 | 14,300 | 12,300 | 12,300 | 11,000 |

References: V. Vovk, I. Petej, I. Nouretdinov, E. Ahlberg, L. Carlsson, A. Gammerman, "Retrain or not retrain: conformal
test martingales for change-point detection", COPA 2021; J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric
framework for sequential change detection", New England Journal of Statistics in Data Science, 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bundle.signature import Frozen

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]

#: bets, from a slight rise to a break; each holds an equal part of the evidence
POWERS: Final = (0.9, 0.7, 0.4, 0.1)
#: losses are told apart to an eighth of a doubling: fixed beforehand, so that ranks depend on nothing but the losses
STEPS_PER_DOUBLING: Final = 8
#: where a loss of nothing stands, below every other
_NOTHING: Final = -STEPS_PER_DOUBLING * 1100
#: rows that are ranked in one go
_ROWS: Final = 2048


class StreamState(Frozen):
    """Where a detector stands: a few hundred numbers, however many rows it has seen."""

    #: steps of the losses seen, and how many losses stand on each
    seen: tuple[tuple[int, int], ...] = ()
    #: their sum
    loss: float = 0.0
    #: of each bet, the Shiryaev-Roberts statistic since the last alarm
    evidence: tuple[float, ...] = (0.0,) * len(POWERS)
    #: of each bet: the logarithm of what it has won since the row that suits it best, the rows since, and their loss
    won: tuple[float, ...] = (0.0,) * len(POWERS)
    since: tuple[int, ...] = (0,) * len(POWERS)
    since_loss: tuple[float, ...] = (0.0,) * len(POWERS)

    @property
    def rows(self) -> int:
        return sum(count for _, count in self.seen)

    @property
    def total_evidence(self) -> float:
        return float(np.mean(self.evidence))

    def suspicion(self) -> tuple[float | None, float | None, int]:
        """Mean loss before the change that is the most likely now, mean loss since, and the rows since."""
        bet = int(np.argmax(self.won))
        rows, since, loss = self.rows, self.since[bet], self.since_loss[bet]
        baseline = (self.loss - loss) / (rows - since) if rows > since else None
        return baseline, loss / since if since else None, since


@dataclass(frozen=True)
class Alarm:
    """A row at which the evidence reached the threshold."""

    row: int
    evidence: float


@dataclass(frozen=True)
class ErrorStream:
    """Finds that losses have risen; of unchanged losses it says so once in `rows_between_false_alarms` on average.

    Its state is a value: `update` gives the next one, and the same rows in other batches give the same.

    >>> rng = np.random.default_rng(2)
    >>> detector = ErrorStream(rows_between_false_alarms=10_000)
    >>> state = detector.learn(StreamState(), rng.random(2_000) < 0.2)
    >>> state, alarms = detector.update(state, rng.random(1_000) < 0.2)
    >>> [alarm.row for alarm in alarms]
    []
    >>> state, alarms = detector.update(state, rng.random(200) < 0.4)
    >>> alarms[0].row
    43
    """

    rows_between_false_alarms: int = 10_000

    def learn(self, state: StreamState, losses: npt.ArrayLike) -> StreamState:
        """The state that also knows these losses as usual ones, and holds no evidence against them."""
        values = _losses(losses)
        steps, counts = _merged(state, _steps(values))
        counts += np.bincount(np.searchsorted(steps, _steps(values)), minlength=len(steps))
        return state.model_copy(update={"seen": _pairs(steps, counts), "loss": state.loss + float(values.sum())})

    def update(self, state: StreamState, losses: npt.ArrayLike) -> tuple[StreamState, tuple[Alarm, ...]]:
        """Take rows in their order. After an alarm the evidence starts anew; the rows stay among those seen."""
        values, alarms = _losses(losses), list[Alarm]()
        for start in range(0, len(values), _ROWS):
            state, found = self._walk(state, values[start : start + _ROWS])
            alarms += [Alarm(start + alarm.row, alarm.evidence) for alarm in found]
        return state, tuple(alarms)

    def _walk(self, state: StreamState, losses: Floats) -> tuple[StreamState, list[Alarm]]:
        steps, counts = _merged(state, _steps(losses))
        bets, counts = _bets(np.searchsorted(steps, _steps(losses)), counts)
        evidence, alarms = self._sums(np.array(state.evidence), bets)
        won, since, since_loss = _suspected(state, bets, losses)
        return StreamState(
            seen=_pairs(steps, counts),
            loss=state.loss + float(losses.sum()),
            evidence=tuple(evidence.tolist()),
            won=won,
            since=since,
            since_loss=since_loss,
        ), alarms

    def _sums(self, evidence: Floats, bets: Floats) -> tuple[Floats, list[Alarm]]:
        """The Shiryaev-Roberts statistic of each bet after the last row, and the rows at which their mean alarmed."""
        row, alarms = 0, list[Alarm]()
        while row < bets.shape[1]:
            sums = _shiryaev_roberts(evidence, bets[:, row:])
            total = sums.mean(axis=0)
            reached = total >= self.rows_between_false_alarms
            if not reached.any():
                return sums[:, -1], alarms
            first = int(reached.argmax())
            alarms.append(Alarm(row + first, float(total[first])))
            row, evidence = row + first + 1, np.zeros(len(POWERS))
        return evidence, alarms


def _losses(losses: npt.ArrayLike) -> Floats:
    values = np.asarray(losses, dtype=np.float64).ravel()
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("a loss is a number from 0 up: leave out the rows that have none")
    return values


def _steps(losses: Floats) -> Counts:
    with np.errstate(divide="ignore"):
        steps: Counts = np.maximum(np.floor(np.log2(losses) * STEPS_PER_DOUBLING), _NOTHING).astype(np.int64)
    return steps


def _merged(state: StreamState, steps: Counts) -> tuple[Counts, Counts]:
    """All steps there are, lowest first, and how many of the losses seen stand on each."""
    old = np.array(state.seen, dtype=np.int64).reshape(-1, 2)
    every = np.union1d(old[:, 0], steps)
    counts = np.zeros(len(every), dtype=np.int64)
    counts[np.searchsorted(every, old[:, 0])] = old[:, 1]
    return every, counts


def _pairs(steps: Counts, counts: Counts) -> tuple[tuple[int, int], ...]:
    return tuple(zip(steps.tolist(), counts.tolist(), strict=True))


def _bets(places: Counts, counts: Counts) -> tuple[Floats, Counts]:
    """Logarithm of what each bet pays on each row, and the counts after the last one."""
    seen = (places[:, None] == np.arange(len(counts))).cumsum(axis=0) + counts
    rows = np.arange(len(places))
    total = counts.sum() + rows + 1
    at_least = seen[:, ::-1].cumsum(axis=1)[:, ::-1][rows, places]
    high, low = at_least / total, (at_least - seen[rows, places]) / total
    powers = np.array(POWERS)[:, None]
    return np.log((high**powers - low**powers) / (high - low)), seen[-1]


def _shiryaev_roberts(evidence: Floats, bets: Floats) -> Floats:
    """`R = (1 + R) * bet` after each row, summed in logarithms so that nothing overflows on the way."""
    walks = bets.cumsum(axis=1)
    with np.errstate(divide="ignore"):
        terms = np.column_stack([np.log1p(evidence), -walks[:, :-1]])
    return np.asarray(np.exp(np.minimum(walks + np.logaddexp.accumulate(terms, axis=1), 700.0)))


def _suspected(
    state: StreamState, bets: Floats, losses: Floats
) -> tuple[tuple[float, ...], tuple[int, ...], tuple[float, ...]]:
    """For each bet the row since which it has won most (where a cumulative sum last was at its lowest)."""
    rows = bets.shape[1]
    walks = np.column_stack([np.zeros(len(bets)), bets.cumsum(axis=1)])
    lowest = rows - walks[:, ::-1].argmin(axis=1)
    goes_on = np.array(state.won) + walks[:, -1] > walks[:, -1] - walks.min(axis=1)
    suffix = np.append(losses[::-1].cumsum()[::-1], 0.0)
    won = np.where(goes_on, np.array(state.won) + walks[:, -1], walks[:, -1] - walks.min(axis=1))
    since = np.where(goes_on, np.array(state.since) + rows, rows - lowest)
    since_loss = np.where(goes_on, np.array(state.since_loss) + suffix[0], suffix[lowest])
    return tuple(won.tolist()), tuple(since.tolist()), tuple(since_loss.tolist())
