"""A panel as Lens keeps it: the state of a form-based chart, as Kibana 8.x exports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from observability.kibana.conditions import kuery_of
from observability.kibana.panels import Between, Metric, Over, Panel, Split, Top, Unit
from observability.kibana.queries import metric_name, split_name

Json: TypeAlias = dict[str, Any]

LAYER: Final = "layer"
#: by which name a chart finds its data view
REFERENCE: Final = f"indexpattern-datasource-layer-{LAYER}"
#: the name in Lens of what is counted where no field is
_RECORDS: Final = "___records___"
_TYPES: Final[Mapping[str, str]] = {
    "number": "lnsMetric", "line": "lnsXY", "bars": "lnsXY", "area": "lnsXY", "table": "lnsDatatable",
    "heat": "lnsHeatmap",
}  # fmt: skip
_SERIES: Final[Mapping[str, str]] = {"line": "line", "bars": "bar_stacked", "area": "area_stacked"}
_FORMATS: Final[Mapping[Unit, Json]] = {
    "percent": {"id": "percent", "params": {"decimals": 1}},
    "nanoseconds": {"id": "duration", "params": {"fromUnit": "nanoseconds", "toUnit": "asMilliseconds", "decimals": 1}},
    "milliseconds": {
        "id": "duration",
        "params": {"fromUnit": "milliseconds", "toUnit": "humanizePrecise", "decimals": 1},
    },
    "seconds": {"id": "duration", "params": {"fromUnit": "seconds", "toUnit": "humanizePrecise", "decimals": 1}},
}


def lens_of(panel: Panel, namespace: str) -> Json:
    """The attributes of the chart. Raises UnknownField for a field that its data view does not have."""
    splits = {split_name(number): _split(split, panel) for number, split in enumerate(panel.by)}
    metrics = {metric_name(number): _metric(metric, panel) for number, metric in enumerate(panel.metrics)}
    layer: Json = {"columnOrder": [*splits, *metrics], "columns": {**splits, **metrics}, "incompleteColumns": {}}
    layer |= {"sampling": 1, "ignoreGlobalFilters": panel.whole}
    return {
        "title": "",
        "description": panel.note,
        "type": "lens",
        "visualizationType": _TYPES[panel.shape],
        "references": [{"type": "index-pattern", "id": panel.reads.id(namespace), "name": REFERENCE}],
        "state": {
            "adHocDataViews": {},
            "datasourceStates": {"formBased": {"layers": {LAYER: layer}}},
            "filters": [],
            "internalReferences": [],
            "query": {"language": "kuery", "query": kuery_of(panel.where)},
            "visualization": _visualization(panel, list(splits), list(metrics)),
        },
    }


def _metric(metric: Metric, panel: Panel) -> Json:
    if metric.field is not None:
        panel.reads.type_of(metric.field)  # so that it is known to be there
    column: Json = {
        "label": metric.label,
        "customLabel": True,
        "dataType": "number",
        "isBucketed": False,
        "scale": "ratio",
        "operationType": "unique_count" if metric.operation == "unique" else metric.operation,
        "sourceField": metric.field or _RECORDS,
        "params": _metric_params(metric),
    }
    if metric.where:
        column["filter"] = {"language": "kuery", "query": kuery_of(metric.where)}
    return column


def _metric_params(metric: Metric) -> Json:
    params: Json = {}
    if metric.operation == "percentile":
        params["percentile"] = metric.percentile
    else:
        params["emptyAsNull"] = metric.operation != "count"
    if metric.unit in _FORMATS:
        params["format"] = _FORMATS[metric.unit]
    return params


def _split(split: Split, panel: Panel) -> Json:
    kept: Json = {"isBucketed": True, "sourceField": split.field, "dataType": panel.reads.type_of(split.field)}
    match split:
        case Over():
            params: Json = {"interval": "auto", "includeEmptyRows": False, "dropPartials": False}
            return {
                **kept,
                "label": split.field,
                "operationType": "date_histogram",
                "scale": "interval",
                "params": params,
            }
        case Top(_, label, size):
            params = {
                "size": size,
                "orderBy": {"type": "column", "columnId": metric_name(0)},
                "orderDirection": "desc",
                "otherBucket": False,
                "missingBucket": False,
                "parentFormat": {"id": "terms"},
            }
            named: Json = {"label": label, "customLabel": True}
            return {**kept, **named, "operationType": "terms", "scale": "ordinal", "params": params}
        case Between(_, label, edges):
            ends = (*edges[1:], None)
            ranges = [{"from": low, "to": high, "label": ""} for low, high in zip(edges, ends, strict=True)]
            params = {"type": "range", "ranges": ranges, "maxBars": "auto", "parentFormat": {"id": "range"}}
            named = {"label": label, "customLabel": True, "dataType": "string"}
            return {**kept, **named, "operationType": "range", "scale": "ordinal", "params": params}


def _visualization(panel: Panel, splits: list[str], metrics: list[str]) -> Json:
    common: Json = {"layerId": LAYER, "layerType": "data"}
    match panel.shape:
        case "number":
            return {**common, "metricAccessor": metrics[0]}
        case "table":
            return {**common, "columns": [{"columnId": name} for name in (*splits, *metrics)]}
        case "heat":
            return {**common, **_HEAT, "xAccessor": splits[-1], "yAccessor": splits[0], "valueAccessor": metrics[0]}
        case _:
            return _xy(panel, common, splits, metrics)


def _xy(panel: Panel, common: Json, splits: list[str], metrics: list[str]) -> Json:
    """What is innermost runs along the axis, what is outermost has a colour."""
    series = _SERIES[panel.shape]
    layer: Json = {**common, "seriesType": series, "accessors": metrics, "xAccessor": splits[-1], "position": "top"}
    if len(splits) > 1:
        layer["splitAccessor"] = splits[0]
    return {
        "layers": [layer],
        "preferredSeriesType": series,
        "legend": {"isVisible": True, "position": "bottom"},
        "valueLabels": "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "gridlinesVisibilitySettings": {"x": True, "yLeft": True, "yRight": True},
        "tickLabelsVisibilitySettings": {"x": True, "yLeft": True, "yRight": True},
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0},
    }


_HEAT: Final[Json] = {
    "shape": "heatmap",
    "legend": {"isVisible": True, "position": "right", "type": "heatmap_legend"},
    "gridConfig": {
        "type": "heatmap_grid",
        "isCellLabelVisible": False,
        "isXAxisLabelVisible": True,
        "isXAxisTitleVisible": False,
        "isYAxisLabelVisible": True,
        "isYAxisTitleVisible": False,
    },
}
