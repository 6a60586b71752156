"""Settings of the spool, the shipper, the log store and Kibana: OBSERVABILITY_* in the environment.

A setting may also stand in a file of its name in the folder that OBSERVABILITY_SECRETS names.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bundle.secrets import secrets_folder
from observability.durations import Duration


def _words(said: object) -> object:
    return tuple(word.strip() for word in said.split(",") if word.strip()) if isinstance(said, str) else said


def _addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    for url in value:
        if not _is_node(url):
            raise ValueError(f"{_without_secrets(url)!r} is no node's URL: write http:// or https://, host and port")
    return value


def _is_node(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname and parts.port) and parts.username is None
    except ValueError:
        return False


def _without_secrets(url: str) -> str:
    return url.rpartition("@")[2]


def _address(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no URL: write http:// or https://, host and port")
    return url


class Settings(BaseSettings):
    """Read once where a process starts, then passed on."""

    model_config = SettingsConfigDict(
        env_prefix="OBSERVABILITY_", extra="forbid", frozen=True, hide_input_in_errors=True,
        secrets_dir=secrets_folder("OBSERVABILITY_"),
    )  # fmt: skip

    #: what one writer may spool before it refuses
    spool_quota_bytes: int = Field(default=1 << 30, ge=1 << 20)
    #: lines moved in one round of the shipper
    batch_lines: int = Field(default=5_000, ge=1, le=100_000)
    #: share of refused lines among the last 1,000 at which shipping stops
    poison_share: float = Field(default=0.05, gt=0, le=1)
    #: what the dead letters may hold; beyond that shipping waits, and drops none
    dead_letter_quota_bytes: int = Field(default=1 << 30, ge=1 << 20)
    #: where events are remembered: files below the data folder, or Elasticsearch
    store: Literal["embedded", "elasticsearch"] = "embedded"
    #: nodes of Elasticsearch, with commas
    elasticsearch_urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words), AfterValidator(_addresses)] = ()
    #: an API key with the privileges that docs/operations.md names; none for a cluster without security
    elasticsearch_api_key: SecretStr | None = None
    #: certificate of the authority that signed those of the nodes; the system's where none is given
    elasticsearch_ca_cert: Path | None = None
    #: how long one call may take before its outcome counts as unknown
    elasticsearch_timeout: Duration = timedelta(seconds=30)
    #: primary shards of each data stream's next index; one holds some 50 GB
    elasticsearch_shards: int = Field(default=1, ge=1, le=64)
    #: copies of each shard, as far as there are nodes for them
    elasticsearch_replicas: int = Field(default=1, ge=0, le=8)
    #: the last part of the names of all data streams, so that installations can share a cluster
    namespace: str = Field(default="default", pattern="^[a-z0-9_]{1,64}$")
    #: how long predictions and labels are kept
    retention: Duration = timedelta(days=400)
    #: how long lines of the processes' own logs are kept
    service_retention: Duration = timedelta(days=30)

    #: where Kibana is, such as https://kibana.example.com:5601; none where nothing is imported there
    kibana_url: Annotated[str, AfterValidator(_address)] = ""
    #: an API key with the privileges that docs/kibana.md names; none for a Kibana without security
    kibana_api_key: SecretStr | None = None
    #: the space to import into; Kibana's default space where none is named
    kibana_space: str = Field(default="", pattern="^[a-z0-9_-]{0,100}$")
    #: certificate of the authority that signed Kibana's; the system's where none is given
    kibana_ca_cert: Path | None = None

    @model_validator(mode="after")
    def _store_has_an_address(self) -> Settings:
        if self.store == "elasticsearch" and not self.elasticsearch_urls:
            raise ValueError("elasticsearch_urls: name the nodes of the Elasticsearch to use")
        return self
