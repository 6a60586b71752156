"""Writing to a real Elasticsearch: every event once, whatever the network and the cluster do."""

from __future__ import annotations

import pytest
from elasticsearch import Elasticsearch

from observability.elastic import streams
from observability.elastic.breaker import Breaker
from observability.elastic.bulk import Bulk
from observability.elastic.client import connect
from observability.events import event_fields, line_of, parse
from observability.ports import LogStoreUnavailable
from tests.event_samples import decision, label, prediction
from tests.servers.elastic import Elastic
from tests.servers.faulty_proxy import Fault, FaultyProxy


@pytest.fixture
def client(elasticsearch: Elastic) -> Elasticsearch:
    settings = elasticsearch.settings()
    client = connect(settings)
    streams.setup(client, settings)
    return client


@pytest.fixture
def bulk(client: Elasticsearch, elasticsearch: Elastic):
    bulk = Bulk(client, elasticsearch.namespace)
    yield bulk
    bulk.close()


@pytest.fixture
def through_proxy(client: Elasticsearch, elasticsearch: Elastic, faulty_proxy: FaultyProxy):
    """Makes a writer with the faulty proxy in between, whose calls may take so long."""
    made = []

    def make(timeout: str = "60s", **how: object) -> Bulk:
        settings = elasticsearch.settings(elasticsearch_urls=(faulty_proxy.url,), elasticsearch_timeout=timeout)
        made.append(Bulk(connect(settings), elasticsearch.namespace, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


def sources(elasticsearch: Elastic, kind: str) -> list[dict]:
    stream = streams.stream_of(kind, elasticsearch.namespace)
    elasticsearch.request("POST", f"/{stream}/_refresh")
    return [hit["_source"] for hit in elasticsearch.request("GET", f"/{stream}/_search")["hits"]["hits"]]


def predictions(count: int, prefix: str = "p") -> list:
    return [prediction(number, f"{prefix}{number:05}") for number in range(count)]


def ids(events: list) -> list[str]:
    return sorted(event.id for event in events)


def test_events_of_each_kind_go_to_their_stream_and_say_when_they_came(bulk, elasticsearch):
    events = [prediction(1, "p1"), label("p1", 1, 5, "l1"), decision(3, reason="stable")]
    assert bulk.append(events, [line_of(event) for event in events]) == []
    for event in events:
        (document,) = sources(elasticsearch, event.kind)
        assert document["event"]["ingested"] > "2021"
        assert event_fields(document)
        assert parse(line_of(event)) == event


def test_appending_again_changes_nothing(bulk, elasticsearch):
    events = predictions(50)
    assert bulk.append(events, fresh=True) == bulk.append(events, fresh=True) == bulk.append(events) == []
    assert elasticsearch.stored("prediction") == ids(events)


def test_an_event_is_stored_once_across_a_rollover_of_its_stream(bulk, client, elasticsearch):
    events = predictions(100)
    bulk.append(events[:60], fresh=True)
    client.indices.rollover(alias=streams.stream_of("prediction", elasticsearch.namespace))
    assert bulk.append(events) == []
    assert elasticsearch.stored("prediction") == ids(events)


def test_what_a_lost_answer_had_stored_is_found_again_across_a_rollover(
    through_proxy, client, elasticsearch, faulty_proxy
):
    events = predictions(20)
    faulty_proxy.next(Fault.TIMEOUT_AFTER)
    with pytest.raises(LogStoreUnavailable, match="unknown"):
        through_proxy("2s").append(events, fresh=True)
    client.indices.rollover(alias=streams.stream_of("prediction", elasticsearch.namespace))
    assert through_proxy().append(events) == []
    assert elasticsearch.stored("prediction") == ids(events)


@pytest.mark.parametrize("fault", [Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.RESET_BEFORE, Fault.RESET_AFTER])
def test_a_call_of_unknown_outcome_is_told_and_a_second_one_stores_each_event_once(
    fault, through_proxy, elasticsearch, faulty_proxy
):
    events = predictions(20)
    faulty_proxy.next(fault)
    with pytest.raises(LogStoreUnavailable):
        through_proxy("2s").append(events, fresh=True)
    assert faulty_proxy.calls == 1
    assert through_proxy().append(events) == []
    assert elasticsearch.stored("prediction") == ids(events)


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.BUSY_ITEMS, Fault.UNAVAILABLE])
def test_what_a_busy_cluster_turns_away_is_offered_again_and_nothing_else(
    fault, through_proxy, elasticsearch, faulty_proxy
):
    events = predictions(40)
    faulty_proxy.next(fault, fault)
    assert through_proxy().append(events, fresh=True) == []
    assert faulty_proxy.calls >= 3
    assert elasticsearch.stored("prediction") == ids(events)


