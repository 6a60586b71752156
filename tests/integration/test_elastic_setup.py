"""The data streams' templates on a real Elasticsearch."""

from __future__ import annotations

import json
from datetime import timedelta

import pandas as pd
import pytest
from typer.testing import CliRunner

from observability.elastic import streams
from observability.elastic.bulk import Bulk
from observability.elastic.client import connect
from observability.elastic.store import ElasticLogStore
from observability.ports import Span
from observability.windows import Cursor
from tests.event_samples import MODEL, START, at, decision, label, prediction
from tests.servers.elastic import Elastic


def mapping(elasticsearch: Elastic, kind: str) -> dict:
    """That of the stream's newest backing index."""
    found = elasticsearch.request("GET", f"/{streams.stream_of(kind, elasticsearch.namespace)}/_mapping")
    return found[max(found)]["mappings"]


def hits(elasticsearch: Elastic, kind: str, query: dict) -> int:
    stream = streams.stream_of(kind, elasticsearch.namespace)
    elasticsearch.request("POST", f"/{stream}/_refresh")
    return elasticsearch.request("GET", f"/{stream}/_count", {"query": query})["count"]


@pytest.fixture
def client(elasticsearch: Elastic):
    return connect(elasticsearch.settings())


@pytest.fixture
def bulk(client, elasticsearch):
    bulk = Bulk(client, elasticsearch.namespace)
    yield bulk
    bulk.close()


def test_setting_up_twice_does_nothing_the_second_time(client, elasticsearch):
    settings = elasticsearch.settings()
    to_do = streams.pending(client, settings)
    assert streams.setup(client, settings) == to_do
    assert len(to_do) == 1 + len(streams.MADE_BY)
    assert streams.setup(client, settings) == streams.pending(client, settings) == []


def test_two_installations_share_a_cluster_and_leave_each_other_alone(client, elasticsearch):
    other = elasticsearch.settings(namespace=elasticsearch.namespace + "_other", retention="10d")
    streams.setup(client, elasticsearch.settings())
    streams.setup(client, other)
    assert streams.pending(client, elasticsearch.settings()) == streams.pending(client, other) == []


def test_new_settings_take_a_stream_on_and_keep_what_it_holds(client, bulk, elasticsearch):
    streams.setup(client, elasticsearch.settings())
    bulk.append([prediction(1, "p1")])
    changed = elasticsearch.settings(elasticsearch_shards=2)
    stream = streams.stream_of("prediction", elasticsearch.namespace)
    assert f"rollover of {stream}" in streams.setup(client, changed)
    assert streams.setup(client, changed) == []
    bulk.append([prediction(2, "p2")])
    assert hits(elasticsearch, "prediction", {"match_all": {}}) == 2
    found = elasticsearch.request("GET", f"/{stream}/_settings")
    assert found[max(found)]["settings"]["index"]["number_of_shards"] == "2"


def test_a_setup_that_died_before_the_rollover_is_finished_by_the_next(client, bulk, elasticsearch):
    streams.setup(client, elasticsearch.settings())
    bulk.append([prediction(1, "p1")])
    changed = elasticsearch.settings(elasticsearch_shards=2)
    for template in streams._wanting(client, changed):
        streams._put(client, template)
    assert streams.pending(client, changed) == [
        f"rollover of {streams.stream_of('prediction', elasticsearch.namespace)}"
    ]
    streams.setup(client, changed)
    assert streams.pending(client, changed) == []


def test_a_stream_that_was_there_before_its_template_is_taken_on(client, bulk, elasticsearch):
    stream = streams.stream_of("prediction", elasticsearch.namespace)
    foreign = {"index_patterns": [f"logs-*-{elasticsearch.namespace}"], "data_stream": {}, "priority": 100}
    elasticsearch.request("PUT", f"/_index_template/{elasticsearch.namespace}-foreign", foreign)
    elasticsearch.request("PUT", f"/{stream}/_create/1", {"@timestamp": "2021-01-16T10:00:00Z", "message": "early"})
    assert f"rollover of {stream}" in streams.setup(client, elasticsearch.settings())
    bulk.append([prediction(1, "p1")])
    assert mapping(elasticsearch, "prediction")["properties"]["@timestamp"]["type"] == "date_nanos"
    elasticsearch.request("DELETE", f"/_index_template/{elasticsearch.namespace}-foreign")


