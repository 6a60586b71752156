"""The saved objects are what Kibana 8.19 exports by their form, and their charts ask what the proven queries ask."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controlplane.alerts import AlertName
from observability.kibana.conditions import AtLeast, Is, kuery_of, query_of
from observability.kibana.dashboards import DASHBOARDS
from observability.kibana.objects import ndjson, saved_objects
from observability.kibana.panels import GRID, Control, Lines, Metric, Panel
from observability.kibana.queries import Span, query_behind
from observability.kibana.rules import RULES, new_rule_body, rule_body
from observability.kibana.views import VIEWS, UnknownField

RUNBOOK = "https://driftgate.example.com/runbook"
OBJECTS = saved_objects(DASHBOARDS, "default", RUNBOOK)
OF_TYPE = {
    type: [each for each in OBJECTS if each["type"] == type] for type in ("index-pattern", "search", "dashboard")
}
SPAN = Span(datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 2, 1, tzinfo=UTC), "1h")
HEADINGS = set(
    re.findall(
        r"^#+ (\w+)$", (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE
    )
)


def panels_of(dashboard: dict) -> list[dict]:
    return json.loads(dashboard["attributes"]["panelsJSON"])


def by_slug(dashboard: dict) -> dict[str, dict]:
    return {panel["panelIndex"]: panel for panel in panels_of(dashboard)}


def test_every_object_has_an_id_of_its_own_which_is_the_same_each_time():
    ids = [(each["type"], each["id"]) for each in OBJECTS]
    assert len(set(ids)) == len(ids) and len(OF_TYPE["dashboard"]) == 7
    assert ndjson(saved_objects(DASHBOARDS, "default", RUNBOOK)) == ndjson(OBJECTS)
    other = {each["id"] for each in saved_objects(DASHBOARDS, "blue", RUNBOOK)}
    assert not other & {id for _, id in ids}, "two installations in one Kibana would replace each other's"


def test_the_file_has_one_object_on_each_line_with_the_version_of_its_form():
    lines = ndjson(OBJECTS).splitlines()
    assert len(lines) == len(OBJECTS)
    for line in lines:
        told = json.loads(line)
        assert set(told) == {
            "type", "id", "attributes", "references", "managed", "coreMigrationVersion", "typeMigrationVersion",
        }  # fmt: skip
        assert re.fullmatch(r"\d+\.\d+\.\d+", told["typeMigrationVersion"])


def test_every_reference_leads_to_an_object_of_the_import():
    there = {(each["type"], each["id"]) for each in OBJECTS}
    for each in OBJECTS:
        names = [reference["name"] for reference in each["references"]]
        assert len(set(names)) == len(names)
        assert {(reference["type"], reference["id"]) for reference in each["references"]} <= there


def strings_ending_in_json(value: Any, name: str = "") -> list[str]:
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in strings_ending_in_json(each, key)]
    if isinstance(value, list):
        return [text for each in value for text in strings_ending_in_json(each)]
    return [value] if name.endswith("JSON") or name in {"fieldFormatMap", "runtimeFieldMap", "fieldAttrs"} else []


def test_whatever_is_json_in_a_string_can_be_read():
    found = [text for each in OBJECTS for text in strings_ending_in_json(each)]
    assert len(found) > 50
    for text in found:
        json.loads(text)


@pytest.mark.parametrize("dashboard", OF_TYPE["dashboard"], ids=lambda each: each["id"])
def test_no_panel_lies_over_another_or_outside_the_grid(dashboard: dict):
    taken: set[tuple[int, int]] = set()
    for panel in panels_of(dashboard):
        grid = panel["gridData"]
        assert grid["i"] == panel["panelIndex"] and grid["x"] >= 0 and grid["x"] + grid["w"] <= GRID
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        taken |= cells
    assert len(by_slug(dashboard)) == len(panels_of(dashboard))


@pytest.mark.parametrize("dashboard", OF_TYPE["dashboard"], ids=lambda each: each["id"])
def test_each_reference_of_a_dashboard_is_asked_for_by_its_name(dashboard: dict):
    """A panel finds what it refers to behind its own id, a control behind its own."""
    wanted = set()
    for panel in panels_of(dashboard):
        config, place = panel["embeddableConfig"], panel["panelIndex"]
        if panel["type"] == "lens":
            wanted |= {f"{place}:{each['name']}" for each in config["attributes"]["references"]}
            layers = config["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]
            assert {f"indexpattern-datasource-layer-{name}" for name in layers} == {
                each["name"] for each in config["attributes"]["references"]
            }
        elif panel["type"] == "links":
            wanted |= {f"{place}:{link['destinationRefName']}" for link in config["attributes"]["links"]}
        elif panel["type"] == "search":
            wanted.add(f"{place}:{panel['panelRefName']}")
    controls = json.loads(dashboard["attributes"]["controlGroupInput"]["panelsJSON"])
    wanted |= {f"controlGroup_{name}:optionsListDataView" for name in controls}
    assert {each["name"] for each in dashboard["references"]} == wanted


def test_each_dashboard_links_to_all_and_has_a_sane_time_and_its_controls():
    for made, declared in zip(OF_TYPE["dashboard"], DASHBOARDS, strict=True):
        linked = {each["id"] for each in made["references"] if each["type"] == "dashboard"}
        assert linked == {each["id"] for each in OF_TYPE["dashboard"]}
        assert made["attributes"]["timeRestore"] and made["attributes"]["timeFrom"] in {"now-24h", "now-30d"}
        assert declared.controls and all(VIEWS[each.view].type_of(each.field) for each in declared.controls)


def test_what_is_chosen_goes_along_only_to_dashboards_that_can_be_narrowed_by_it():
    taken = {}
    for made in OF_TYPE["dashboard"]:
        links = by_slug(made)["links"]["embeddableConfig"]["attributes"]["links"]
        taken[made["id"]] = {link["id"] for link in links if link["options"]["useCurrentFilters"]}
    assert taken["driftgate-default-fleet"] == {"fleet", "model", "drift", "errors", "decisions"}
    assert taken["driftgate-default-model"] == {"model"}
    assert taken["driftgate-default-logs"] == {"logs"}


def test_the_runbook_is_linked_where_it_has_a_heading_and_markdown_is_our_own_text():
    for made, declared in zip(OF_TYPE["dashboard"], DASHBOARDS, strict=True):
        text = by_slug(made)["about"]["embeddableConfig"]["savedVis"]["params"]["markdown"]
        assert declared.about in text and set(declared.runbook) <= HEADINGS
        assert re.findall(r"\]\((.*?)#", text) == [RUNBOOK] * len(declared.runbook)
    assert {rule.runbook for rule in RULES} <= HEADINGS
    assert {each.value for each in AlertName} & {name for each in DASHBOARDS for name in each.runbook}


# A chart as Kibana reads it: what it sends to Elasticsearch for the columns of a layer.


def asked_by(column: dict) -> dict | None:
    field, params = {"field": column["sourceField"]}, column["params"]
    match column["operationType"]:
        case "count":
            assert field == {"field": "___records___"}
            return None
        case "percentile":
            return {"percentiles": {**field, "percents": [params["percentile"]]}}
        case "unique_count":
            return {"cardinality": field}
        case operation:
            return {{"average": "avg"}.get(operation, operation): field}


def bucketed_by(column: dict, layer: dict) -> dict:
    field, params = {"field": column["sourceField"]}, column["params"]
    match column["operationType"]:
        case "date_histogram":
            return {"date_histogram": {**field, "fixed_interval": SPAN.step, "time_zone": "UTC", "min_doc_count": 1}}
        case "range":
            ranges = [{key: each[key] for key in ("from", "to") if each[key] is not None} for each in params["ranges"]]
            return {"range": {**field, "ranges": ranges}}
        case _:
            by = params["orderBy"]["columnId"]
            first = layer["columns"][by]
            path = by if "filter" not in first or first["operationType"] == "count" else f"{by}>value"
            path = path if "filter" in first or first["operationType"] != "count" else "_count"
            path += f".{first['params']['percentile']}" if first["operationType"] == "percentile" else ""
            return {"terms": {**field, "size": params["size"], "order": {path: params["orderDirection"]}}}


@pytest.mark.parametrize(
    ("dashboard", "panel"),
    [
        pytest.param(made, panel, id=f"{declared.slug}-{panel.slug}")
        for made, declared in zip(OF_TYPE["dashboard"], DASHBOARDS, strict=True)
        for panel in declared.panels
        if isinstance(panel, Panel)
    ],
)
def test_a_chart_asks_what_its_proven_query_asks(dashboard: dict, panel: Panel):
    attributes = by_slug(dashboard)[panel.slug]["embeddableConfig"]["attributes"]
    layer = attributes["state"]["datasourceStates"]["formBased"]["layers"]["layer"]
    aggs, left = query_behind(panel, "default", SPAN).body["aggs"], list(layer["columnOrder"])
    assert set(left) == set(layer["columns"])
    while left and layer["columns"][left[0]]["isBucketed"]:
        name = left.pop(0)
        told = aggs[name]
        aggs = told.pop("aggs", {})
        assert told == bucketed_by(layer["columns"][name], layer)
    for name, metric in zip(left, panel.metrics, strict=True):
        column = layer["columns"][name]
        told = aggs.pop(name, None)
        if "filter" in column:
            assert column["filter"]["query"] == kuery_of(metric.where) and told["filter"] == query_of(metric.where)
            told = told.get("aggs", {}).get("value")
        assert told == asked_by(column)
    assert not aggs
    assert attributes["state"]["query"]["query"] == kuery_of(panel.where)
    assert attributes["references"][0]["id"] == panel.reads.id("default")
    assert layer["ignoreGlobalFilters"] == panel.whole


@pytest.mark.parametrize("dashboard", OF_TYPE["dashboard"], ids=lambda each: each["id"])
def test_a_chart_draws_columns_that_it_has(dashboard: dict):
    known = {"lnsXY", "lnsMetric", "lnsDatatable", "lnsHeatmap"}
    for panel in panels_of(dashboard):
        if panel["type"] == "lens":
            attributes = panel["embeddableConfig"]["attributes"]
            state = attributes["state"]
            (columns,) = (set(each["columns"]) for each in state["datasourceStates"]["formBased"]["layers"].values())
            drawn = set(re.findall(r'"((?:split|metric)\d+)"', json.dumps(state["visualization"])))
            assert attributes["visualizationType"] in known and drawn == columns


@pytest.mark.parametrize(
    ("condition", "kuery", "query"),
    [
        (Is("a.b", "x"), 'a.b: "x"', [{"match_phrase": {"a.b": "x"}}]),
        (Is("a", 'say "x"\\'), r'a: "say \"x\"\\"', [{"match_phrase": {"a": 'say "x"\\'}}]),
        (Is("a", 1, 2), "a: (1 or 2)", [{"match": {"a": 1}}, {"match": {"a": 2}}]),
        (Is("a", False), "a: false", [{"match": {"a": False}}]),
        (AtLeast("a", 0.5), "a >= 0.5", [{"range": {"a": {"gte": 0.5}}}]),
    ],
)
def test_a_condition_is_the_same_in_kibanas_language_and_in_elasticsearchs(condition, kuery: str, query: list):
    assert (condition.kuery, condition.query) == (kuery, {"bool": {"should": query, "minimum_should_match": 1}})


@pytest.mark.parametrize(
    "field", ["driftgate.nothing", "driftgate.features", "event.id.keyword", "driftgate.sample_key"]
)
def test_a_panel_of_a_field_that_cannot_be_counted_is_refused_before_it_is_imported(field: str):
    panel = Panel("A", "prediction", "number", (Metric("a", "max", field),))
    broken = DASHBOARDS[0].__class__("a", "A", "a", (panel,), (Control("driftgate.model", "Model", "prediction"),))
    with pytest.raises(UnknownField, match=re.escape(field)):
        saved_objects([broken], "default", RUNBOOK)


def test_a_search_shows_columns_that_its_documents_have():
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            if isinstance(panel, Lines):
                text = {"message", "error.message", "driftgate.decision.detail"}
                assert all(panel.reads.type_of(column) for column in panel.columns if column not in text)
    for search in OF_TYPE["search"]:
        source = json.loads(search["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        assert source["indexRefName"] == search["references"][0]["name"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_rule_has_what_kibanas_api_asks_for_and_an_id_that_it_takes(rule):
    body = new_rule_body(rule_body(rule, "default", RUNBOOK))
    assert {"name", "consumer", "rule_type_id", "schedule", "params"} <= set(body)
    needed = {"esQuery", "index", "threshold", "thresholdComparator", "timeField", "timeWindowSize", "timeWindowUnit"}
    assert needed <= set(body["params"]) and body["rule_type_id"] == ".es-query"
    assert set(json.loads(body["params"]["esQuery"])) <= {"query", "runtime_mappings"}
    assert f"runbook: {RUNBOOK}#{rule.runbook.lower()}" in body["tags"]
    made = uuid.UUID(rule.id("default"))
    assert made.version == 4 and made.variant == uuid.RFC_4122 and rule.id("default") != rule.id("blue")
    fields = [condition.field for condition in rule.where] + ([rule.each] if rule.each else []) + [rule.time]
    assert all(VIEWS[rule.view].type_of(field) for field in fields)
