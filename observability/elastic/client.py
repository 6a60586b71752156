"""The client of Elasticsearch, and what its errors mean to those who use a log store.

All of them become one error of the port, `LogStoreUnavailable`, whose message says what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import elastic_transport
import elasticsearch
from elasticsearch import Elasticsearch, OrjsonSerializer

from observability.ports import LogStoreUnavailable
from observability.settings import Settings

#: connections to each node: the threads of the writer, and questions beside them
CONNECTIONS: Final = 8
#: a node that failed is left alone for so long, at first and at most
_DEAD_SECONDS, _LONGEST_DEAD_SECONDS = 0.5, 15.0
_BY_STATUS: Final = {
    401: "it does not know the API key: give another one in OBSERVABILITY_ELASTICSEARCH_API_KEY",
    403: "the API key has not the privileges that docs/operations.md names, or `driftgate logs setup` was not run",
    404: "it has no such index: run `driftgate logs setup`",
    413: "the request is too large: raise http.max_content_length there",
}
_BUSY: Final = "it is busy; the call is made again later"
_REFUSED: Final = "it refuses the request: run `driftgate logs setup --check`, and compare its version with the docs"


def connect(settings: Settings) -> Elasticsearch:
    """A client of the cluster that the settings name; nothing is asked of it yet.

    A question goes to the next node where one does not take the connection. What fails otherwise is the caller's to
    try again: nothing is repeated unseen.
    """
    key, authority = settings.elasticsearch_api_key, settings.elasticsearch_ca_cert
    secured: dict[str, Any] = {"ca_certs": str(authority)} if authority is not None else {}
    return Elasticsearch(
        list(settings.elasticsearch_urls),
        api_key=key.get_secret_value() if key is not None else None,
        request_timeout=settings.elasticsearch_timeout.total_seconds(),
        max_retries=len(settings.elasticsearch_urls) - 1,
        retry_on_status=(),
        retry_on_timeout=False,
        connections_per_node=CONNECTIONS,
        dead_node_backoff_factor=_DEAD_SECONDS,
        max_dead_node_backoff=_LONGEST_DEAD_SECONDS,
        serializers={"application/json": OrjsonSerializer()},
        **secured,
    )


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Ask inside; whatever goes wrong between here and Elasticsearch is LogStoreUnavailable."""
    try:
        yield
    except (elastic_transport.TransportError, elastic_transport.ApiError) as error:
        raise LogStoreUnavailable(f"Elasticsearch: {_advice(error)} ({_said(error)})") from error


def _advice(error: Exception) -> str:
    match error:
        case elastic_transport.ConnectionTimeout():
            return "it did not answer in time, what became of the call is unknown; OBSERVABILITY_ELASTICSEARCH_TIMEOUT"
        case elastic_transport.TlsError():
            return "its certificate is not trusted: name its authority in OBSERVABILITY_ELASTICSEARCH_CA_CERT"
        case elastic_transport.ConnectionError():
            return "it cannot be reached at OBSERVABILITY_ELASTICSEARCH_URLS"
        case elasticsearch.UnsupportedProductError():
            return "what answers at OBSERVABILITY_ELASTICSEARCH_URLS is no Elasticsearch"
        case elasticsearch.ApiError(status_code=status):
            return _BY_STATUS.get(status, _BUSY if status == 429 or status >= 500 else _REFUSED)
        case _:  # half an answer, or one that is no JSON
            return "its answer cannot be read; is there a proxy in between?"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:1_000]
