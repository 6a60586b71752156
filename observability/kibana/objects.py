"""The definitions as saved objects of Kibana, which its import takes: data views, saved searches and dashboards.

Written in the form of Kibana 8.16 to 8.19; a later one migrates them when it takes them. Ids are the same each time,
so that importing again replaces what was imported before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import orjson

from observability.kibana.conditions import kuery_of
from observability.kibana.lens import lens_of
from observability.kibana.panels import GRID, Control, Dashboard, Lines, Panel, Place, laid_out
from observability.kibana.views import LAG, VIEWS, DataView

Json: TypeAlias = dict[str, Any]

#: the form in which each type of object is written
MIGRATION: Final = {"index-pattern": "8.0.0", "search": "10.5.0", "dashboard": "10.2.0"}
_CORE_MIGRATION: Final = "8.8.0"
_LINKS, _ABOUT = "links", "about"
_LINKS_HEIGHT, _ABOUT_HEIGHT = 4, 7
_SOURCE: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"
_NO_QUERY: Final[Json] = {"query": {"language": "kuery", "query": ""}, "filter": []}


def saved_objects(dashboards: Sequence[Dashboard], namespace: str, runbook: str) -> list[Json]:
    """Everything that is imported; `runbook` is the address of the page whose headings are linked."""
    made = [_data_view(view, namespace) for view in VIEWS.values()]
    for dashboard in dashboards:
        made += [_search(dashboard, panel, namespace) for panel in dashboard.panels if isinstance(panel, Lines)]
    return made + [_dashboard(each, dashboards, namespace, runbook) for each in dashboards]


def ndjson(objects: Sequence[Json]) -> bytes:
    """The objects as an import takes them: one on each line."""
    return b"".join(orjson.dumps(each) + b"\n" for each in objects)


def dashboard_id(dashboard: Dashboard, namespace: str) -> str:
    """Where Kibana has it: /app/dashboards#/view/<id>."""
    return f"driftgate-{namespace}-{dashboard.slug}"


def _search_id(dashboard: Dashboard, lines: Lines, namespace: str) -> str:
    return f"{dashboard_id(dashboard, namespace)}-{lines.slug}"


def _object(type: str, id: str, attributes: Json, references: Sequence[Json] = ()) -> Json:
    return {
        "type": type,
        "id": id,
        "attributes": attributes,
        "references": list(references),
        "managed": False,
        "coreMigrationVersion": _CORE_MIGRATION,
        "typeMigrationVersion": MIGRATION[type],
    }


def _data_view(view: DataView, namespace: str) -> Json:
    formats: Json = {"event.duration": _duration("nanoseconds", "asMilliseconds")}
    if LAG in view.computed:
        formats[LAG] = _duration("milliseconds", "humanizePrecise")
    attributes = {
        "title": view.pattern(namespace),
        "name": view.name if namespace == "default" else f"{view.name} ({namespace})",
        "timeFieldName": view.time,
        "allowNoIndex": True,
        "fields": "[]",
        "fieldAttrs": "{}",
        "fieldFormatMap": _json(formats),
        "runtimeFieldMap": _json(view.runtime_fields),
        "sourceFilters": "[]",
        "typeMeta": "{}",
    }
    return _object("index-pattern", view.id(namespace), attributes)


def _duration(of: str, to: str) -> Json:
    return {"id": "duration", "params": {"inputFormat": of, "outputFormat": to, "outputPrecision": 1}}


def _search(dashboard: Dashboard, lines: Lines, namespace: str) -> Json:
    source = {"query": {"language": "kuery", "query": kuery_of(lines.where)}, "filter": [], "indexRefName": _SOURCE}
    attributes = {
        "title": f"{dashboard.title}: {lines.title}",
        "description": lines.note,
        "columns": list(lines.columns),
        "sort": [[lines.reads.time, "desc"]],
        "grid": {},
        "hideChart": True,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(source)},
    }
    reference = {"type": "index-pattern", "id": lines.reads.id(namespace), "name": _SOURCE}
    return _object("search", _search_id(dashboard, lines, namespace), attributes, [reference])


