"""Each panel's query on a real Elasticsearch, filled by a real run: what it answers is what was put in.

Kibana cannot run here. What was put in is counted again from the spool's lines, by other means than Elasticsearch's.
This Elasticsearch has no scripts: what Kibana computes by one is computed here, and all else is asked alike.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from elasticsearch import Elasticsearch

from controlplane.store.holds import RULES as ALL_RULES
from observability.elastic import streams
from observability.elastic.client import connect
from observability.elastic.store import ElasticLogStore
from observability.kibana.conditions import AtLeast, Is
from observability.kibana.dashboards import DASHBOARDS
from observability.kibana.panels import Between, Dashboard, Lines, Over, Panel, Top
from observability.kibana.proving import ask, prove
from observability.kibana.queries import Query, Span, number_in, query_behind, split_name
from observability.kibana.rules import RULES
from observability.kibana.views import LAG, VIEWS
from observability.settings import Settings
from observability.spool.dead_letters import DeadLetters
from observability.spool.reader import SpoolReader
from observability.spool.shipper import Shipper
from observability.spool.writer import SpoolWriter
from observability.telemetry.spooling import service_line
from pipeline.contract.training import Failure
from serving.reporting import Answered, label_lines, prediction_lines
from serving.requests import Truth
from serving.scoring import Scored, Verdict
from tests.controlplane_world import DRIFT, MODEL, START, World, spec
from tests.servers.elastic import ElasticsearchServer

OTHER = "default/prices"
SPAN = Span(START - timedelta(days=1), datetime.now(UTC) + timedelta(days=1), "12h")
PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]
CHARTS = [
    pytest.param(each, panel, id=f"{each.slug}-{panel.slug}") for each, panel in PANELS if isinstance(panel, Panel)
]
FEATURES = {
    "followers": {"method": "ks", "score": 0.0001, "threshold": 0.001, "drifted": True, "missing_share": 0.1},
    "place": {"method": "jensenshannon", "score": 0.05, "threshold": 0.1, "drifted": False, "missing_share": 0.0},
}


def controlled(folder: Path) -> list[bytes]:
    """What a control plane tells of drift, retrainings, a failed run, a rollback and a hold."""
    world = World(folder, spec([DRIFT | {"cooldown": "1h"}]))
    first = world.to_production()
    world.clock.advance(timedelta(hours=13))
    verdict = {"features": FEATURES, "sampled": 90, "error": {"roc_auc": 0.7, "error": 0.2}}
    world.window(first.number, 1, drifted_share=0.5, **verdict)
    world.window(first.number, 1, segment="country=fr", drifted_share=1.0, **verdict)
    for _ in range(2):
        world.tick()
        world.clock.advance(timedelta(hours=2))
    (asked,) = world.store.held_runs("control-1")
    world.finish(asked.key, failure=Failure(code="recipe_error", message="features.py raised"))
    world.clock.advance(timedelta(hours=13))
    world.tick()
    world.to_production()
    world.store.roll_back(MODEL, "it is worse", world.clock.now())
    world.store.put_hold(MODEL, ALL_RULES, "holidays", None, world.clock.now(), "ann")
    world.tick()
    return world.lines.lines


def predicted(
    version: int, scores: list[float], at: datetime, model: str = MODEL, rival: float | None = None
) -> list[bytes]:
    """What serving writes of a request."""

    def scored(of: int, ms: float) -> Scored:
        features = {"followers": np.array([1.0] * len(scores)), "place": np.array(["x"] * (len(scores) - 1) + [""])}
        loaded: Any = SimpleNamespace(wanted=SimpleNamespace(version=of))
        rows = [{"followers": 1.0}] * len(scores)
        return Scored(loaded, rows, features, scores, [int(score >= 0.5) for score in scores], ms)

    role, other = ("production", None) if rival is None else ("canary", scored(version - 1, rival))
    verdict = Verdict(scored(version, 1.5), role, None if other is None else version - 1, other)
    batch = Answered(model, verdict, [at] * len(scores), datetime.now(UTC), 2.5 + 10 * scores[0], "request-1")
    return prediction_lines(batch, [f"{model}-{version}-{at:%d%H}-{row}" for row in range(len(scores))])


def served() -> list[bytes]:
    """Two models; of the first, 12 answers of version 1 and then 8 of version 2 with version 1 beside it."""
    scores = [0.05, 0.15, 0.25, 0.35, 0.55, 0.95]
    lines = predicted(1, scores, START + timedelta(hours=1)) + predicted(1, scores, START + timedelta(hours=14))
    lines += predicted(2, [0.5, 0.6, 0.7, 1.0] * 2, START + timedelta(hours=27), rival=9.0)
    lines += predicted(7, [0.5, 0.4], START + timedelta(hours=1), OTHER)
    ids = [orjson.loads(line)["event"]["id"] for line in lines[:6]]
    truths = [Truth(id, number % 2, START + timedelta(hours=20)) for number, id in enumerate(ids)]
    return lines + label_lines(MODEL, truths, datetime.now(UTC))


def logged() -> list[bytes]:
    """Six lines of serving and the shipper: three errors, one warning."""

    def line(service: str, level: int, message: str, error: Exception | None = None) -> bytes:
        told = (type(error), error, None) if error else None
        record = logging.LogRecord(f"{service}.log", level, __file__, 1, message, None, told)
        return service_line(record, service, "host-1")

    failed = [line("serving", logging.ERROR, "cannot score", ValueError("no number")) for _ in range(2)]
    waits = line("shipper", logging.WARNING, "shipping waits 1.00 s")
    quiet = [line("serving", logging.INFO, "loaded"), line("shipper", logging.INFO, "shipped 5 lines")]
    return [*failed, waits, line("shipper", logging.CRITICAL, "the disk is full", OSError("full")), *quiet]


@dataclass
class Filled:
    client: Elasticsearch
    settings: Settings
    #: as they were spooled; with the time at which they came, which the store adds
    documents: list[dict]

    def ask(self, panel: Panel | Lines, span: Span = SPAN) -> dict:
        if not panel.reads.computed:
            return ask(self.client, query_behind(panel, self.settings.namespace, span))
        asked = query_behind(panel, with_lag(self.settings.namespace), span)
        unscripted = {name: {"type": told["type"]} for name, told in asked.body["runtime_mappings"].items()}
        return ask(self.client, Query(asked.index, asked.body | {"runtime_mappings": unscripted}))


def with_lag(namespace: str) -> str:
    """Where the same documents are, with the computed field in them: what is asked without a script reads that."""
    return f"{namespace}_lag"


@pytest.fixture(scope="module")
def filled(elasticsearch_server: ElasticsearchServer, tmp_path_factory: pytest.TempPathFactory):
    elasticsearch_server.start()
    folder = tmp_path_factory.mktemp("kibana")
    settings = Settings(
        store="elasticsearch", elasticsearch_urls=(elasticsearch_server.url,), namespace=f"kibana_{time.time_ns():x}"
    )
    lines = controlled(folder) + served() + logged()
    with SpoolWriter.claim(folder / "spool", "test") as writer:
        writer.write(lines)
    with connect(settings) as client:
        streams.setup(client, settings)
        store, reader = ElasticLogStore.connect(settings, refresh=True), SpoolReader(folder / "spool")
        shipped = Shipper(reader, store, DeadLetters(folder / "dead")).ship_once()
        assert (shipped.indexed, shipped.dead_lettered) == (len(lines), 0)
        client.indices.refresh(index=streams.stream_of("*", settings.namespace))
        documents = _with_ingested(client, settings, lines)
        _copy_with_lag(client, settings, documents)
        yield Filled(client, settings, documents)
        store.close()
        reader.close()


def _with_ingested(client: Elasticsearch, settings: Settings, lines: list[bytes]) -> list[dict]:
    found = client.search(index=streams.stream_of("*", settings.namespace), size=1000, source=["event"])["hits"]["hits"]
    ingested = {hit["_id"]: hit["_source"]["event"]["ingested"] for hit in found}
    documents = [orjson.loads(line) for line in lines]
    for document in documents:
        document["event"]["ingested"] = ingested[document["event"]["id"]]
    return documents


def _copy_with_lag(client: Elasticsearch, settings: Settings, documents: list[dict]) -> None:
    copies = settings.model_copy(update={"namespace": with_lag(settings.namespace)})
    streams.setup(client, copies)
    operations: list[dict] = []
    for document in documents:
        kind = document["event"]["dataset"].removeprefix("driftgate.")
        operations.append({"create": {"_index": streams.stream_of(kind, copies.namespace)}})
        operations.append({**document, "driftgate": {**document["driftgate"], "ingest_lag": values(document, LAG)[0]}})
    assert not client.bulk(operations=operations, refresh=True)["errors"]


# What was put in, counted by Python.


def values(document: dict, field: str) -> list:
    """All values of a field, computed ones included."""
    if field == LAG:
        came, seen = (datetime.fromisoformat(document["event"][name]) for name in ("ingested", "created"))
        return [(came - seen) // timedelta(milliseconds=1)]
    found: Any = document
    for part in field.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, list) else [] if found is None else [found]


def fits(document: dict, condition: Is | AtLeast) -> bool:
    found = values(document, condition.field)
    if isinstance(condition, Is):
        return any(value in condition.values for value in found)
    return any(value >= condition.least for value in found)


def key_of(split: Over | Top | Between, value: Any) -> Any:
    match split:
        case Over():
            at = datetime.fromisoformat(value).timestamp()
            return at - at % timedelta(hours=12).total_seconds()
        case Between():
            return max(edge for edge in split.edges if edge <= value)
        case _:
            return value


def put_in(filled: Filled, panel: Panel | Lines) -> list[dict]:
    datasets = {f"driftgate.{kind}" for kind in panel.reads.kinds}
    of_kind = (each for each in filled.documents if each["event"]["dataset"] in datasets)
    return [each for each in of_kind if all(fits(each, condition) for condition in panel.where)]


def grouped(documents: list[dict], splits: tuple) -> dict[tuple, list[dict]]:
    groups = {(): documents}
    for split in splits:
        deeper = defaultdict(list)
        for key, members in groups.items():
            for member in members:
                for value in values(member, split.field):
                    deeper[*key, key_of(split, value)].append(member)
        groups = deeper
    return dict(groups)


def answered(panel: Panel, answer: dict) -> dict[tuple, dict]:
    """The buckets of an answer, by their keys."""
    found = {(): {"doc_count": answer["hits"]["total"]["value"], **answer.get("aggregations", {})}}
    for number, split in enumerate(panel.by):
        found = {
            (*key, _bucket_key(split, each)): each
            for key, bucket in found.items()
            for each in bucket[split_name(number)]["buckets"]
            if each["doc_count"]
        }
    return found


def _bucket_key(split: Over | Top | Between, bucket: dict) -> Any:
    match split:
        case Over():
            return bucket["key"] / 1000
        case Between():
            return bucket["from"]
        case _:
            return {"true": True, "false": False}.get(bucket.get("key_as_string"), bucket["key"])


def is_right(metric, members: list[dict], told: float | None) -> bool:
    members = [each for each in members if all(fits(each, condition) for condition in metric.where)]
    if metric.operation == "count":
        return told == len(members)
    found = sorted(value for each in members for value in values(each, metric.field))
    if not found or told is None:
        return (told or 0) == 0 and not found
    match metric.operation:
        case "unique":
            return told == len(set(found))
        case "percentile":
            place = metric.percentile / 100 * (len(found) - 1)
            return found[max(0, int(place) - 1)] <= told <= found[min(len(found) - 1, int(place) + 2)]
    expected = {"average": np.mean, "max": np.max, "min": np.min, "sum": np.sum}[metric.operation](found)
    return told == pytest.approx(expected)


@pytest.mark.parametrize(("dashboard", "panel"), CHARTS)
def test_a_panel_shows_what_was_put_in(filled: Filled, dashboard: Dashboard, panel: Panel):
    there, told = grouped(put_in(filled, panel), panel.by), answered(panel, filled.ask(panel))
    assert any(there.values()), "nothing of the kind was put in"
    assert set(told) == set(there)
    for key, members in there.items():
        for number, metric in enumerate(panel.metrics):
            said = number_in(told[key], number, metric)
            assert is_right(metric, members, said), (key, metric.label, said)


def chart(dashboard: str, title: str) -> Panel:
    return next(panel for each, panel in PANELS if (each.slug, panel.title) == (dashboard, title))


def shown(filled: Filled, dashboard: str, title: str) -> dict:
    """The first metric of a panel, by key; time left out."""
    panel, found = chart(dashboard, title), defaultdict(float)
    for key, bucket in answered(panel, filled.ask(panel)).items():
        kept = tuple(part for part, split in zip(key, panel.by, strict=True) if not isinstance(split, Over))
        found[kept if len(kept) != 1 else kept[0]] += number_in(bucket, 0, panel.metrics[0]) or 0
    return dict(found)


@pytest.mark.parametrize(
    ("dashboard", "title", "numbers"),
    [
        ("fleet", "Predictions", {(): 22}),
        ("fleet", "Largest drifted share", {(): 1.0}),
        ("fleet", "Models", {MODEL: 20, OTHER: 2}),
        ("model", "Requests by version", {1: 12, 2: 8, 7: 2}),
        ("model", "Requests by role", {"production": 14, "canary": 8}),
        ("model", "Labels arriving", {(): 6}),
        ("model", "Missing features", {"place": 4}),
        ("drift", "Windows in which a feature drifted", {"followers": 2, "place": 0}),
        ("errors", "Errors of processes", {"serving": 2, "shipper": 1}),
        ("errors", "Kinds of errors", {("serving", "ValueError"): 2, ("shipper", "OSError"): 1}),
        ("decisions", "Runs failed", {(): 1}),
        ("decisions", "Promotions", {(): 2}),
        ("decisions", "Rollbacks", {(): 1}),
        ("decisions", "Gates", {(MODEL, True, "PASS_FIRST"): 1, (MODEL, True, "PASS_BETTER"): 1}),
        ("decisions", "Holds", {(MODEL, "rules", "held"): 1}),
        ("pipeline", "Troubles of the shipper", {(): 2}),
        ("logs", "Lines by level", {"info": 2, "warning": 1, "error": 2, "critical": 1}),
    ],
)
def test_a_dashboard_shows_the_numbers_of_the_run(filled: Filled, dashboard: str, title: str, numbers: dict):
    assert shown(filled, dashboard, title) == numbers


def test_lines_are_shown_newest_first_with_every_column(filled: Filled):
    for _, panel in PANELS:
        if isinstance(panel, Lines):
            hits = filled.ask(panel)["hits"]["hits"]
            assert len(hits) == len(put_in(filled, panel)) > 0
            assert [hit["sort"] for hit in hits] == sorted((hit["sort"] for hit in hits), reverse=True)
            assert set().union(*(hit["fields"] for hit in hits)) >= set(panel.columns) - {"http.request.id"}


def test_what_is_chosen_narrows_all_panels_but_those_of_processes(filled: Filled):
    only = Span(SPAN.since, SPAN.until, SPAN.step, (Is("driftgate.model", OTHER),))
    for title, count in (("Latency of requests", 2), ("Error of models", 0)):
        assert filled.ask(chart("errors", title), only)["hits"]["total"]["value"] == count
    assert filled.ask(chart("errors", "Errors of processes"), only)["hits"]["total"]["value"] == 3


def test_every_field_of_a_panel_is_in_the_mapping_and_can_be_counted(filled: Filled):
    asked = defaultdict(set)
    for each, panel in PANELS:
        asked[panel.view] |= {condition.field for condition in panel.where}
        if isinstance(panel, Panel):
            asked[panel.view] |= {split.field for split in panel.by}
            asked[panel.view] |= {metric.field for metric in panel.metrics if metric.field}
        for control in each.controls:
            asked[control.view].add(control.field)
    lens = {"string": {"keyword"}, "number": {"long", "double"}, "boolean": {"boolean"}, "date": {"date_nanos"}}
    for kind, fields in asked.items():
        view = VIEWS[kind]
        stored = sorted(fields - set(view.computed)) or ["@timestamp"]
        caps = filled.client.field_caps(index=view.pattern(filled.settings.namespace), fields=stored)["fields"]
        for field in stored:
            ((type, told),) = ((type, told) for type, told in caps[field].items() if type != "unmapped")
            assert type in lens[view.type_of(field)] and told["aggregatable"] and told["searchable"], field


def test_check_asks_all_panels_and_rules_and_says_what_each_is_of(filled: Filled):
    found = {(each.dashboard, each.panel): each for each in prove(filled.settings, SPAN.since, SPAN.until)}
    assert len(found) == len(PANELS) + len(RULES)
    computed = {panel.title for _, panel in PANELS if panel.reads.computed} | {
        rule.title for rule in RULES if VIEWS[rule.view].computed
    }
    refused = {each.panel: each.refused for each in found.values() if each.refused}
    assert set(refused) == computed and all("script_lang not supported" in why for why in refused.values())
    assert all(each.documents for each in found.values() if not each.refused), "a query without documents"
    assert found["alert rules", "Driftgate: no prediction for 10 minutes"].documents == 22
    assert found["alert rules", "Driftgate: a process logs errors"].documents == 3
    assert found["alert rules", "Driftgate: half of the features of a window have drifted"].documents == 1


def test_check_says_nothing_of_streams_that_nobody_wrote_to(filled: Filled):
    nowhere = filled.settings.model_copy(update={"namespace": "nowhere"})
    assert all(not each.documents and each.refused is None for each in prove(nowhere, SPAN.since, SPAN.until))
