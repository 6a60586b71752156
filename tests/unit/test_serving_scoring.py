"""A rival scores the same rows, fails at nobody's cost, and answers its share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.blobs import BlobStore
from bundle.scorer import Scorer
from bundle.signature import RawField
from observability.ids import new_id, sample_key, turn_of
from serving.desired import Wanted
from serving.errors import Refused
from serving.scoring import RESTS, Scoring
from serving.slots import Loaded, Rival, Slot
from tests.versions import FEATURES_SOURCE, MODEL_ID, ROWS, SIGNATURE, make_version

KEY = b"k" * 32
ANY = [0.5] * len(ROWS)
Load = Callable[..., Loaded]
FAILING = {
    "an exception": "def features(raw):\n    raise ValueError('no')\n",
    "a missing feature": "def features(raw):\n    return {}\n",
    "the end of the process": "def features(raw):\n    raise SystemExit\n",
    "an interrupt": "def features(raw):\n    raise KeyboardInterrupt\n",
    "not a number": FEATURES_SOURCE.replace('np.log1p(raw["followers"])', 'raw["followers"] * np.nan'),
    "too few rows": FEATURES_SOURCE.replace('raw["place"]}', 'raw["place"][1:]}'),
}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    blobs = BlobStore(tmp_path)

    def loaded(version: int, **made: object) -> Loaded:
        digest = make_version(blobs, version / 10, **made)  # type: ignore[arg-type]
        return Loaded(Wanted(MODEL_ID, version, digest), Scorer.load(blobs, digest))

    return loaded


def ids_with_turns(share: float) -> tuple[str, str]:
    """A prediction id that is the challenger's turn, and one that is not."""
    ids = [new_id() for _ in range(200)]
    return next(i for i in ids if turn_of(i) < share), next(i for i in ids if turn_of(i) >= share)


def test_both_score_the_same_rows_and_the_turn_says_whose_answers_are_given(load: Load) -> None:
    slot = Slot(load(1), Rival(load(2), 0.5))
    challenger, champion = ids_with_turns(0.5)
    scoring = Scoring(KEY)
    first, second = scoring.score(slot, ROWS, champion), scoring.score(slot, ROWS, challenger)
    assert (first.given.version, first.role, first.other_version) == (1, "production", 2)
    assert (second.given.version, second.role, second.other_version) == (2, "canary", 1)
    assert first.other is not None
    assert first.other.scores == second.given.scores != first.given.scores
    assert first.given.raw == second.given.raw


