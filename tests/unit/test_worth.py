"""Whether a retraining is worth its cost: what is found, what is not chased, and what is learned from the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from controlplane.rules.worth import Answer, Life, Terms, Trial, WindowLoss, Worth, weigh
from pipeline.contract.rulespec import Rule, WorthRule

TERMS = Terms(cost=None, horizon=None, min_labels=100)
#: a retraining has to lower the loss by about two points
DEAR = replace(TERMS, cost=500.0, horizon=24_000)
ROWS = 2_000
USUAL = 0.2


def window(number: int, loss: float | None, rows: int = ROWS) -> WindowLoss:
    if loss is None:
        return WindowLoss(f"w{number}", rows)
    return WindowLoss(f"w{number}", rows, rows, loss, (loss * (1 - loss) / rows) ** 0.5)


def life(losses: Sequence[float | None], version: int = 1, trials: tuple[Trial, ...] = ()) -> Life:
    windows = tuple(window(number, loss) for number, loss in enumerate(losses))
    return Life(version, USUAL, 0.009, windows, trials)


def first_firing(whole: Life, terms: Terms = TERMS, before: tuple[Life, ...] = ()) -> int | None:
    """The number of the window at which the rule would have fired first."""
    for number, each in enumerate(whole.windows):
        if weigh((*before, whole.until(each.id)), terms).answer is Answer.RETRAIN_WORTH:
            return number
    return None


def noisy(losses: Sequence[float], seed: int, rows: int = ROWS) -> list[float]:
    return list(np.random.default_rng(seed).binomial(rows, losses) / rows)


def test_a_rise_that_lasts_is_found_within_a_few_windows() -> None:
    found = first_firing(life([USUAL] * 8 + [USUAL + 0.06] * 10))
    assert found is not None
    assert 8 <= found <= 12


def test_a_slow_decay_adds_up_though_no_single_window_shows_it() -> None:
    losses = [USUAL + 0.002 * number for number in range(30)]
    step, chance = 0.002, (USUAL * (1 - USUAL) / ROWS) ** 0.5
    assert step < chance / 4
    assert first_firing(life(losses), DEAR) is not None


def test_a_storm_that_passes_is_not_chased_by_the_rule_as_it_is_shipped() -> None:
    rule = WorthRule(name="worth", kind="worth", monitor="daily")
    terms = Terms(rule.cost, rule.horizon, rule.min_labels)
    whole = life([USUAL] * 10 + [USUAL + 0.08] + [USUAL] * 10)
    worth = [weigh((whole.until(each.id),), terms).answer is Answer.RETRAIN_WORTH for each in whole.windows]
    assert sum(worth) < rule.hold.windows


def test_with_nothing_the_matter_next_to_nothing_is_spent() -> None:
    fired = [first_firing(life(noisy([USUAL] * 30, seed)), DEAR) for seed in range(20)]
    assert sum(each is not None for each in fired) <= 2


def test_a_rise_that_is_too_small_to_pay_is_left_alone() -> None:
    risen = life([USUAL] * 8 + [USUAL + 0.06] * 10)
    dear = weigh((risen,), replace(TERMS, cost=1e5))
    assert dear.answer is Answer.WAIT_NOT_WORTH
    assert dear.numbers["expected_saved"] < 1e5
    assert "costs 100,000.0" in dear.detail


def test_a_few_predictions_to_come_are_not_worth_a_retraining() -> None:
    risen = life([USUAL] * 8 + [USUAL + 0.06] * 10)
    priced = replace(TERMS, cost=20.0)
    assert weigh((risen,), replace(priced, horizon=200)).answer is Answer.WAIT_NOT_WORTH
    assert weigh((risen,), replace(priced, horizon=20_000)).answer is Answer.RETRAIN_WORTH


def test_retrainings_that_brought_nothing_are_not_repeated_for_the_same_rise() -> None:
    losses = [USUAL] * 8 + [USUAL + 0.06] * 14
    tries = (Trial(14, gain=0.0, gain_se=0.005), Trial(17, gain=0.0, gain_se=0.005))
    untried, once, twice = life(losses), life(losses, trials=tries[:1]), life(losses, trials=tries)
    assert chance_of((once.until("w14"),)) < chance_of((untried.until("w14"),)) - 0.25
    assert weigh((untried,), DEAR).answer is Answer.RETRAIN_WORTH
    assert weigh((twice,), TERMS).answer is Answer.WAIT_NOT_WORTH


def test_after_a_retraining_was_refused_only_what_comes_from_then_on_asks_for_another() -> None:
    losses = [USUAL] * 8 + [USUAL + 0.06] * 10
    unclear = life(losses, trials=(Trial(14, gain=0.02, gain_se=0.02),))
    assert weigh((unclear.until("w13"),), TERMS).answer is Answer.RETRAIN_WORTH
    assert weigh((unclear.until("w14"),), TERMS).answer is Answer.WAIT_NOT_WORTH


def test_a_retraining_refused_after_the_newest_window_is_known_when_that_window_is_judged_again() -> None:
    losses = [USUAL] * 8 + [USUAL + 0.06] * 6
    refused = life(losses, trials=(Trial(len(losses), gain=0.0, gain_se=0.01),))
    assert weigh((refused.until("w12"),), TERMS).answer is Answer.RETRAIN_WORTH
    assert weigh((refused.until("w13"),), TERMS).answer is Answer.WAIT_NOT_WORTH


def test_after_a_retraining_that_brought_nothing_a_further_rise_is_still_found() -> None:
    losses = [USUAL] * 8 + [USUAL + 0.04] * 10 + [USUAL + 0.16] * 12
    tried = life(losses, trials=(Trial(14, gain=0.0, gain_se=0.005),))
    found = first_firing(replace(tried, windows=tried.windows))
    assert weigh((tried,), TERMS).answer is Answer.RETRAIN_WORTH
    assert found is not None


def test_retrainings_that_brought_nothing_before_make_the_next_less_worth() -> None:
    losses = [USUAL] * 8 + [USUAL + 0.06] * 10
    helped = tuple(life(losses, number, (Trial(18, 0.055, 0.005),)) for number in range(3))
    useless = tuple(life(losses, number, (Trial(18, 0.0, 0.005),)) for number in range(3))
    now = life([USUAL] * 8 + [USUAL + 0.06] * 6, version=9)
    assert chance_of((*helped, now)) > chance_of((now,)) > chance_of((*useless, now))


def test_where_past_rises_faded_by_themselves_the_next_is_believed_less() -> None:
    stormy = life([USUAL, USUAL, USUAL + 0.08, USUAL, USUAL, USUAL + 0.08, USUAL, USUAL, USUAL + 0.08, USUAL] * 2)
    calm = life([USUAL] * 20)
    now = life([USUAL] * 6 + [USUAL + 0.08] * 2, version=2)
    assert chance_of((stormy, now)) < chance_of((calm, now))


def test_versions_that_were_replaced_soon_shorten_the_horizon() -> None:
    now = life([USUAL] * 4, version=9)
    short = tuple(life([USUAL] * 2, number) for number in range(5))
    assert weigh((*short, now), TERMS).numbers["horizon"] < weigh((now,), TERMS).numbers["horizon"]


def test_before_there_are_labels_nothing_is_said() -> None:
    found = weigh((life([None, None]),), TERMS)
    assert found.answer is Answer.WAIT_FEW_LABELS
    assert found.numbers == {"labelled": 0, "min_labels": 100}


def test_where_labels_lack_an_estimated_error_counts_though_less() -> None:
    def excess(risen: WindowLoss) -> float:
        calm = life([USUAL] * 8)
        rise = tuple(replace(risen, id=f"r{number}") for number in range(2))
        return float(weigh((replace(calm, windows=calm.windows + rise),), TERMS).numbers["excess"])

    estimated = WindowLoss("r", ROWS, estimated=USUAL + 0.08, estimated_se=0.01)
    assert excess(window(0, None)) < excess(estimated) < excess(window(0, USUAL + 0.08))


def test_a_version_without_a_reference_is_compared_with_its_own_first_windows() -> None:
    unknown = replace(life([USUAL] * 8 + [USUAL + 0.08] * 10), reference=None, reference_se=None)
    found = first_firing(unknown)
    assert found is not None
    assert found >= 8


def test_what_came_later_does_not_change_what_was_said_before() -> None:
    whole = life([USUAL] * 8 + [USUAL + 0.06] * 10, trials=(Trial(3, 0.0, 0.01), Trial(15, 0.05, 0.01)))
    then = whole.until("w9")
    assert [each.id for each in then.windows] == [f"w{number}" for number in range(10)]
    assert then.trials == (Trial(3, 0.0, 0.01),)


@settings(max_examples=25, deadline=None)
@given(
    losses=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12),
    cost=st.floats(0, 1e4),
    more=st.floats(0, 1e4),
)
def test_a_dearer_retraining_is_never_worth_more(losses: list[float], cost: float, more: float) -> None:
    lives = (life(losses),)
    assert weigh(lives, TERMS).numbers["cost"] > 0
    cheap, dear = weigh(lives, replace(TERMS, cost=cost)), weigh(lives, replace(TERMS, cost=cost + more))
    assert 0 <= dear.numbers["probability"] <= cheap.numbers["probability"] <= 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(losses=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=12), unit=st.sampled_from([0.01, 7.0, 1e5]))
def test_the_unit_in_which_losses_are_counted_changes_nothing(losses: list[float], unit: float) -> None:
    one = life(losses, trials=(Trial(1, 0.01, 0.01),))
    other = replace(
        one,
        reference=unit * USUAL,
        reference_se=unit * 0.009,
        windows=tuple(replace(w, loss=unit * w.loss, loss_se=unit * w.loss_se) for w in one.windows),
        trials=(Trial(1, unit * 0.01, unit * 0.01),),
    )
    assert chance_of((other,), replace(TERMS, cost=unit * 20)) == pytest.approx(
        chance_of((one,), replace(TERMS, cost=20)), abs=1e-6
    )
    assert chance_of((other,)) == pytest.approx(chance_of((one,)), abs=1e-6)


def test_a_rule_needs_a_name_and_a_monitor_only() -> None:
    rule = TypeAdapter(Rule).validate_python({"name": "worth", "kind": "worth", "monitor": "daily"})
    assert isinstance(rule, WorthRule)
    assert rule.horizon is None
    assert rule.cost is None


@pytest.mark.parametrize("wrong", [{"cost": -1}, {"confidence": 0.4}, {"horizon": 0}, {"min_labels": 0}])
def test_terms_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        WorthRule(name="worth", kind="worth", monitor="daily", **wrong)


def chance_of(lives: Sequence[Life], terms: Terms = TERMS) -> float:
    found: Worth = weigh(lives, terms)
    return float(found.numbers["probability"])
