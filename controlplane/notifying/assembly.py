"""The channels that the settings ask for, checked where a process starts."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from controlplane.access.safety import weakness
from controlplane.errors import EgressRefused, Unsafe
from controlplane.notifying.alertmanager import Alertmanager
from controlplane.notifying.channels import Channel, Links
from controlplane.notifying.egress import Egress, read_allowed
from controlplane.notifying.webhook import Webhook
from controlplane.settings import Settings
from controlplane.store import Store
from observability.clock import Clock, SystemClock

#: the page that has the runbook, where nobody says otherwise
RUNBOOK: Final = "/runbook"


class WebhookDeclared(BaseModel):
    """One entry of CONTROLPLANE_WEBHOOKS."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    url: str
    secret: SecretStr


DECLARED: Final = TypeAdapter(tuple[WebhookDeclared, ...])


def open_channels(settings: Settings, store: Store, wall: Clock | None = None) -> tuple[Channel, ...]:
    """The channels, which the store writes notifications for from now on.

    Raises Unsafe or EgressRefused, naming the setting, for a channel that could not be trusted.
    """
    wall = wall or SystemClock()
    public = (settings.public_url or settings.url).rstrip("/")
    links = Links(public, settings.runbook_url or public + RUNBOOK)
    channels: list[Channel] = []
    if settings.alertmanager_url:
        _check_alertmanager(settings.alertmanager_url)
        channels.append(Alertmanager(settings.alertmanager_url, store, links, wall))
    egress = Egress(read_allowed(settings.allowed_hosts))
    for each in read_webhooks(settings.webhooks.get_secret_value()):
        _check(each, egress)
        secret = each.secret.get_secret_value()
        channels.append(Webhook(f"webhook:{each.name}", each.url, secret, egress, links, wall))
    store.channels = tuple(channel.name for channel in channels)
    return tuple(channels)


def read_webhooks(declared: str) -> tuple[WebhookDeclared, ...]:
    """The entries of CONTROLPLANE_WEBHOOKS. Raises Unsafe; what was declared is not repeated, for it holds secrets."""
    try:
        found = DECLARED.validate_python(json.loads(declared)) if declared.strip() else ()
    except (ValueError, ValidationError) as error:
        what = error.errors(include_input=False, include_url=False) if isinstance(error, ValidationError) else "no JSON"
        raise Unsafe(f"CONTROLPLANE_WEBHOOKS is a JSON list of name, url and secret: {what}") from None
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise Unsafe("CONTROLPLANE_WEBHOOKS: two have the same name")
    return found


def _check(webhook: WebhookDeclared, egress: Egress) -> None:
    if why := weakness(webhook.secret):
        raise Unsafe(
            f"CONTROLPLANE_WEBHOOKS: the secret of {webhook.name} {why}: use what `openssl rand -hex 32` makes"
        )
    try:
        egress.allowed.target(webhook.url)
    except EgressRefused as refused:
        raise EgressRefused(f"CONTROLPLANE_WEBHOOKS: {webhook.name}: {refused.message}", webhook=webhook.name) from None


def _check_alertmanager(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        host = parts.hostname or "what it says"  # and no more of it: it may hold a password
        raise Unsafe(f"CONTROLPLANE_ALERTMANAGER_URL: {host} is not an address such as http://am:9093")
