"""What can be set of the serving process: the environment, read once, handed in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from bundle.home import Home
from bundle.installation import PRIVACY_KEY, CredentialsUnreadable, named_as_before, privacy_key
from bundle.secrets import secrets_folder
from serving.errors import Unsafe


class Settings(BaseSettings):
    """Settings of one serving instance: environment variables that begin with SERVING_."""

    model_config = SettingsConfigDict(
        env_prefix="SERVING_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        secrets_dir=secrets_folder("SERVING_"),
    )

    #: the data folder; the cache, the spool and BentoML's own files are below it
    home: Path
    #: where the control plane answers
    control_url: str = Field(default="http://127.0.0.1:8000", pattern=r"^https?://")
    #: token of scope `service`, for the control plane
    token: SecretStr
    #: key of the pseudonyms, one for the installation; where it is not given, the one in the data folder's credentials
    privacy_key: SecretStr | None = Field(
        default=None, min_length=32, validation_alias=named_as_before("SERVING_PRIVACY_KEY")
    )
    #: a folder with a version, as a Bento carries one: it answers where no control plane has said anything yet
    version_folder: Path | None = None
    #: name of this instance in reports to the control plane
    instance: str = Field(default="serving-1", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    host: str = "127.0.0.1"
    #: a proxy in front speaks TLS, or the network itself encrypts; else only addresses of this machine are allowed
    behind_tls: bool = False
    port: int = Field(default=3000, ge=0, le=65535)
    #: how often the control plane is asked what should be loaded
    poll_seconds: float = Field(default=0.5, gt=0)
    #: no longer than this between two attempts while the control plane is away, or a version fails to load
    longest_wait_seconds: float = Field(default=15.0, gt=0)
    #: a report is sent when something changed, and at the latest after this
    report_seconds: float = Field(default=5.0, gt=0)
    #: bytes that may wait in the spool; beyond them predictions are answered and counted as refused
    spool_quota_bytes: int = Field(default=1 << 30, ge=1 << 16)
    #: how long a version that was replaced stays loaded, so that a rollback is immediate
    keep_previous: timedelta = timedelta(minutes=15)
    #: how long requests in flight may take to end when the process is told to stop
    graceful_seconds: int = Field(default=10, ge=1)

    @property
    def folders(self) -> Home:
        return Home(self.home)

    def key(self) -> bytes:
        """The key that pseudonyms are made with. Raises Unsafe where there is none."""
        try:
            key = privacy_key(self.folders, self.privacy_key)
        except CredentialsUnreadable as error:
            raise Unsafe(f"{error}: restore it, or set {PRIVACY_KEY}") from error
        if key is None:
            raise Unsafe(f"there is no key for pseudonyms: set {PRIVACY_KEY} to the data folder's privacy_key")
        return key
