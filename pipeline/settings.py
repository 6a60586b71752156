"""What a run takes from its surroundings."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from bundle import installation
from bundle.home import Home
from bundle.installation import PRIVACY_KEY, CredentialsUnreadable, named_as_before
from observability.durations import Duration
from pipeline.contract.spec import ModelSpec
from pipeline.errors import BadSource

#: the log store may show an event this long after it was observed; the ids of that time are held in memory while
#: it is read again, about 150 bytes a row
OVERLAP: Final = timedelta(hours=24)


class PipelineSettings(BaseSettings):
    """Read once at the start, from PIPELINE_* in the environment."""

    model_config = SettingsConfigDict(env_prefix="PIPELINE_", frozen=True, populate_by_name=True)

    #: key of the pseudonyms, one for the installation; where it is not given, the one in the data folder's credentials
    privacy_key: SecretStr | None = Field(
        default=None, min_length=32, validation_alias=named_as_before("PIPELINE_PRIVACY_KEY")
    )
    #: where Spark runs; local with two threads unless a cluster is named
    spark_master: str = "local[2]"
    spark_driver_memory: str = "1g"
    #: what was served is read again this far back in each run: an event may reach the log store this much too late
    served_overlap: Duration = OVERLAP


def privacy_key(home: Home, spec: ModelSpec) -> bytes:
    """The key that pseudonyms are made with. Raises BadSource where a field needs one and there is none."""
    if all(field.privacy != "hash" for field in spec.raw):
        return b""
    try:
        key = installation.privacy_key(home, PipelineSettings().privacy_key)
    except CredentialsUnreadable as error:
        raise BadSource(f"{error}: restore it, or set {PRIVACY_KEY}") from error
    if key is not None:
        return key
    names = ", ".join(field.name for field in spec.raw if field.privacy == "hash")
    raise BadSource(
        f"{names}: privacy is hash, but there is no key: set {PRIVACY_KEY} (or PIPELINE_PRIVACY_KEY, its name before)"
    )