def test_a_cluster_that_stays_busy_is_told_when_patience_ends(through_proxy, elasticsearch, faulty_proxy):
    bulk = through_proxy(patience_seconds=0.5)
    faulty_proxy.plan(lambda: Fault.BUSY_ITEMS)
    with pytest.raises(LogStoreUnavailable, match=r"turns .* documents away .*429"):
        bulk.append(predictions(200), fresh=True)
    faulty_proxy.plan(None)
    assert bulk.append(predictions(200)) == []
    assert elasticsearch.stored("prediction") == ids(predictions(200))


def test_any_sequence_of_faults_ends_with_each_event_stored_once(through_proxy, elasticsearch, faulty_proxy):
    faulty_proxy.at_random(dict.fromkeys(set(Fault) - {Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER}, 0.15))
    bulk = through_proxy(breaker=Breaker(rest_seconds=0.0))
    events, refusals = predictions(1_200), []
    for start in range(0, len(events), 100):
        fresh = True
        while True:
            try:
                refusals += bulk.append(events[start : start + 100], fresh=fresh)
                break
            except LogStoreUnavailable:
                fresh = False
    assert refusals == []
    assert sum(faulty_proxy.happened.values()) > 3
    assert elasticsearch.stored("prediction") == ids(events)


def test_a_document_that_cannot_be_stored_is_refused_with_its_reason_and_hinders_no_other(bulk, elasticsearch):
    too_long = "n" * 33_000
    events = [
        prediction(1, "good"),
        prediction(2, "early", event_time="1901-01-01T00:00:00Z"),
        prediction(3, "wide", version=10**30),
        prediction(4, "long name", features={too_long: 1.0}),
        prediction(5, "not a number").model_copy(update={"score": float("nan")}),
        prediction(6, "good too"),
    ]
    refusals = {refusal.event_id: refusal.reason for refusal in bulk.append(events)}
    assert set(refusals) == {"early", "wide", "long name", "not a number"}
    assert "@timestamp" in refusals["early"]
    assert "version" in refusals["wide"]
    assert "score" in refusals["not a number"]
    assert elasticsearch.stored("prediction") == ["good", "good too"]


def test_large_batches_go_in_bounded_calls_and_lose_nothing(through_proxy, elasticsearch, faulty_proxy):
    bulk = through_proxy()
    events = [prediction(n, f"p{n:05}", raw={"text": "x" * 4_000}) for n in range(3_000)]
    assert bulk.append(events, [line_of(event) for event in events], fresh=True) == []
    assert faulty_proxy.calls >= 3
    assert len(elasticsearch.stored("prediction")) == 3_000


def test_a_value_that_no_index_holds_is_kept_all_the_same(bulk, elasticsearch):
    text = "ß" * 40_000
    assert bulk.append([prediction(1, "p1", raw={"text": text, "count": 10**30}, features={"text": text})]) == []
    (document,) = sources(elasticsearch, "prediction")
    assert document["driftgate"]["raw"]["text"] == text
    assert document["driftgate"]["raw"]["count"] == pytest.approx(1e30)


def test_an_outage_is_told_and_what_was_appended_before_survives_it(bulk, elasticsearch):
    bulk.append([prediction(1, "p1")], fresh=True)
    elasticsearch.server.kill()
    with pytest.raises(LogStoreUnavailable, match="cannot be reached"):
        bulk.append([prediction(2, "p2")], fresh=True)
    elasticsearch.start()
    assert bulk.append([prediction(2, "p2"), prediction(1, "p1")]) == []
    assert elasticsearch.stored("prediction") == ["p1", "p2"]


def test_a_node_that_is_away_stops_neither_questions_nor_writing(client, elasticsearch):
    settings = elasticsearch.settings(elasticsearch_urls=("http://127.0.0.1:1", elasticsearch.url))
    several = connect(settings)
    for _ in range(3):
        assert several.cluster.health()["number_of_nodes"] == 1
    bulk = Bulk(connect(settings), elasticsearch.namespace)
    for number in range(4):
        try:
            bulk.append([prediction(number, f"p{number}")])
        except LogStoreUnavailable:  # the next call goes to the other node
            bulk.append([prediction(number, f"p{number}")])
    assert elasticsearch.stored("prediction") == ["p0", "p1", "p2", "p3"]
    bulk.close()


def test_a_server_that_hangs_is_left_alone_after_three_calls(through_proxy, elasticsearch, faulty_proxy):
    now = [100.0]
    breaker = Breaker(clock=lambda: now[0])
    bulk = through_proxy("1s", breaker=breaker)
    faulty_proxy.plan(lambda: Fault.TIMEOUT_BEFORE)
    for _ in range(5):
        with pytest.raises(LogStoreUnavailable):
            bulk.append([prediction(1, "p1")], fresh=True)
    assert faulty_proxy.calls == 3
    faulty_proxy.plan(None)
    with pytest.raises(LogStoreUnavailable, match="left alone"):
        bulk.append([prediction(1, "p1")], fresh=True)
    now[0] += 1.0
    assert through_proxy(breaker=breaker).append([prediction(1, "p1")]) == []
    assert elasticsearch.stored("prediction") == ["p1"]