def test_a_shadow_answers_no_request(load: Load) -> None:
    slot = Slot(load(1), Rival(load(2), 0.0))
    scoring = Scoring(KEY)
    verdicts = [scoring.score(slot, ROWS, new_id()) for _ in range(50)]
    assert {(v.given.version, v.role, v.other_version) for v in verdicts} == {(1, "production", 2)}
    assert slot.rival is not None
    assert scoring.counts(slot.rival) == {"scored": 50, "failed": 0, "rested": 0}


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("source", FAILING.values(), ids=FAILING)
def test_a_rival_that_fails_costs_no_request_and_is_logged_once(
    load: Load, source: str, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    slot = Slot(load(1), Rival(load(2, features=source, golden_scores=ANY), share))
    scoring = Scoring(KEY)
    with caplog.at_level(logging.ERROR):
        verdicts = [scoring.score(slot, ROWS, new_id()) for _ in range(3)]
    assert [(v.given.version, v.role, v.other_version, v.other) for v in verdicts] == [(1, "production", 2, None)] * 3
    assert slot.rival is not None
    assert scoring.counts(slot.rival) == {"scored": 0, "failed": 3, "rested": 0}
    assert len(caplog.records) == 1


def test_a_rival_whose_fields_cannot_take_the_request_has_failed(load: Load) -> None:
    needs = SIGNATURE.model_copy(update={"raw": (*SIGNATURE.raw, RawField(name="new", type="number", required=True))})
    slot = Slot(load(1), Rival(load(2, signature=needs, golden_scores=ANY), 1.0))
    scoring = Scoring(KEY)
    without, with_it = scoring.score(slot, ROWS, "a"), scoring.score(slot, [{**ROWS[0], "new": 1.5}], "a")
    assert (without.given.version, without.other) == (1, None)
    assert (with_it.given.version, with_it.role) == (2, "canary")
    assert with_it.given.raw[0]["new"] == 1.5
    assert with_it.other is not None
    assert "new" not in with_it.other.raw[0]


def test_a_row_that_production_refuses_is_refused_whatever_the_rival_takes(load: Load) -> None:
    slot = Slot(load(1), Rival(load(2), 1.0, promoted=True))
    with pytest.raises(Refused, match="followers") as refused:
        Scoring(KEY).score(slot, [{"followers": "many"}], "a")
    assert refused.value.status == 422


@pytest.mark.parametrize(("share", "promoted", "role"), [(0.1, False, "canary"), (0.0, True, "production")])
def test_where_production_fails_a_promoted_rival_answers(load: Load, share: float, promoted: bool, role: str) -> None:
    broken = load(2, features=FAILING["an exception"], golden_scores=ANY)
    verdict = Scoring(KEY).score(Slot(broken, Rival(load(1), share, promoted)), ROWS, "a")
    assert (verdict.given.version, verdict.role, verdict.other_version, verdict.other) == (1, role, 2, None)


def test_where_production_fails_a_shadow_answers_nobody(load: Load) -> None:
    broken = load(1, features=FAILING["an exception"], golden_scores=ANY)
    for rival in (None, Rival(load(2), 0.0)):
        with pytest.raises(Refused, match="version 1 cannot answer"):
            Scoring(KEY).score(Slot(broken, rival), ROWS, "a")


class Ticking:
    """A clock that a test moves; each look at it costs the time of a scoring step."""

    now, step = 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_slow_rival_rests_so_that_it_costs_at_most_a_twentieth(load: Load) -> None:
    clock = Ticking()
    slot = Slot(load(1), Rival(load(2), 0.5))
    scoring = Scoring(KEY, clock)
    clock.step = 1.0
    scoring.score(slot, ROWS, "a")
    clock.step = 0.0
    assert slot.rival is not None
    taken = 3.0
    clock.now += RESTS * taken - 0.5
    assert scoring.score(slot, ROWS, "a").other_version is None
    clock.now += 1.0
    assert scoring.score(slot, ROWS, "a").other_version is not None
    assert scoring.counts(slot.rival) == {"scored": 2, "failed": 0, "rested": 1}


def test_a_rival_sees_nothing_that_production_changed_in_place(load: Load) -> None:
    spoils = FEATURES_SOURCE.replace("    return", "    raw['followers'][:] = 0\n    raw['place'][:] = ''\n    return")
    alone = Scoring(KEY).score(Slot(load(2)), ROWS, "a").given.scores
    verdict = Scoring(KEY).score(
        Slot(load(1, features=spoils, golden_scores=ANY), Rival(load(2))), ROWS, "a"
    )  # fmt: skip
    assert verdict.other is not None
    assert verdict.other.scores == alone


@given(st.lists(st.uuids().map(str), min_size=1, max_size=20))
def test_a_turn_lies_in_its_range_and_says_nothing_of_the_sample_key(ids: list[str]) -> None:
    for prediction_id in ids:
        turn = turn_of(prediction_id)
        assert 0 <= turn < 1
        assert turn == turn_of(prediction_id)
        assert int(sample_key(prediction_id), 16) >> 11 != int(turn * 2**53)


def test_turns_are_uniform_also_among_the_smallest_sample_keys() -> None:
    ids = sorted((new_id() for _ in range(20_000)), key=sample_key)[:4_000]
    assert abs(sum(turn_of(each) < 0.2 for each in ids) - 800) < 5 * (4_000 * 0.2 * 0.8) ** 0.5
