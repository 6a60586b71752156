"""Asks Elasticsearch what each panel and rule asks, so that a dashboard can be tried where there is no Kibana."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch

from observability.elastic.client import answering, connect
from observability.kibana.dashboards import DASHBOARDS
from observability.kibana.queries import Query, Span, query_behind
from observability.kibana.rules import RULES, Rule
from observability.kibana.views import VIEWS
from observability.settings import Settings

#: no panel has more buckets than Elasticsearch gives
_STEP: Final = "12h"
_REFUSED: Final = frozenset({400, 404})


@dataclass(frozen=True)
class Proof:
    """How many documents a panel is of, or why Elasticsearch refuses its query."""

    dashboard: str
    panel: str
    documents: int
    refused: str | None = None

    def told(self) -> dict[str, Any]:
        return asdict(self)


def prove(settings: Settings, since: datetime, until: datetime) -> Iterator[Proof]:
    """Every panel of every dashboard, and every alert rule. Raises LogStoreUnavailable."""
    span = Span(since, until, _STEP)
    with connect(settings) as client, answering():
        for dashboard in DASHBOARDS:
            for panel in dashboard.panels:
                asked = query_behind(panel, settings.namespace, span)
                yield _asked(client, asked, dashboard.title, panel.title)
        for rule in RULES:
            yield _asked(client, _of_rule(rule, settings.namespace, span), "alert rules", rule.title)


def _asked(client: Elasticsearch, asked: Query, dashboard: str, panel: str) -> Proof:
    try:
        answer = ask(client, asked)
    except ApiError as error:
        if error.status_code not in _REFUSED:
            raise
        return Proof(dashboard, panel, 0, str(error))
    return Proof(dashboard, panel, answer["hits"]["total"]["value"])


def ask(client: Elasticsearch, asked: Query) -> dict[str, Any]:
    """The answer. A stream that nothing was written to yet is as one without documents."""
    body = {"track_total_hits": True} | asked.body
    answer = client.search(index=asked.index, ignore_unavailable=True, allow_no_indices=True, body=body)
    return dict(answer.body)


def _of_rule(rule: Rule, namespace: str, span: Span) -> Query:
    """A rule's query, over a span of when it looks for documents."""
    asked = rule.query()
    between = {"range": {rule.time: {"gte": span.since.isoformat(), "lt": span.until.isoformat()}}}
    query = {"bool": {"filter": [asked.pop("query"), between]}}
    return Query(VIEWS[rule.view].pattern(namespace), {**asked, "query": query, "size": 0})
