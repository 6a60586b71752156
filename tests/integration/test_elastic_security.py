"""Privileges and certificates on a real, secured Elasticsearch: what docs/operations.md names is enough, not more."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from deploy.setup import grant
from observability.documents import document_of
from observability.elastic import streams
from observability.elastic.bulk import Bulk
from observability.elastic.client import connect
from observability.elastic.store import ElasticLogStore
from observability.ports import LogStoreUnavailable, Span
from observability.settings import Settings
from observability.windows import Cursor
from tests.event_samples import MODEL, at, prediction
from tests.servers.elasticsearch_secured import SecuredElasticsearch, write_certificates

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
SPAN = Span(MODEL, 1, Cursor.before(at(-1)), Cursor.before(at(100)))


def roles_of_the_docs() -> dict:
    """The privileges that the page names for each key, for every namespace of these tests."""
    roles = re.search(r"```json\n(\{.*?\})\n```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return orjson.loads(roles[1].replace("NAMESPACE", "secured_*"))


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredElasticsearch]:
    logstash = orjson.dumps(grant.LOGSTASH).decode().replace("NAMESPACE", "secured_*")
    server = SecuredElasticsearch({**roles_of_the_docs(), "logstash": orjson.loads(logstash)})
    yield server
    server.server.close()


@pytest.fixture
def settings(secured: SecuredElasticsearch) -> Settings:
    return Settings(
        store="elasticsearch",
        namespace=f"secured_{time.time_ns():x}",
        elasticsearch_urls=(secured.url,),
        elasticsearch_ca_cert=secured.authority,
    )


@pytest.fixture
def client_of(secured: SecuredElasticsearch, settings: Settings):
    return lambda role: secured.as_user(connect(settings), role)


@pytest.fixture
def store_of(client_of, settings: Settings):
    return lambda role: ElasticLogStore(client_of(role), settings)


def test_the_keys_of_the_docs_are_enough_for_setup_shipping_and_reading(secured, settings, client_of, store_of):
    assert streams.setup(client_of("setup"), settings)
    shipper, events = store_of("ship"), [prediction(number, f"p{number}") for number in range(20)]
    assert shipper.append(events[:10], fresh=True) == shipper.append(events) == []
    secured.request("POST", f"/{streams.stream_of('prediction', settings.namespace)}/_refresh")
    reader = store_of("read")
    assert reader.rollup(SPAN).rows == reader.rollup(SPAN).rows == 20
    assert len(reader.sample(SPAN, 5).frame) == 5
    assert reader.watermark(MODEL) == at(19)
    changed = settings.model_copy(update={"elasticsearch_shards": 2})
    assert streams.setup(client_of("setup"), changed)[-1].startswith("rollover")


def test_a_shipper_can_neither_change_nor_delete_what_is_there(secured, settings, client_of, store_of):
    streams.setup(client_of("setup"), settings)
    store_of("ship").append([prediction(1, "p1")])
    stream, client = streams.stream_of("prediction", settings.namespace), client_of("ship")
    (index,) = secured.request("GET", f"/{stream}/_mapping")
    for forbidden in (
        lambda: client.delete(index=index, id="p1"),
        lambda: client.index(index=index, id="p1", if_seq_no=0, if_primary_term=1, document={}),
        lambda: client.update(index=index, id="p1", doc={"driftgate": {}}),
        lambda: client.indices.delete(index=index),
        lambda: client.indices.put_settings(index=stream, settings={"index.blocks.write": True}),
        lambda: client.search(index="logs-driftgate.prediction-another"),
        lambda: streams.setup(client, settings.model_copy(update={"elasticsearch_shards": 2})),
    ):
        with pytest.raises(Exception, match=r"security_exception|unauthorized"):
            forbidden()


def test_the_key_of_logstash_is_enough_to_create_documents_and_not_more(settings, client_of, store_of):
    streams.setup(client_of("setup"), settings)
    client, stream = client_of("logstash"), streams.stream_of("prediction", settings.namespace)
    assert client.cluster.health()["number_of_nodes"] == 1
    documents = [{"create": {"_id": "p1"}}, document_of(prediction(1, "p1").model_dump(mode="json"))]
    for status in (201, 409):
        (item,) = client.bulk(index=stream, operations=documents, refresh=False)["items"]
        assert item["create"]["status"] == status
    (index,) = client_of("read").indices.get_mapping(index=stream)
    for forbidden in (
        lambda: client.delete(index=index, id="p1"),
        lambda: client.search(index=stream),
        lambda: client.indices.delete(index=index),
        lambda: client.index(index="logs-driftgate.prediction-another", op_type="create", document=documents[1]),
    ):
        with pytest.raises(Exception, match=r"security_exception|unauthorized"):
            forbidden()


def test_a_reader_cannot_write_events(settings, client_of):
    streams.setup(client_of("setup"), settings)
    with pytest.raises(LogStoreUnavailable, match="privileges"):
        Bulk(client_of("read"), settings.namespace).append([prediction(1, "p1")], fresh=True)


def test_a_shipper_without_the_templates_writes_nothing_at_all(secured, settings, store_of):
    with pytest.raises(LogStoreUnavailable, match="logs setup"):
        store_of("ship").append([prediction(1, "p1")])
    found = secured.request("GET", f"/_resolve/index/logs-driftgate*{settings.namespace}")
    assert found["data_streams"] == []


@pytest.mark.parametrize("key", [None, "bm90OmFrZXk="])
def test_without_a_key_or_with_an_unknown_one_it_is_told_that_the_key_is_wrong(key, settings):
    store = ElasticLogStore.connect(Settings(**settings.model_dump() | {"elasticsearch_api_key": key}))
    with pytest.raises(LogStoreUnavailable, match="API_KEY"):
        store.watermark(MODEL)


@pytest.mark.parametrize("authority", [None, "ca.crt"])
def test_a_node_whose_certificate_is_of_another_authority_is_not_trusted(authority, settings, tmp_path):
    write_certificates(tmp_path)
    other = tmp_path / authority if authority else None
    store = ElasticLogStore.connect(settings.model_copy(update={"elasticsearch_ca_cert": other}))
    with pytest.raises(LogStoreUnavailable, match="CA_CERT"):
        store.watermark(MODEL)
