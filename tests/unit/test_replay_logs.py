"""Where a demo keeps its events."""

from __future__ import annotations

import pytest

from controlplane.replay.logs import log_settings, refuse_unusable
from controlplane.replay.source import ReplayRefused

URL = "http://127.0.0.1:9200"


def test_a_demo_that_asks_for_no_store_has_the_one_of_the_environment():
    assert log_settings(None, None, {}) == {}
    assert log_settings("embedded", None, {"OBSERVABILITY_STORE": "elasticsearch"}) == {
        "OBSERVABILITY_STORE": "embedded"
    }
    there = {"OBSERVABILITY_STORE": "elasticsearch", "OBSERVABILITY_ELASTICSEARCH_URLS": URL}
    assert log_settings(None, None, there)["OBSERVABILITY_ELASTICSEARCH_URLS"] == URL


def test_each_demo_on_elasticsearch_has_a_namespace_of_its_own_unless_one_is_named():
    one, other = (log_settings("elasticsearch", URL, {}) for _ in range(2))
    assert one["OBSERVABILITY_NAMESPACE"] != other["OBSERVABILITY_NAMESPACE"]
    named = log_settings("elasticsearch", URL, {"OBSERVABILITY_NAMESPACE": "mine"})
    assert named["OBSERVABILITY_NAMESPACE"] == "mine"


@pytest.mark.parametrize(
    ("store", "url", "words"), [("elasticsearch", None, "--url"), (None, URL, "--store"), ("embedded", URL, "--store")]
)
def test_half_of_an_address_is_refused_with_what_is_missing(store, url, words):
    with pytest.raises(ReplayRefused, match=words):
        log_settings(store, url, {})


def test_an_address_that_is_none_is_refused_before_anything_is_asked():
    with pytest.raises(ReplayRefused, match=r"example\.com"):
        refuse_unusable(log_settings("elasticsearch", "example.com", {}), "default/tweets")
