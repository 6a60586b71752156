"""The pages show of which segment a window is, what it was compared with, and what came late."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from controlplane.access.auth import Authenticator
from controlplane.access.tokens import mint
from controlplane.api import Parts, create_app
from controlplane.ui.pages import mount
from tests.controlplane_world import DRIFT, MODEL, WEEKLY, World, spec

PAGE = f"/models/{MODEL}"
SEASONAL = {
    "kind": "seasonal", "rows": 4_321, "sampled": 2_000, "reason": None,
    "spans": [{"after": "2020-12-25T00:00:00+00:00", "until": "2020-12-25T01:00:00+00:00"}],
}  # fmt: skip
FEW = SEASONAL | {"rows": 12, "reason": "cannot tell: the reference has 12 rows, 30 are needed"}
VOLUME = {"rows": 100, "latency_ms": {"p50": 1.5, "p95": 2.5, "p99": 80.0}, "predictions_per_minute": 1.667}


@pytest.fixture
def world(tmp_path):
    segments = [{"feature": "place", "values": ["x", "y & z"]}]
    world = World(tmp_path, spec([DRIFT], monitors=[WEEKLY | {"segments": segments}]))
    world.to_production()
    return world


@pytest.fixture
def client(world):
    token = mint()
    world.store.create_token(token, "viewer", "viewer", "read", None)
    parts = Parts(world.store, world.blobs, world.clock, Authenticator(world.store))
    headers = {"Accept": "text/html", "Authorization": f"Bearer {token.secret}"}
    with TestClient(create_app(parts, [mount]), headers=headers) as client:
        yield client


def windows_on(text: str) -> set[str]:
    return set(re.findall(r"/windows/(w-[0-9a-f]+)", text))


def test_a_models_page_is_of_whole_windows_unless_a_segment_is_chosen(world, client):
    whole = world.window(1, 0).id
    part = world.window(1, 0, segment="place=y & z", reference=SEASONAL).id

    page = client.get(PAGE).text
    assert windows_on(page) == {whole}
    assert "segment=place%3Dy%20%26%20z" in page
    chosen = client.get(f"{PAGE}?monitor=weekly&segment=place%3Dy%20%26%20z").text
    assert windows_on(chosen) == {part}
    assert "Newest windows of place=y &amp; z" in chosen and "seasonal" in chosen
    assert windows_on(client.get(f"{PAGE}?segment=place%3Dnone").text) == {whole}


def test_a_windows_page_says_what_it_was_compared_with_what_is_exact_and_what_came_late(world, client):
    first = world.window(1, 0, segment="place=x", reference=SEASONAL, volume=VOLUME)
    world.window(1, 1)
    second = world.window(1, 2, segment="place=x")
    world.store.rescore_window(first.id, 20, first.verdict, True, world.clock.now(), 3)
    world.store.count_late(first.id, 25, 3, None)

    page = " ".join(client.get(f"{PAGE}/windows/{first.id}").text.split())
    assert "segment <b>place=x</b>" in page and "a seasonal reference" in page
    assert "2020-12-25 00:00 to 2020-12-25 01:00 (UTC): 4 321 predictions" in page
    assert "3 predictions, 5 labels" in page and "p99 80" in page
    assert windows_on(page) == {second.id}, "beside it are windows of the same segment"
    assert "/report" not in page, "nothing of it was compared"


def test_a_window_that_was_compared_leads_to_evidentlys_report_of_it(world, client):
    compared = {"method": "ks", "score": 0.2, "threshold": 0.05, "drifted": False, "missing_share": 0.0}
    row = world.window(1, 0, features={"followers": compared | {"reference_missing_share": 0.0}})
    assert f'href="/api/v1{PAGE}/windows/{row.id}/report"' in client.get(f"{PAGE}/windows/{row.id}").text


def test_what_could_not_be_compared_is_not_called_steady(world, client):
    world.window(1, 0, drifted_share=None, reference=FEW)
    world.clock.advance(timedelta(hours=2))
    page = client.get(PAGE).text
    assert "cannot tell" in page and "the reference has 12 rows, 30 are needed" in page
    assert ">steady<" not in page


def test_a_window_that_a_bug_made_says_which_one_and_what_undoes_it(world, client):
    told = "distance is 1.61 times what it was, as <miles> against kilometres"
    bug = {
        "cause": "bug", "bug": "unit", "columns": ["distance"], "explanation": told,
        "ranked": [{"feature": "distance", "drift_share": 0.9, "loss_share": None}],
    }  # fmt: skip
    window = world.window(
        1, 0, drifted_share=0.1, diagnosis=bug,
        quality={"findings": [{"check": "missing", "said": "place is missing in 40 % of the rows"}]},
        estimate={"error": 0.21, "low": 0.19, "high": 0.23},
        features={"distance": {"method": "calibrated", "score": 1e-9, "threshold": 0.03, "drifted": True}},
    )  # fmt: skip
    page = " ".join(client.get(f"{PAGE}/windows/{window.id}").text.split())
    assert "looks like a bug in the data" in page and "<b>unit</b> in distance" in page
    assert "as &lt;miles&gt; against kilometres" in page and "place is missing in 40 % of the rows" in page
    assert "21.0 % wrong answers (19.0 % to 23.0 %)" in page or "21.0% wrong answers (19.0% to 23.0%)" in page
    assert "data broken" in client.get(PAGE).text
