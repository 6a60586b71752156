"""What kind of change a window shows: a bug of the pipeline if one explains it, else what errors make of the drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from observability.monitors.case import Case, PastVerdict
from observability.monitors.triage.calendars import follows_the_calendar
from observability.monitors.triage.clocks import clocks_of, find_turned_clocks, usual_clocks
from observability.monitors.triage.columns import Columns
from observability.monitors.triage.encoding import find_encoding
from observability.monitors.triage.harm import Harm, harm_of
from observability.monitors.triage.hypotheses import Hypothesis
from observability.monitors.triage.nulls import find_nulls
from observability.monitors.triage.ranking import rank
from observability.monitors.triage.replays import find_replays
from observability.monitors.triage.schemas import find_schema_trouble
from observability.monitors.triage.seasons import blamed, effects, lasting, same_season
from observability.monitors.triage.stale import find_stale
from observability.monitors.triage.swaps import find_swaps
from observability.monitors.triage.truncation import find_truncation
from observability.monitors.triage.units import find_units
from observability.monitors.triage.volume import cut_short, may_have_lost
from observability.monitors.triage.zones import find_zones
from observability.monitors.verdicts import Bug, Cause, Diagnosis, DriftVerdict, Ranked, WindowVerdict

#: a column that was as far from the reference, up to this share, in the window before has not broken now
_SUDDEN: Final = 0.6
#: nor one that was as far off up to this share, and is far off, where the bug was seen itself
_SAME: Final = 0.9
_FAR: Final = 0.5
#: of bugs that explain as much, up to this share, the simplest is told: one that was seen itself, then one value, ...
_AS_GOOD: Final = 0.93
_SIMPLEST: Final[tuple[Bug, ...]] = (
    "schema", "encoding", "nulls", "duplicates", "timezone", "swapped", "stale", "truncated", "unit",
)  # fmt: skip
#: of the best one's gain: a column that is broken in the same way by less is not told beside it
_BESIDE: Final = 0.3
#: a bug of columns explains a window whose drift lies in them by at least this share
_MOST: Final = 0.5
#: of a column's own median steps from window to window, those that are its usual way, and windows that tell them
_STEPS: Final = 2.0
_LEAST_STEPS: Final = 3
#: bugs that change which rows come, and so every column
_OF_ROWS: Final[tuple[Bug, ...]] = ("truncated", "duplicates", "schema")


def diagnose(case: Case, verdict: WindowVerdict, columns: Columns | None = None) -> Diagnosis:
    """The cause that explains the window best. A bug goes first: what it does to errors says nothing of the model.

    `columns` are the window's, where they are made already.
    """
    columns = columns or Columns.of(case)
    harm = harm_of(case, verdict)
    ranked = rank(case, columns, verdict.drift)
    lasted: tuple[str, ...] = ()
    clocks = clocks_of(columns)
    bug = _bug_of(case, find_bugs(case, verdict, columns), ranked, harm)
    if bug is not None:
        said = lasting(case, bug.bug or "", bug.columns)
        if said is None:
            return bug.model_copy(update={"clocks": clocks})
        lasted = (said,)
    cause, said = _cause(case, verdict, harm)
    return Diagnosis(cause=cause, explanation=_sentence(said, *lasted, *harm.said), ranked=ranked, clocks=clocks)


def _bug_of(case: Case, bugs: list[Hypothesis], ranked: tuple[Ranked, ...], harm: Harm) -> Diagnosis | None:
    """The bug that explains the window best, one that has lasted only where there is no other of other columns.

    A feed that fell goes before bugs that shares of values suggest: rows that are gone change those.
    """
    departure = cut_short(case)
    if departure is not None and not any(each.seen for each in bugs):
        gone = [each for each in bugs if each.bug == "truncated"]
        if gone:
            return _bug(gone, ranked=ranked)
        said = f"{departure.said}: a part of the feed is gone, and no column tells which"
        return Diagnosis(cause="bug", bug="truncated", explanation=_sentence(said, *harm.said), ranked=ranked)
    if not bugs:
        return None
    best = _bug(bugs, ranked=ranked)
    others = [each for each in bugs if each.columns and not set(each.columns) & set(best.columns)]
    if best.columns and others and lasting(case, best.bug or "", best.columns):
        return _bug(others, ranked=ranked)
    return best


def find_bugs(case: Case, verdict: WindowVerdict, columns: Columns) -> list[Hypothesis]:
    """Every bug that would explain what is seen and came suddenly, the best explanation first."""
    if case.reference.reason is not None or not len(case.sample.frame):
        return []
    supposed = list(_hypotheses(case, columns))
    found = (each for each in _explaining(supposed, case, verdict, columns) if _is_sudden(case, verdict, each))
    ranked = sorted(found, key=lambda each: (not each.seen, each.bug != "schema", -each.gain))
    best = [each for each in ranked if each.seen == ranked[0].seen and each.gain >= _AS_GOOD * ranked[0].gain]
    return sorted(best, key=lambda each: _SIMPLEST.index(each.bug)) + ranked[len(best) :]


def _hypotheses(case: Case, columns: Columns) -> Iterator[Hypothesis]:
    for find in (find_units, find_nulls, find_encoding):
        yield from find(columns)
    yield from (each for each in find_truncation(columns) if may_have_lost(case, each.numbers["gone"]))
    swaps = tuple(find_swaps(columns))
    yield from swaps
    moved = {name for each in swaps for name in each.columns}
    yield from (each for each in find_stale(columns) if not moved & set(each.columns))
    yield from find_zones(columns, usual_clocks(case))
    yield from find_turned_clocks(case, columns)
    yield from find_replays(case, columns)
    yield from find_schema_trouble(case)


def _explaining(
    supposed: list[Hypothesis], case: Case, verdict: WindowVerdict, columns: Columns
) -> Iterator[Hypothesis]:
    """Those whose columns, with the others that would be broken in the same way, hold most of the window's drift.

    Where more of it lies elsewhere other rows have come: new users leave a field empty, and have other habits too.
    What the window before had of it, and what the calendar gives, is none of it.
    """
    moved = _moved(case, verdict, columns)
    for each in supposed:
        alike = {name for other in supposed if other.bug == each.bug for name in other.columns}
        held = sum(moved.get(name, 0.0) for name in alike)
        if each.seen or not each.columns or each.bug in _OF_ROWS or held >= _MOST * sum(moved.values()):
            yield each


def _moved(case: Case, verdict: WindowVerdict, columns: Columns) -> dict[str, float]:
    """By how much each column has moved beyond its usual steps since it was sound, as squared effects."""
    past = [_sound_effects(each) for each in sorted(case.past, key=lambda each: each.until)]
    moved = {}
    for each in verdict.drift.features:
        if each.feature in columns.each and not follows_the_calendar(columns.each[each.feature], columns):
            before = [effects[each.feature] for effects in past if each.feature in effects]
            step = float(np.median(np.abs(np.diff(before)))) if len(before) > _LEAST_STEPS else 0.0
            usual = before[-1] + _STEPS * step if past and each.feature in past[-1] else 0.0
            moved[each.feature] = max((each.effect or 0.0) ** 2 - usual**2, 0.0)
    return moved


def _sound_effects(past: PastVerdict) -> Mapping[str, float]:
    """The window's effects without those of its bug: what is still broken has moved as on the first day."""
    broken, then = blamed(past), effects(past)
    if broken is None:
        return then
    return {name: effect for name, effect in then.items() if name not in broken} if broken else {}


