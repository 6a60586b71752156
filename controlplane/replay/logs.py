"""The log store of a demo: files below its data folder, or data streams of its own in an Elasticsearch."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import ValidationError

from controlplane.replay.source import ReplayRefused
from observability.logstores import open_log_store
from observability.ports import LogStoreUnavailable
from observability.settings import Settings

StoreName: TypeAlias = Literal["embedded", "elasticsearch"]
PREFIX: Final = "OBSERVABILITY_"


def log_settings(store: StoreName | None, url: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The settings, as environment, of the store that was asked for, here or there; none where none was.

    In Elasticsearch each demo has a namespace of its own unless one is named: the events of another are of other times.
    Raises ReplayRefused.
    """
    asked = store or environment.get(PREFIX + "STORE")
    if url is not None and asked != "elasticsearch":
        raise ReplayRefused("--url names an Elasticsearch: say --store elasticsearch as well")
    if asked != "elasticsearch":
        return {PREFIX + "STORE": asked} if asked else {}
    namespace = environment.get(PREFIX + "NAMESPACE") or f"demo_{secrets.token_hex(4)}"
    urls = url or environment.get(PREFIX + "ELASTICSEARCH_URLS")
    if not urls:
        raise ReplayRefused("which Elasticsearch? name it with --url")
    return {PREFIX + "STORE": asked, PREFIX + "ELASTICSEARCH_URLS": urls, PREFIX + "NAMESPACE": namespace}


def refuse_unusable(logs: Mapping[str, str], model: str) -> str:
    """Where the events go, in words. Raises ReplayRefused where the store does not answer, or is not empty."""
    named: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in logs.items()}
    try:
        settings = Settings(**named)
        if settings.store == "embedded":
            return "events are remembered in files below the data folder"
        seen = open_log_store(Path(), settings).watermark(model)
    except ValidationError as error:
        raise ReplayRefused(f"the log store: {error.errors()[0]['msg']}") from error
    except LogStoreUnavailable as error:
        raise ReplayRefused(f"the log store does not answer: {error}") from error
    if seen is not None:
        raise ReplayRefused(
            f"the namespace {settings.namespace} holds predictions of {model}: name another in {PREFIX}NAMESPACE"
        )
    return f"events are remembered in {settings.elasticsearch_urls[0]}, in logs-driftgate.*-{settings.namespace}"
