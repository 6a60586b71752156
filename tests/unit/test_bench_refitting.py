"""The policy of bench.drift's S6: what it may know, what it may spend, and how the real files are read."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from bench.drift_stage import s6
from bench.drift_stage.refitting import LAG, WINDOW, Policy, known, losses_of_fits, refitted_by, refitted_when
from bench.drift_stage.seasons import KINDS, series


@pytest.fixture(scope="module")
def losses():
    share, rate, _ = series(KINDS["rough"], seed=1)
    return losses_of_fits(share[:, None], rate)


def test_a_fit_knows_no_label_that_has_not_come():
    share, rate, _ = series(KINDS["mild"], seed=2)
    row = 300
    later = rate.copy()
    later[row - LAG + 1 :] += 5
    before, after = losses_of_fits(share[:, None], rate), losses_of_fits(share[:, None], later)
    assert np.allclose(before[row, :200], after[row, :200])
    assert known(row) == slice(row - LAG + 1 - WINDOW, row - LAG + 1)


def test_what_is_decided_at_a_row_does_not_depend_on_later_labels(losses):
    row = 400
    altered = losses.copy()
    altered[:, row - LAG + 1 :] *= 3
    altered[row + 1 :] = losses[row + 1 :].max()
    first, second = refitted_by(losses, Policy()), refitted_by(altered, Policy())
    assert [r for r in first.refits if r <= row] == [r for r in second.refits if r <= row]
    assert [r for r in first.alarms if r <= row] == [r for r in second.alarms if r <= row]


def test_no_more_refits_than_are_granted_however_much_is_lost(losses):
    greedy = replace(Policy(), refit_price=0.0, refit_after=1)
    most = greedy.granted_at_most + (len(losses) - WINDOW) // greedy.granted_every
    assert len(refitted_by(losses, greedy).refits) == most == 12
    assert len(refitted_by(losses, Policy()).refits) <= 12


def test_a_fit_that_was_not_paid_for_is_never_looked_at(losses):
    outcome = refitted_by(losses, Policy())
    blind = np.full_like(losses, np.nan)
    paid = [WINDOW, *outcome.refits]
    blind[paid] = losses[paid]
    assert refitted_by(blind, Policy()) == outcome


def test_a_kept_version_serves_again_when_its_world_returns():
    row = np.arange(620)
    share = np.sin(row)
    changed = (row >= 250) & (row < 400)
    rate = np.where(changed, 3 - share, 3 + share) + np.random.default_rng(3).normal(0, 0.1, 620)
    outcome = refitted_by(losses_of_fits(share[:, None], rate), Policy())
    alone = refitted_by(losses_of_fits(share[:, None], rate), replace(Policy(), return_price=np.inf))
    assert outcome.returns > 0 and alone.returns == 0
    assert np.mean(outcome.losses[410 - WINDOW :]) < 0.7 * np.mean(alone.losses[410 - WINDOW :])
    assert any(250 <= alarm <= 270 for alarm in outcome.alarms)


def test_plain_rules_refit_when_they_say(losses):
    assert refitted_when(losses, lambda weeks: False).refits == []
    assert refitted_when(losses, lambda weeks: weeks % 52 == 0).refits == list(range(WINDOW + 52, len(losses), 52))


@pytest.mark.parametrize(
    ("year", "week", "first"), [(2012, 53, None), (2013, 1, date(2012, 12, 30)), (2009, 1, date(2009, 1, 4))]
)
def test_weeks_are_those_of_the_united_states(year, week, first):
    assert s6.sunday(year, week) == (first or date(2012, 12, 30))


def test_the_files_are_read_past_their_preambles_and_scored_against_every_bar(tmp_path, monkeypatch):
    share, rate, _ = series(KINDS["mild"], seed=4)
    weeks = [date(2003, 9, 28) + timedelta(weeks=n) for n in range(len(rate))]
    folder = tmp_path / s6.FLU
    folder.mkdir()
    shares = 100_000 / (1 + np.exp(-share))
    trends = ["About", "", "Date,Chile,United States", *(f"{w},1,{s:.0f}" for w, s in zip(weeks, shares, strict=True))]
    folder.joinpath("google_flu_trends.csv").write_text("\n".join(trends))
    first = {s6.sunday(year, week): (year, week) for year in range(2003, 2017) for week in range(53, 0, -1)}
    official = ["About", "YEAR,WEEK,% WEIGHTED ILI", "1997,40,X"]
    official += [f"{first[w][0]},{first[w][1]},{r:.5f}" for w, r in zip(weeks, rate, strict=True)]
    folder.joinpath("ilinet_national.csv").write_text("\n".join(official))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    read = s6.read_weeks(folder)
    assert list(read["week"]) == weeks and np.allclose(read["rate"], rate, atol=1e-4)
    figures, claims = s6.run(full=False)
    assert figures["s6_refits"] <= 12 and figures["s6_mae"] < figures["s6_never_mae"]
    assert len(claims) == len(s6.BARS) and all(claim.holds is not None for claim in claims)


def test_without_the_files_every_bar_says_why_it_was_not_measured(monkeypatch):
    monkeypatch.delenv("DATA_DIR", raising=False)
    figures, claims = s6.run(full=True)
    assert figures == {} and {claim.why for claim in claims} == {"DATA_DIR is not set"}
    assert {claim.holds for claim in claims} == {None}


def test_an_alarm_shortly_before_the_break_is_its_alarm_and_one_in_autumn_is_not():
    early, autumn = s6.BREAK - timedelta(weeks=2), date(2012, 9, 2)
    others = [date(2009, 11, 1), date(2010, 2, 7), date(2010, 8, 1)]
    assert s6._alarms([*others, autumn, early]) == {s6.ALARM: -2.0, s6.OTHERS: 2.0}
    assert s6._alarms([autumn])[s6.ALARM] == s6.NEVER