def _is_sudden(case: Case, verdict: WindowVerdict, hypothesis: Hypothesis) -> bool:
    """Whether the window before was not as far off already, unless the same columns were broken then."""
    if not hypothesis.columns or not case.past:
        return True
    newest = max(case.past, key=lambda past: past.until)
    before = blamed(newest)
    if before is not None and (not before or set(before) & set(hypothesis.columns)):
        return True
    then, now = effects(newest), {each.feature: each.effect or 0.0 for each in verdict.drift.features}
    if hypothesis.seen:  # seen itself it may move its column by little, but must not be what was there before
        return any(now.get(each, 0.0) < _FAR or then.get(each, 0.0) < _SAME * now[each] for each in hypothesis.columns)
    return any(name not in then or then[name] < _SUDDEN * now.get(name, 0.0) for name in hypothesis.columns)


def _bug(bugs: list[Hypothesis], ranked: tuple[Ranked, ...]) -> Diagnosis:
    """The best explanation, with every column that is broken in the same way beside it."""
    best = bugs[0]
    alike = [each for each in bugs if each.bug == best.bug and each.gain >= _BESIDE * best.gain]
    told, columns = [best], list(best.columns)
    if best.bug == "truncated" and (others := [e for e in alike if e.gain >= _AS_GOOD * best.gain][1:]):
        told, columns = [best, *others], []  # a part is gone, and columns that go together tell it alike
    for each in alike:
        if best.bug != "truncated" and each.columns and not set(each.columns) & set(columns):
            told.append(each)
            columns += each.columns
    said = [each.said for each in told]
    return Diagnosis(cause="bug", bug=best.bug, columns=tuple(columns), explanation=_sentence(*said), ranked=ranked)


def _cause(case: Case, verdict: WindowVerdict, harm: Harm) -> tuple[Cause, str]:
    """What the errors make of the drift, and why."""
    drifted = has_drifted(verdict.drift)
    if harm.rose is None:
        if drifted is False:
            return "stable", "nothing has drifted; of errors nothing is known yet"
        return "unknown", "cannot tell: there are neither labels nor an estimate that say whether errors rose"
    if harm.rose:
        if harm.labelled and (harm.estimated is False or (harm.estimated is None and drifted is False)):
            return (
                "concept",
                "errors rose, and what came in does not explain it: the same rows are answered differently now",
            )
        if drifted is not False:
            return "harmful", f"{_drifted_of(verdict.drift)}, and errors rose"
        return "concept", "errors rose, and nothing has drifted"
    if not drifted:
        return "stable", "neither the data nor the errors have moved beyond chance"
    if (season := same_season(case, verdict.drift)) is not None:
        return (
            "season",
            f"{_drifted_of(verdict.drift)} as in the window until {season:%Y-%m-%d %H:%M}, and not in between",
        )
    return "harmless", f"{_drifted_of(verdict.drift)}, and errors did not rise"


def has_drifted(drift: DriftVerdict) -> bool | None:
    """Anything of the window; None where nothing could be compared."""
    texts = tuple(each.drifted for each in drift.texts)
    joint = () if drift.joint is None else (drift.joint.drifted,)
    told = [each.drifted for each in drift.features] + [drift.prediction.drifted, *joint, *texts]
    if all(each is None for each in told):
        return None
    return any(told)


def _drifted_of(drift: DriftVerdict) -> str:
    names = list(drift.drifted) + [each.field for each in drift.texts if each.drifted]
    if drift.prediction.drifted:
        names.append("the score")
    if not names:
        return "the columns together have drifted" if has_drifted(drift) else "it is not known what has drifted"
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{shown} {'has' if len(names) == 1 else 'have'} drifted"


def _sentence(*said: str) -> str:
    return "; ".join(said) + "."
