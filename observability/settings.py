"""Settings of the spool, the shipper and the embedded log store: OBSERVABILITY_* in the environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once where a process starts, then passed on."""

    model_config = SettingsConfigDict(env_prefix="OBSERVABILITY_", extra="forbid", frozen=True)

    #: what one writer may spool before it refuses
    spool_quota_bytes: int = Field(default=1 << 30, ge=1 << 20)
    #: lines moved in one round of the shipper
    batch_lines: int = Field(default=5_000, ge=1, le=100_000)
    #: share of refused lines among the last 1,000 at which shipping stops
    poison_share: float = Field(default=0.05, gt=0, le=1)