def _dashboard(dashboard: Dashboard, all_of_them: Sequence[Dashboard], namespace: str, runbook: str) -> Json:
    panels, references = [], []
    for panel, referring in (
        _links(dashboard, all_of_them, namespace),
        _about(dashboard, runbook),
        *_charts(dashboard, namespace),
    ):
        panels.append(panel)
        # the dashboard has the references of all its panels, each behind the panel's id
        references += [{**each, "name": f"{panel['panelIndex']}:{each['name']}"} for each in referring]
    attributes = {
        "title": dashboard.title if namespace == "default" else f"{dashboard.title} ({namespace})",
        "description": dashboard.about,
        "panelsJSON": _json(panels),
        "optionsJSON": _json({"useMargins": True, "syncColors": True, "syncCursor": True, "syncTooltips": False,
                              "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": dashboard.since,
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60_000},
        "version": 3,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(_NO_QUERY)},
        "controlGroupInput": _controls(dashboard),
    }  # fmt: skip
    references += [_control_reference(control, namespace) for control in dashboard.controls]
    return _object("dashboard", dashboard_id(dashboard, namespace), attributes, references)


def _charts(dashboard: Dashboard, namespace: str) -> Iterator[tuple[Json, list[Json]]]:
    places = laid_out([(each.width, each.height) for each in dashboard.panels], _LINKS_HEIGHT + _ABOUT_HEIGHT)
    for panel, place in zip(dashboard.panels, places, strict=True):
        if isinstance(panel, Panel):
            attributes = lens_of(panel, namespace)
            made = _framed("lens", panel.slug, place, {"attributes": attributes}, panel.title)
            yield made, attributes["references"]
        else:
            name = f"panel_{panel.slug}"
            made = {**_framed("search", panel.slug, place, {}, panel.title), "panelRefName": name}
            yield made, [{"type": "search", "id": _search_id(dashboard, panel, namespace), "name": name}]


def _framed(type: str, id: str, place: Place, config: Json, title: str = "") -> Json:
    return {
        "type": type,
        "panelIndex": id,
        "gridData": {"x": place.x, "y": place.y, "w": place.width, "h": place.height, "i": id},
        "embeddableConfig": {"enhancements": {}, **config},
        **({"title": title} if title else {}),
    }


def _links(dashboard: Dashboard, all_of_them: Sequence[Dashboard], namespace: str) -> tuple[Json, list[Json]]:
    """To all dashboards. What is chosen is taken along to those that have the same lists to choose from: others would
    show nothing."""
    links, references = [], []
    for order, other in enumerate(all_of_them):
        name = f"link_{other.slug}_dashboard"
        taken = {control.field for control in dashboard.controls} <= {control.field for control in other.controls}
        options = {"openInNewTab": False, "useCurrentDateRange": False, "useCurrentFilters": taken}
        links.append({"type": "dashboardLink", "id": other.slug, "order": order, "label": other.title,
                      "destinationRefName": name, "options": options})  # fmt: skip
        references.append({"type": "dashboard", "id": dashboard_id(other, namespace), "name": name})
    config = {"attributes": {"layout": "horizontal", "links": links}, "hidePanelTitles": True}
    return _framed("links", _LINKS, Place(0, 0, GRID, _LINKS_HEIGHT), config), references


def _about(dashboard: Dashboard, runbook: str) -> tuple[Json, list[Json]]:
    """What the dashboard is, and what to do. All of it is text of ours: nothing that data say stands in it."""
    headings = ", ".join(f"[{heading}]({runbook}#{heading.lower()})" for heading in dashboard.runbook)
    text = dashboard.about + (f"\n\nWhat to do: {headings}." if headings else "")
    vis = {
        "type": "markdown",
        "title": "",
        "description": "",
        "params": {"fontSize": 12, "openLinksInNewTab": True, "markdown": text},
        "uiState": {},
        "data": {"aggs": [], "searchSource": _NO_QUERY},
    }
    config = {"savedVis": vis, "hidePanelTitles": True}
    return _framed("visualization", _ABOUT, Place(0, _LINKS_HEIGHT, GRID, _ABOUT_HEIGHT), config), []


def _controls(dashboard: Dashboard) -> Json:
    panels = {
        _control_id(control): {
            "type": "optionsListControl",
            "order": order,
            "grow": True,
            "width": "medium",
            "explicitInput": {
                "id": _control_id(control),
                "fieldName": control.field,
                "title": control.label,
                "selectedOptions": [],
                "enhancements": {},
            },
        }
        for order, control in enumerate(dashboard.controls)
    }
    return {
        "chainingSystem": "HIERARCHICAL",
        "controlStyle": "oneLine",
        "showApplySelections": False,
        "ignoreParentSettingsJSON": _json(
            {"ignoreFilters": False, "ignoreQuery": False, "ignoreTimerange": False, "ignoreValidations": False}
        ),
        "panelsJSON": _json(panels),
    }


def _control_id(control: Control) -> str:
    return control.label.lower()


def _control_reference(control: Control, namespace: str) -> Json:
    name = f"controlGroup_{_control_id(control)}:optionsListDataView"
    return {"type": "index-pattern", "id": VIEWS[control.view].id(namespace), "name": name}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
