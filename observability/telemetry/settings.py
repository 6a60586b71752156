"""Settings of logs and metrics, the same for every process: OBSERVABILITY_LOG_* and OBSERVABILITY_METRICS_*."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bundle.addresses import is_loopback

Level = Literal["debug", "info", "warning", "error"]


class MetricsUnsafe(ValueError):
    """Metrics would be read by more than was said; the message says what to do."""


class LogSettings(BaseSettings):
    """How each process writes its log."""

    model_config = SettingsConfigDict(
        env_prefix="OBSERVABILITY_LOG_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    #: JSON in ECS names, or text for people; `auto` writes text on a terminal and JSON everywhere else
    format: Literal["auto", "json", "text"] = "auto"
    #: the least level that is written
    level: Level = "info"
    #: the least level that also goes through the spool into the log store; `off` for none. Of the shipper's own lines
    #: only warnings and errors go there
    spool: Literal["debug", "info", "warning", "error", "off"] = "info"
    #: what the log lines of one process may take of the disk before more are refused
    spool_quota_bytes: int = Field(default=64 << 20, ge=1 << 20)


class MetricsSettings(BaseSettings):
    """Where each process tells its metrics. Nobody has to show a token there, so it is this machine only."""

    model_config = SettingsConfigDict(
        env_prefix="OBSERVABILITY_METRICS_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    #: an address of this machine
    host: str = "127.0.0.1"
    #: allow an address that other machines reach: whoever reaches it reads names of models and how much they are used
    open: bool = False
    #: of the control plane; 0 for no metrics. A port that is taken costs the metrics, never the process
    control_port: int = Field(default=9410, ge=0, le=65535)
    monitor_port: int = Field(default=9411, ge=0, le=65535)
    shipper_port: int = Field(default=9412, ge=0, le=65535)
    serving_port: int = Field(default=9413, ge=0, le=65535)


def refuse_open(settings: MetricsSettings) -> None:
    """Raises MetricsUnsafe where metrics could be read from other machines and nobody said that they may.

    >>> refuse_open(MetricsSettings(host="::1"))
    >>> refuse_open(MetricsSettings(host="0.0.0.0", open=True))
    """
    if settings.open or is_loopback(settings.host):
        return
    raise MetricsUnsafe(
        f"OBSERVABILITY_METRICS_HOST={settings.host} can be reached from other machines, and metrics ask for no token: "
        "listen on 127.0.0.1, or set OBSERVABILITY_METRICS_OPEN=true where the network lets only Prometheus in"
    )
