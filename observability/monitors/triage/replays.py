"""Rows that came twice: a run of rows in the order in which they came once before, or far more copies than usual.

A single row may be alike another by chance; a whole run of rows that follow each other as others did is not, however
coarse the columns are, once it is long enough for what two rows have in common by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from observability.monitors.case import Case
from observability.monitors.stored import bug_of
from observability.monitors.triage.columns import Columns, times_of
from observability.monitors.triage.hypotheses import Hypothesis

#: standard errors of the share of copies beyond which it is no chance
_SURE: Final = 5.0
#: explains less of a distance than a column that is broken, which makes copies of rows too
_WEIGHT: Final = 0.25
#: how seldom any run of a window is alike another one by chance
_LEVEL: Final = 1e-6
#: rows of a run: in longer ones a feed repeats itself
_LONGEST: Final = 30
#: parts of the reference, each as long as the window: who asks again does so soon
_PARTS: Final = 8
#: rows that share an instant, of which copies are looked for among those of the reference that are as near
_BESIDE: Final = 12

Hashes = npt.NDArray[np.uint64]


def find_replays(case: Case, columns: Columns) -> Iterator[Hypothesis]:
    """The source as a whole, where runs of rows came before, or rows are copies of others more often than before."""
    again = came_again(case)
    if again > case.settings.quality.duplicates_margin:
        said = f"{again:.0%} of the rows came before, in the same order or at the same instant: a part came twice"
        yield Hypothesis("duplicates", (), 1.0, again, said, {"again": again}, seen=True)
        return
    now, usual = copies(case, columns)
    if is_more(case, now, usual):
        said = f"{now:.0%} of the rows are copies of another, {usual:.0%} as a rule: a part of the data came twice"
        yield Hypothesis("duplicates", (), 1.0, _WEIGHT * (now - usual), said, {"copies": now, "usual": usual})


def came_again(case: Case) -> float:
    """Share of rows that came before as a run, or at the same instant, beyond what the reference shows of both."""
    frame, then = case.sample.frame, case.reference.features
    names, times = _compared(case), times_of(frame)
    if not names or times.nunique() < 2:
        return 0.0
    hashed, past = hashes(frame[names]), hashes(then[names][: len(frame)])
    rows = hashed[times.argsort(kind="stable").to_numpy()]
    beside = len(times) / times.nunique()
    twins = float(pd.DataFrame({"row": hashed, "time": times}).duplicated().mean()) - _alike_beside(
        past, int(np.ceil(2 * beside))
    )
    length = _telling(np.concatenate([rows, past]), len(rows))
    runs = 0.0 if length is None else _in_runs(rows, length) - _in_runs(past, length)
    return max(runs, twins if beside <= _BESIDE else 0.0, 0.0)


def copies(case: Case, columns: Columns) -> tuple[float, float]:
    """Share of rows that are copies of an earlier one: of the window, and the greatest of what the reference, drawn or
    in turn, and the past windows give in as many rows."""
    if "copies" not in columns.told:
        columns.told["copies"] = _copies(case)
    told: tuple[float, float] = columns.told["copies"]
    return told


def _copies(case: Case) -> tuple[float, float]:
    names = _compared(case)
    if not names or not len(case.sample.frame):
        return 0.0, 0.0
    now = share_of_copies(case.sample.frame[names])
    then, rows = case.reference.features[names], len(case.sample.frame)
    drawn = then.sample(rows, random_state=case.random("copies")) if len(then) > rows else then
    parts = [share_of_copies(then[start : start + rows]) for start in range(0, len(then) - rows + 1, rows)[:_PARTS]]
    return now, max([share_of_copies(drawn), float(np.median(parts or [0.0])), *_of_the_past(case)])


def share_of_copies(rows: pd.DataFrame) -> float:
    """Of these rows, those that are alike an earlier one in every column."""
    return float(pd.Series(hashes(rows)).duplicated().mean()) if len(rows) else 0.0


def is_more(case: Case, now: float, usual: float) -> bool:
    """Beyond the margin and chance."""
    rows = max(len(case.sample.frame), 1)
    error = np.sqrt(max(usual * (1 - usual), 1 / rows) / rows)
    return bool(now - usual > case.settings.quality.duplicates_margin + _SURE * error)


def hashes(rows: pd.DataFrame) -> Hashes:
    """One number for each row, alike for rows that are alike in every column."""
    plain = rows.astype({name: str for name in rows.select_dtypes("object")})
    return np.asarray(pd.util.hash_pandas_object(plain, index=False), dtype=np.uint64)


def _compared(case: Case) -> list[str]:
    """Features that both sides hold."""
    return [
        name for name in case.signature.feature_names if name in case.sample.frame and name in case.reference.features
    ]


def _alike_beside(rows: Hashes, near: int) -> float:
    """Of rows in the order of time, those that are alike one of the few before."""
    alike = np.zeros(len(rows), dtype=bool)
    for step in range(1, min(near, 2 * _BESIDE) + 1):
        alike[step:] |= rows[step:] == rows[:-step]
    return float(alike.mean()) if len(rows) else 0.0


def _telling(rows: Hashes, window: int) -> int | None:
    """How many rows a run must have so that chance does not repeat one in the window; None where no length will do."""
    shares = np.unique(_steps(rows), return_counts=True)[1] / max(len(rows), 1)
    alike = float((shares**2).sum())
    if not 0 < alike < 1 or not window:
        return None
    length = max(int(np.ceil(np.log(_LEVEL / window**2) / np.log(alike))), 3)
    return length if length <= min(_LONGEST, window // 4) else None


def _steps(rows: Hashes) -> Hashes:
    """Without those that repeat the row directly before: to stand still is no replay."""
    return rows[np.append(True, rows[1:] != rows[:-1])] if len(rows) else rows


def _in_runs(rows: Hashes, length: int) -> float:
    """Of these rows, those that lie in a run of this length that came before."""
    steps = _steps(rows)
    if len(steps) < 2 * length:
        return 0.0
    runs = pd.DataFrame(np.lib.stride_tricks.sliding_window_view(steps, length))
    again = pd.util.hash_pandas_object(runs, index=False).duplicated().to_numpy()
    covered = np.zeros(len(steps), dtype=bool)
    for offset in range(length):
        covered[offset : offset + len(again)] |= again
    return float(covered.sum()) / len(rows)


def _of_the_past(case: Case) -> list[float]:
    """Shares of copies that windows before were not blamed for."""
    shares = []
    for past in case.past:
        quality, diagnosis = past.verdict.get("quality") or {}, past.verdict.get("diagnosis") or {}
        copied, sampled = quality.get("duplicated_rows"), past.verdict.get("sampled")
        if copied is not None and sampled and bug_of(diagnosis) is None:
            shares.append(float(copied) / float(sampled))
    return shares