def test_decimals_never_reach_an_index_of_whole_labels_and_what_that_holds_stays(client, elasticsearch, monkeypatch):
    with monkeypatch.context() as earlier:
        whole = streams.properties(**streams._SAMPLED, prediction_id=streams.KEYWORD, label=streams.COUNT)
        earlier.setattr(streams, "_LABEL", {"driftgate": whole})
        earlier.setattr(streams, "SCHEMA", 1)
        release_before = ElasticLogStore.connect(elasticsearch.settings(), refresh=True)
        release_before.append([prediction(1, "p1"), label("p1", 1, 5), prediction(2, "p2"), label("p2", 0, 5)])
    store = ElasticLogStore.connect(elasticsearch.settings(), refresh=True)
    store.append([prediction(3, "p3"), label("p3", 3.7, 6), label("p2", -0.25, 7)])
    with monkeypatch.context() as earlier:
        earlier.setattr(streams, "SCHEMA", 1)
        earlier.setattr(streams, "_LABEL", {"driftgate": whole})
        assert not [done for done in streams.setup(client, elasticsearch.settings()) if "label" in done]
    span = Span(MODEL, 1, Cursor.before(START), Cursor.before(START + timedelta(days=1)))
    frame = store.sample(span, 9).frame
    assert dict(zip(frame["id"], frame["label"], strict=True)) == {"p1": 1, "p2": -0.25, "p3": 3.7}
    arrived = pd.concat(store.labels(MODEL, START))["label"]
    assert sorted(arrived) == [-0.25, 0, 1, 3.7]
    assert hits(elasticsearch, "label", {"range": {"driftgate.label": {"gt": 3.5}}}) == 1, "kept, and searched as it is"
    assert mapping(elasticsearch, "label")["properties"]["driftgate"]["properties"]["label"]["type"] == "double"
    release_before.close()
    store.close()


def test_features_that_nobody_declared_add_no_field_to_the_mapping(client, bulk, elasticsearch):
    streams.setup(client, elasticsearch.settings())
    bulk.append([prediction(0, "p0")])
    before = mapping(elasticsearch, "prediction")
    unknown = [
        prediction(
            n, f"p{n}", features={f"f{n}_{m}": m for m in range(100)}, raw={f"r{n}_{m}": "x" for m in range(100)}
        )
        for n in range(1, 30)
    ]
    assert bulk.append(unknown) == []
    assert mapping(elasticsearch, "prediction") == before
    assert hits(elasticsearch, "prediction", {"term": {"driftgate.features.f7_42": "42"}}) == 1


def test_instants_are_told_apart_by_microseconds(client, bulk, elasticsearch):
    streams.setup(client, elasticsearch.settings())
    bulk.append([prediction(1.000001, "p1"), prediction(1.000002, "p2")])
    later = {"range": {"@timestamp": {"gt": at(1.000001).isoformat()}}}
    assert hits(elasticsearch, "prediction", later) == 1


def test_a_sample_is_found_by_number(client, bulk, elasticsearch):
    streams.setup(client, elasticsearch.settings())
    events = [prediction(n, f"p{n}") for n in range(64)]
    bulk.append([*events, *(label(event.id, 1, 99) for event in events)])
    bound = sorted(int(event.sample_key, 16) >> 11 for event in events)[16]
    for kind in ("prediction", "label"):
        assert hits(elasticsearch, kind, {"range": {"driftgate.sample_point": {"lt": bound}}}) == 16


def test_a_control_event_is_kept_although_a_number_in_it_is_none(client, bulk, elasticsearch):
    streams.setup(client, elasticsearch.settings())
    odd = decision(1, reason="stable", cause="w1", numbers={"a": 1})
    gate = odd.model_copy(update={"kind": "gate", "id": "g1", "body": {"version": "seven", "passed": "perhaps"}})
    assert bulk.append([odd, gate]) == []
    assert hits(elasticsearch, "decision", {"term": {"driftgate.decision.reason": "stable"}}) == 1
    assert hits(elasticsearch, "gate", {"match_all": {}}) == 1


def test_every_field_that_code_names_is_typed_and_none_is_dynamic(client, elasticsearch):
    streams.setup(client, elasticsearch.settings())
    for template in elasticsearch.request("GET", f"/_index_template/*-{elasticsearch.namespace}")["index_templates"]:
        held = template["index_template"]["template"]
        assert held["mappings"]["dynamic"] is False or held["mappings"]["dynamic"] == "false"
        assert held["mappings"]["properties"]["@timestamp"]["type"] == "date_nanos"
        assert template["index_template"]["priority"] > 100


def test_the_command_sets_up_and_says_what_is_missing(elasticsearch, monkeypatch, tmp_path):
    from controlplane.cli import app

    for name, value in {
        "OBSERVABILITY_STORE": "elasticsearch",
        "OBSERVABILITY_ELASTICSEARCH_URLS": elasticsearch.url,
        "OBSERVABILITY_NAMESPACE": elasticsearch.namespace,
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, dict]:
        ran = CliRunner().invoke(app, ["logs", "setup", "--json", *arguments])
        return ran.exit_code, json.loads(ran.stdout)

    code, told = run("--check")
    assert (code, len(told["missing"])) == (1, 1 + len(streams.MADE_BY))
    code, told = run()
    assert (code, len(told["done"])) == (0, 1 + len(streams.MADE_BY))
    assert run("--check") == (0, {"missing": []})
