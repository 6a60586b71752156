"""What commands share: whom they call, how they answer, and the options that mean the same everywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console

from controlplane.access.credentials import read_credentials
from controlplane.client import ControlClient
from controlplane.errors import Unreachable
from controlplane.settings import Settings

Home = Annotated[Path | None, typer.Option("--home", help="the data folder (CONTROLPLANE_HOME, driftgate-data)")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON value instead of a table")]
Model = Annotated[str, typer.Argument(help="namespace/slug, such as default/tweets")]
Limit = Annotated[int, typer.Option(min=1, help="rows, at most")]
Why = Annotated[str, typer.Option("--reason", help="why: it is kept with who did it")]
Since = Annotated[str | None, typer.Option(help="not earlier than this instant, such as 2026-03-01T00:00:00Z")]
Until = Annotated[str | None, typer.Option(help="earlier than this instant")]
State = Annotated[str | None, typer.Option(help="in this state only")]
Rule = Annotated[str | None, typer.Option(help="of this rule only")]
IfMatch = Annotated[str | None, typer.Option(help="only while its ETag is still this one")]


def settings_of(home: Path | None) -> Settings:
    """The settings, of another data folder where one is named."""
    return Settings(home=home) if home is not None else Settings()


def client_of(home: Path | None) -> ControlClient:
    """A client of the control plane that DRIFTGATE_URL names, or of the data folder.

    The data folder's own token goes to its own control plane only. Raises Unreachable.
    """
    settings = settings_of(home)
    url = os.environ.get("DRIFTGATE_URL", settings.url)
    token = os.environ.get("DRIFTGATE_TOKEN")
    if token is None and url.rstrip("/") != settings.url:
        raise Unreachable(
            f"DRIFTGATE_URL names another control plane than that of this data folder ({settings.url}): "
            "set DRIFTGATE_TOKEN to a token of it"
        )
    if token is None:
        path = settings.folders.credentials
        try:
            token = read_credentials(path).admin.get_secret_value()
        except FileNotFoundError as error:
            raise Unreachable(
                f"there is no {path}: start Driftgate with `driftgate up`, name its data folder with --home, "
                "or set DRIFTGATE_URL and DRIFTGATE_TOKEN"
            ) from error
    authority = os.environ.get("DRIFTGATE_CA_CERT")
    try:
        return ControlClient(url, token, authority=Path(authority) if authority else None)
    except OSError as error:  # ssl.SSLError is one
        raise Unreachable(f"DRIFTGATE_CA_CERT={authority} is no certificate that can be read: {error}") from error


def say(as_json: bool, value: Any, show: Callable[[], None] | str) -> None:  # noqa: ANN401 - JSON or views
    """Print the value as JSON, or as people read it."""
    if as_json:
        print(json.dumps(plain(value)))
    elif isinstance(show, str):
        Console(soft_wrap=True).print(show, markup=False, highlight=False)
    else:
        show()


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON or views
    """Views as the API answers them."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value


def instant(said: str | None, option: str) -> datetime | None:
    """The instant that an option names. Raises BadParameter, which says how to write one."""
    if said is None:
        return None
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter(f"{said!r} is no instant: write 2026-03-01T12:00:00Z", param_hint=option)
    return found
