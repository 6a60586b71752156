"""How questions reach Elasticsearch: whole answers or LogStoreUnavailable, and long ones page by page.

A stream that does not exist yet has no events. Whatever else keeps a part of the answer away is an error: a shard that
does not answer, a time-out, an index that the API key may not read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch, NotFoundError

from observability.elastic.client import answering
from observability.elastic.questions import PAGE, Body
from observability.elastic.streams import generation_of, stream_of
from observability.ports import LogStoreUnavailable

#: after this Elasticsearch gives a question up
SEARCH_TIMEOUT: Final = "30s"
#: so long the view of a stream is kept from one page to the next
KEEP_ALIVE: Final = "5m"
_ABSENT: Final = "index_not_found_exception"
_TOO_MANY_BUCKETS: Final = "too_many_buckets_exception"


class AnswerTooLarge(LogStoreUnavailable):
    """The answer has more buckets than Elasticsearch holds at once (search.max_buckets): ask about less of the time."""


class Reader:
    """Asks the streams of a namespace. Threads may share it.

    `refresh` makes what was just written visible before each question: for tests, for it is dear.
    """

    def __init__(self, client: Elasticsearch, namespace: str, *, refresh: bool = False) -> None:
        self._client = client
        self._namespace = namespace
        self._refresh = refresh

    def ask(self, kind: str, body: Body, *, repeated: bool = False) -> Mapping[str, Any] | None:
        """The answer of a kind's stream; None where there is no such stream.

        What is `repeated` each tick is kept by Elasticsearch for the parts of the stream that did not change.
        """
        stream = self._stream(kind)
        with answering():
            try:
                answer = self._client.search(
                    index=stream, body=body, timeout=SEARCH_TIMEOUT, request_cache=repeated,
                    allow_partial_search_results=False,
                )  # fmt: skip
            except NotFoundError as error:
                if error.error != _ABSENT:
                    raise
                return None
            except ApiError as error:
                if _TOO_MANY_BUCKETS in str(error.body):
                    raise AnswerTooLarge(
                        f"Elasticsearch: the answer has more than search.max_buckets ({error})"
                    ) from error
                raise
        return _whole(answer.body)

    def hits(self, kind: str, body: Body) -> list[Any]:
        """All hits of a body; it asks for PAGE of them at most."""
        answer = self.ask(kind, body)
        return list(answer["hits"]["hits"]) if answer is not None else []

    def count(self, kind: str, body: Body) -> int:
        """How many hits a body has."""
        answer = self.ask(kind, body)
        return int(answer["hits"]["total"]["value"]) if answer is not None else 0

    def losses(self, kind: str) -> str:
        """Another text whenever the stream has lost documents: it loses none but with a whole backing index."""
        stream = stream_of(kind, self._namespace)
        with answering():
            found = self._client.indices.get_settings(index=stream, name="index.uuid", ignore_unavailable=True).body
        if not found:
            return ""
        oldest, newest = min(found, key=generation_of), max(found, key=generation_of)
        return f"{found[oldest]['settings']['index']['uuid']} {generation_of(newest) - len(found)}"

    def pages(self, kind: str, body: Body) -> Generator[list[Any], None, None]:
        """Pages of hits in the order of the body, all of one view of the stream, as it is when the first is asked."""
        size = min(body["size"], PAGE)
        with self._view(kind) as view:
            after: Body = {}
            while view is not None:
                with answering():
                    answer = self._client.search(
                        body={**body, **after, "size": size, "pit": {"id": view, "keep_alive": KEEP_ALIVE}},
                        timeout=SEARCH_TIMEOUT, request_cache=False, allow_partial_search_results=False,
                    )  # fmt: skip
                hits = _whole(answer.body)["hits"]["hits"]
                if hits:
                    yield hits
                if len(hits) < size:
                    return
                after, view = {"search_after": hits[-1]["sort"]}, answer.body.get("pit_id", view)

    def first(self, kind: str, body: Body, most: int) -> list[Any]:
        """The first hits in the order of the body, however many pages they are."""
        if most <= PAGE:
            return self.hits(kind, {**body, "size": most})
        found: list[Any] = []
        with contextlib.closing(self.pages(kind, {**body, "size": PAGE})) as pages:
            for page in pages:
                found += page
                if len(found) >= most:
                    break
        return found[:most]

    def _stream(self, kind: str) -> str:
        stream = stream_of(kind, self._namespace)
        if self._refresh:
            with answering():
                self._client.indices.refresh(index=stream, ignore_unavailable=True)
        return stream

    @contextlib.contextmanager
    def _view(self, kind: str) -> Iterator[str | None]:
        """The stream as it is now, until the end of the block; None where there is no such stream."""
        stream = self._stream(kind)
        with answering():
            try:
                view: str = self._client.open_point_in_time(index=stream, keep_alive=KEEP_ALIVE).body["id"]
            except NotFoundError as error:
                if error.error != _ABSENT:
                    raise
                view = ""
        if not view:
            yield None
            return
        try:
            yield view
        finally:
            with contextlib.suppress(LogStoreUnavailable), answering():  # it ends by itself as well
                self._client.close_point_in_time(id=view)


def _whole(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if answer["timed_out"] or answer["_shards"]["failed"]:
        raise LogStoreUnavailable(
            f"Elasticsearch gave a part of the answer only ({answer['_shards']}): look at its health and its load"
        )
    return answer
