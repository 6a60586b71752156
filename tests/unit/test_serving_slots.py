"""Which version answers, and which are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from bundle.blobs import BlobStore
from bundle.scorer import Scorer
from serving.desired import DesiredCache, DesiredState, Wanted
from serving.poller import Failures
from serving.slots import Loaded, Shelf, Slots
from tests.versions import make_version

MODEL = "default/tiny"


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    blobs = BlobStore(tmp_path)
    return Scorer.load(blobs, make_version(blobs))


def wanted(version: int) -> Wanted:
    return Wanted(MODEL, version, f"{version:064x}")


def desired(
    production: int | None, staging: int | None = None, rival: int | None = None, **rest: object
) -> DesiredState:
    def ref(version: int | None) -> dict[str, object] | None:
        return None if version is None else {"version": version, "manifest": wanted(version).manifest}

    state = {"model": MODEL, "production": ref(production), "staging": ref(staging)}
    if rival is not None:
        state["rival"] = {**(ref(rival) or {}), **rest}
    return DesiredState.model_validate({"models": [state], "a field of a later release": 1})


def test_a_version_answers_only_when_it_is_loaded_and_the_one_before_until_then(scorer: Scorer) -> None:
    shelf = Shelf(900)
    slots = shelf.arrange(desired(1), Slots())
    assert not slots.ready
    shelf.add(Loaded(wanted(1), scorer))
    slots = shelf.arrange(desired(1), slots)
    assert slots.ready
    slots = shelf.arrange(desired(2), slots)
    assert slots.ready
    assert slots.serving[MODEL].production.wanted == wanted(1)
    shelf.add(Loaded(wanted(2), scorer))
    assert shelf.arrange(desired(2), slots).serving[MODEL].production.wanted == wanted(2)


def test_a_staged_version_is_loaded_and_does_not_answer(scorer: Scorer) -> None:
    shelf = Shelf(900)
    shelf.add(Loaded(wanted(2), scorer))
    slots = shelf.arrange(desired(None, staging=2), Slots())
    assert list(desired(None, staging=2).wanted()) == [wanted(2)]
    assert slots.ready
    assert slots.serving == {}


def test_a_rival_scores_beside_the_version_in_production_once_both_are_loaded(scorer: Scorer) -> None:
    shelf = Shelf(900)
    told = desired(1, rival=2, share=0.2)
    assert list(told.wanted()) == [wanted(1), wanted(2)]
    shelf.add(Loaded(wanted(1), scorer))
    assert shelf.arrange(told, Slots()).serving[MODEL].rival is None
    shelf.add(Loaded(wanted(2), scorer))
    rival = shelf.arrange(told, Slots()).serving[MODEL].rival
    assert rival is not None
    assert (rival.loaded.wanted, rival.share, rival.promoted) == (wanted(2), 0.2, False)


def test_a_version_that_waits_for_its_successor_has_no_rival_meanwhile(scorer: Scorer) -> None:
    shelf = Shelf(900)
    shelf.add(Loaded(wanted(1), scorer))
    slots = shelf.arrange(desired(1), Slots())
    watching = shelf.arrange(desired(2, rival=1, promoted=True), slots).serving[MODEL]
    assert (watching.production.wanted, watching.rival) == (wanted(1), None)


def test_a_version_that_is_wanted_twice_is_loaded_once() -> None:
    assert list(desired(1, staging=2, rival=2).wanted()) == [wanted(1), wanted(2)]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValidationError):
        desired(1, rival=2, share=share)


def test_a_model_taken_out_of_service_answers_no_more(scorer: Scorer) -> None:
    shelf = Shelf(900)
    shelf.add(Loaded(wanted(1), scorer))
    slots = shelf.arrange(desired(1), Slots())
    assert shelf.arrange(desired(None), slots).serving == {}
    assert shelf.arrange(DesiredState(), slots).models == frozenset()


def test_a_replaced_version_is_kept_for_its_time_and_a_rollback_starts_it_anew(scorer: Scorer) -> None:
    shelf = Shelf(900)
    shelf.add(Loaded(wanted(1), scorer))
    shelf.add(Loaded(wanted(2), scorer))
    shelf.let_go({wanted(2)}, 0)
    shelf.let_go({wanted(2)}, 899)
    assert wanted(1) in shelf
    shelf.let_go({wanted(1)}, 899.5)
    shelf.let_go({wanted(1)}, 1799)
    assert list(shelf) == [wanted(1), wanted(2)]
    shelf.let_go({wanted(1)}, 1800)
    assert list(shelf) == [wanted(1)]


def test_a_failed_load_is_tried_again_later_each_time_up_to_a_bound() -> None:
    failures = Failures(first_wait=1, longest_wait=5)
    now, waits = 0.0, []
    for _ in range(5):
        failures.record(wanted(1), "bad", now)
        later = now
        while not failures.may_try(wanted(1), later):
            later += 0.5
        waits.append(later - now)
        now = later
    assert waits == [1, 2, 4, 5, 5]
    assert failures.among(desired(1)) == [(wanted(1), "bad")]
    assert failures.among(desired(2)) == []
    assert failures.may_try(wanted(1), 0)


def test_the_saved_desired_state_comes_back_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    cache = DesiredCache(tmp_path / "serving" / "desired.json")
    assert cache.load() is None
    cache.save(desired(1, 2))
    assert cache.load() == desired(1, 2)
    (tmp_path / "serving" / "desired.json").write_bytes(b'{"models": [')
    assert cache.load() is None
