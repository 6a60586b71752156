"""What callers learn when Elasticsearch does not do what it was asked, and what is sent to it."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import elastic_transport
import elasticsearch
import pytest
from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders, NodeConfig
from elastic_transport._node._base import DEFAULT, NodeApiResponse
from hypothesis import given
from hypothesis import strategies as st

from observability.elastic import streams
from observability.elastic.breaker import Breaker
from observability.elastic.bulk import Bulk
from observability.elastic.client import answering, connect
from observability.elastic.operations import MOST_BYTES, Operation, chunks, with_ingested
from observability.events import line_of, parse
from observability.ports import LogStoreUnavailable, Refusal
from observability.settings import Settings
from tests.event_samples import prediction

META = ApiResponseMeta(503, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "localhost", 9200))


class ScriptedNode(BaseNode):
    """Answers each request with the next of `script`, and keeps what it was asked."""

    script: list[tuple[int, object]]
    asked: list[tuple[str, str, object]]

    def perform_request(self, method, target, body=None, headers=None, request_timeout=DEFAULT):
        self.asked.append((method, target, body))
        status, answer = self.script.pop(0) if self.script else (200, {})
        told = HttpHeaders({"x-elastic-product": "Elasticsearch", "content-type": "application/json"})
        return NodeApiResponse(ApiResponseMeta(status, "1.1", told, 0.0, self.config), json.dumps(answer).encode())


def scripted(*script: tuple[int, object]) -> tuple[elasticsearch.Elasticsearch, list[tuple[str, str, object]]]:
    node = type("Node", (ScriptedNode,), {"script": list(script), "asked": []})
    client = elasticsearch.Elasticsearch(
        "http://localhost:9200", node_class=node, max_retries=0, retry_on_status=(), retry_on_timeout=False
    )
    return client, node.asked


def item(status: int, kind: str = "", reason: str = "") -> dict:
    return {"create": {"status": status, **({"error": {"type": kind, "reason": reason}} if kind else {})}}


def test_every_error_of_the_client_is_one_of_the_port_and_says_what_to_do():
    classes = {
        each
        for module in (elasticsearch, elastic_transport)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Exception) and not issubclass(each, Warning)
    }
    assert len(classes) > 10
    for each in classes:
        of_answers = issubclass(each, elastic_transport.ApiError)
        error = each("so", META, {"error": "so"}) if of_answers else each("so")
        with pytest.raises(LogStoreUnavailable, match=r"^Elasticsearch: \w.*\(\w+:"), answering():
            raise error


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "API key"), (403, "privileges"), (404, "logs setup"), (429, "busy"), (500, "busy"), (400, "logs setup")],
)
def test_a_status_becomes_advice(status, advice):
    client, _ = scripted((status, {"error": {"type": "some_exception", "reason": "so"}}))
    with pytest.raises(LogStoreUnavailable, match=advice), answering():
        client.search(index="x")


def test_a_key_and_an_authority_are_used_and_the_key_is_never_shown():
    settings = Settings(
        elasticsearch_urls=("https://a.example.com:9200", "https://b.example.com:9200"), elasticsearch_api_key="secret"
    )
    client = connect(settings)
    assert client._headers["authorization"] == "ApiKey secret"
    assert "secret" not in repr(client) + repr(settings)
    assert {node.config.host for node in client.transport.node_pool.all()} == {"a.example.com", "b.example.com"}
    assert all(node.config.verify_certs for node in client.transport.node_pool.all())


@pytest.mark.parametrize(
    "url", ["es.example.com:9200", "https://es.example.com", "https://me:secret@es.example.com:9200", "https://es:x"]
)
def test_an_address_that_no_client_could_use_is_refused_at_the_start(url):
    with pytest.raises(ValueError, match="host and port") as refused:
        Settings(elasticsearch_urls=(url,))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "status", [(401, "security_exception"), (403, "security_exception"), (404, "index_not_found_exception")]
)
def test_a_refusal_that_is_no_fault_of_the_document_makes_no_dead_letter(status):
    client, _ = scripted((200, {"errors": True, "items": [item(*status, "not you")]}))
    with pytest.raises(LogStoreUnavailable, match="not you"):
        Bulk(client, "default").append([prediction(1, "p1")], fresh=True)


def test_a_cluster_without_room_for_a_stream_makes_no_dead_letter():
    full = item(400, "validation_exception", "this action would add [2] shards")
    client, _ = scripted((200, {"errors": True, "items": [full]}))
    with pytest.raises(LogStoreUnavailable, match="shards"):
        Bulk(client, "default").append([prediction(1, "p1")], fresh=True)


def test_a_call_that_is_too_large_is_halved_until_the_one_that_is_too_large_stands_alone():
    too_large, stored = (413, {}), item(201)
    client, asked = scripted(
        too_large, (200, {"items": [stored] * 2}), too_large, too_large, (200, {"items": [stored]})
    )
    refusals = Bulk(client, "default").append([prediction(n, f"p{n}") for n in range(4)], fresh=True)
    assert [refusal.event_id for refusal in refusals] == ["p2"]
    assert len(asked) == 5


def test_half_an_answer_is_no_answer():
    client, _ = scripted((200, {"items": [item(201)]}), (200, {}))
    bulk = Bulk(client, "default")
    for _ in range(2):
        with pytest.raises(LogStoreUnavailable, match="documents of 2"):
            bulk.append([prediction(1, "p1"), prediction(2, "p2")], fresh=True)


def test_a_call_asks_for_creation_in_the_kinds_stream_and_for_short_answers():
    client, asked = scripted((200, {"items": [item(201)]}))
    event = prediction(1, 'p"1')
    assert Bulk(client, "default").append([event], [line_of(event)], fresh=True) == []
    ((method, target, body),) = asked
    assert (method, target.partition("?")[0]) == ("PUT", "/_bulk")
    assert "filter_path=items" in target
    action, document = body.decode().splitlines()
    assert json.loads(action) == {"create": {"_index": "logs-driftgate.prediction-default", "_id": 'p"1'}}
    assert parse(document.encode()) == event


def test_ids_are_looked_for_only_where_somebody_may_have_written_them_before():
    client, asked = scripted((200, {}), (200, {"hits": {"hits": [{"_id": "p1"}]}}), (200, {"items": [item(201)]}))
    bulk = Bulk(client, "default")
    assert bulk.append([prediction(1, "p1"), prediction(2, "p2")]) == []
    assert [target.partition("?")[0].rpartition("/")[2] for _, target, _ in asked] == ["_refresh", "_search", "_bulk"]
    assert b'"p1"' not in asked[2][2]


def test_a_stream_that_exists_gets_its_retention_where_the_cluster_has_lifecycles():
    client, asked = scripted()
    told = streams._keep_for(client, "logs-driftgate.label-default", timedelta(days=10))
    assert told == ["retention of logs-driftgate.label-default"]
    ((method, target, body),) = asked
    assert (method, target) == ("PUT", "/_data_stream/logs-driftgate.label-default/_lifecycle")
    assert json.loads(body) == {"data_retention": "864000s"}


def test_each_kind_is_kept_as_long_as_the_settings_say():
    settings = Settings(retention="10d", service_retention="2d", namespace="n")
    kept = {kind: streams.retention_of(streams.stream_of(kind, "n"), settings) for kind in streams.KINDS}
    assert kept.pop("prediction") == kept.pop("label") == timedelta(days=10)
    assert kept.pop("service") == timedelta(days=2)
    assert set(kept.values()) == {None}
    bodies = {each.name: each.body for each in streams.templates(settings)}
    assert bodies["logs-driftgate.label-n"]["template"]["lifecycle"] == {"data_retention": "864000s"}


@given(st.lists(st.integers(1, 2 * MOST_BYTES), max_size=30), st.integers(1, 4))
def test_calls_hold_every_operation_once_in_order_and_are_bounded(sizes, at_once):
    class Sized(bytes):
        def __new__(cls, size):
            made = super().__new__(cls)
            made.size = size
            return made

        def __len__(self):
            return self.size

    operations = [Operation("s", str(place), Sized(size)) for place, size in enumerate(sizes)]
    made = list(chunks(operations, at_once))
    assert [each.id for each in itertools.chain(*made)] == [each.id for each in operations]
    assert all(len(call) == 1 or sum(len(each.data) for each in call) <= MOST_BYTES for call in made)


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":{"id":"a","ingested":"1999-01-01T00:00:00Z"},"driftgate":{}}',
        b'{"driftgate":{"raw":{"event":"x"}}, "event": {"id": "a"}}',
        b'{"driftgate":{"decision":{"event":{"id":"b"}}},"event":{"id":"a"}}',
        b'{"driftgate":{"raw":{"text":"\\"event\\":{\\"id\\""}},"event":{"id":"a"}}',
    ],
)
def test_the_instant_of_arrival_is_put_where_it_belongs_whatever_the_line_looks_like(line):
    before, after = json.loads(line), json.loads(with_ingested(line, "2021-01-16T10:00:00Z"))
    assert after["event"] == {**before["event"], "ingested": "2021-01-16T10:00:00Z"}
    assert after["driftgate"] == before["driftgate"]


def fail(error: Exception | None) -> None:
    if error is not None:
        raise error


def test_a_breaker_opens_after_three_failures_tries_one_and_closes_after_a_success():
    now = [0.0]
    breaker = Breaker(clock=lambda: now[0], draw=lambda: 1.0)

    def call(error: Exception | None = None) -> str:
        try:
            with breaker.guard():
                fail(error)
        except LogStoreUnavailable as told:
            return str(told)
        return "done"

    away = LogStoreUnavailable("away")
    assert [call(away) for _ in range(3)] == ["away"] * 3
    assert call().startswith("left alone for another 1.0 s after 3 failures in a row; the last: away")
    now[0] = 1.0
    assert call(away) == "away"
    now[0] = 2.9
    assert call().startswith("left alone")
    now[0] = 3.0
    assert call() == call() == "done"
    assert call(away) == "away"
    assert call() == "done"


def test_refusals_come_in_the_order_of_the_events():
    refused = item(400, "document_parsing_exception", "no")
    client, _ = scripted((200, {"items": [item(201), refused, refused]}))
    odd = prediction(0, "odd").model_copy(update={"score": float("nan")})
    found = Bulk(client, "n").append([odd, *(prediction(n, f"p{n}") for n in range(3))], fresh=True)
    assert [refusal.event_id for refusal in found] == ["odd", "p1", "p2"]
    assert found[1] == Refusal("p1", "no")
