"""Settings of the control plane: CONTROLPLANE_* in the environment, read once where a process starts.

A setting may also stand in a file of its name in the folder that CONTROLPLANE_SECRETS names.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bundle.home import Home
from bundle.secrets import secrets_folder
from observability.durations import Duration


def _words(said: object) -> object:
    return [word.strip() for word in said.split(",") if word.strip()] if isinstance(said, str) else said


#: addresses or networks, separated by commas
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_words)]
#: separated by commas
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """Settings of the control plane and the monitor. The environment wins over the defaults here."""

    model_config = SettingsConfigDict(
        env_prefix="CONTROLPLANE_", frozen=True, extra="forbid", hide_input_in_errors=True,
        secrets_dir=secrets_folder("CONTROLPLANE_"),
    )  # fmt: skip

    #: the data folder
    home: Path = Path("driftgate-data")
    #: the state of record; SQLite below the data folder where none is given
    database_url: str = Field(default="", repr=False)
    #: who brings the schema to this release: each process as it starts, or a person with `driftgate migrate`
    migrate: Literal["start", "manual"] = "start"
    #: where it listens; other than on this machine only behind a proxy with TLS
    host: str = "127.0.0.1"
    #: a proxy in front speaks TLS with browsers and clients
    behind_tls: bool = False
    #: proxies whose X-Forwarded-For is believed, as addresses or networks with commas
    trusted_proxies: Networks = ()
    #: key of this installation where replicas do not share the data folder; else that of the credentials file
    secret_key: SecretStr | None = None
    #: further variables of the environment that training and serving get, with commas; never those of the control plane
    pass_environment: Names = ()
    port: int = Field(default=8000, ge=1, le=65535)
    #: where serving answers: shown in the admin page and used by `driftgate up`
    serving_port: int = Field(default=3000, ge=1, le=65535)
    #: the machine's clock, or one that follows replayed data
    clock: Literal["system", "replay"] = "system"
    #: between two ticks
    tick: Duration = timedelta(seconds=1)
    #: between two passes of the monitor
    monitor_every: Duration = timedelta(seconds=1)
    #: how long a run stays with a control plane that no longer answers
    lease: Duration = timedelta(seconds=15)
    #: a serving instance that has been silent for longer does not count
    instance_silence: Duration = timedelta(seconds=15)
    #: where Alertmanager answers, such as http://127.0.0.1:9093; none where this is empty
    alertmanager_url: str = Field(default="", repr=False)
    #: signed webhooks that alerts are told to: a JSON list of {"name", "url", "secret"}
    webhooks: SecretStr = SecretStr("")
    #: hosts that webhooks may call over https, with commas; http://127.0.0.1:9999 allows that address in the clear
    allowed_hosts: str = ""
    #: where people reach this control plane, for the links in alerts; where it listens if this is empty
    public_url: str = ""
    #: where the runbook is read, for the links in alerts; the page of this control plane if this is empty
    runbook_url: str = ""

    @property
    def folders(self) -> Home:
        return Home(self.home.absolute())

    @property
    def database(self) -> str:
        """The database's URL; the folder of the default exists afterwards."""
        if self.database_url:
            return self.database_url
        self.folders.make()
        return f"sqlite:///{self.folders.database}"

    @property
    def url(self) -> str:
        """Where this control plane answers, as a client on this machine calls it."""
        return f"http://{self.host}:{self.port}"

    @property
    def serving_url(self) -> str:
        return f"http://{self.host}:{self.serving_port}"
