"""The page of one window: what was compared, with which numbers, and what was decided because of it."""

from __future__ import annotations

from typing import Any

from controlplane.loop.reporting import was_compared
from controlplane.tables import Version
from controlplane.ui import words
from controlplane.ui.queries import Reader
from controlplane.ui.reading import Seen, better, bounds_of, has_beginning, seen, watched_metric
from pipeline.contract.spec import ModelSpec


def window_page(reader: Reader, model_id: str, window_id: str) -> dict[str, Any]:
    """Everything the page shows. Raises NotFound."""
    model = reader.model(model_id)
    row = reader.window(model_id, window_id)
    spec = ModelSpec.model_validate(model.spec)
    before, after = reader.beside(row)
    window = seen([row])[0]
    return {
        "model": model_id,
        "window": window,
        "start": row.after_time if has_beginning(row) else None,
        "end": row.until_time,
        "before": before,
        "after": after,
        "limit": bounds_of(spec, row.monitor, row.segment),
        "metric": watched_metric(spec, row.monitor, row.segment),
        "errors": error_rows(window, reader.version_or_none(model_id, row.version)),
        "features": sorted(window.verdict.features, key=lambda feature: -(feature.severity or 0.0)),
        "reportable": was_compared(row.verdict),
        "watched": spec.watched,
        "types": {feature.name: feature.type for feature in spec.features},
        "decisions": reader.decided_on(row),
    }


def error_rows(window: Seen, answered: Version | None) -> list[dict[str, Any]]:
    """Error metrics beside those on the version's own out-of-time rows and those of the constant answer."""
    constant = answered.constant_metrics if answered else {}
    return [
        {
            "name": words.metric(name),
            "value": value,
            "reference": window.verdict.reference_error.get(name),
            "constant": constant.get(name),
            "interval": window.verdict.intervals.get(name),
            "better": better(name, value, constant.get(name)),
        }
        for name, value in window.verdict.error.items()
    ]
