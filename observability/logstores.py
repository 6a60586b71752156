"""The log store that the settings name: the one place where an adapter is chosen."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from observability.ports import LogStore
from observability.settings import Settings


def open_log_store(folder: Path, settings: Settings) -> LogStore:
    """The log store of an installation; `folder` is where an embedded one keeps its files."""
    if settings.store == "elasticsearch":
        from observability.elastic.store import ElasticLogStore

        return ElasticLogStore.connect(settings)
    from observability.embedded.store import ParquetLogStore
    from observability.embedded.tables import TableName

    kept: dict[TableName, timedelta] = {
        "predictions": settings.retention,
        "labels": settings.retention,
        "service": settings.service_retention,
    }
    return ParquetLogStore(folder, retention=kept)
