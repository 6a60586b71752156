"""Settings with which secrets would cross a network in the open are refused at the start, with what to do about it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import MutableMapping
from typing import Final
from urllib.parse import urlsplit

from bundle.addresses import is_loopback
from bundle.installation import PRIVACY_KEY
from serving.errors import Unsafe
from serving.settings import Settings

_SECRETS: Final = frozenset({"SERVING_TOKEN", "SERVING_PRIVACY_KEY", PRIVACY_KEY})


def refuse_unsafe(settings: Settings) -> None:
    """Raises Unsafe, naming the setting."""
    if settings.behind_tls:
        return
    if not is_loopback(settings.host):
        raise Unsafe(
            f"SERVING_HOST={settings.host} can be reached from other machines, and tokens and rows would cross the "
            "network unencrypted: put a proxy with TLS in front and set SERVING_BEHIND_TLS=true, or listen on 127.0.0.1"
        )
    there = urlsplit(settings.control_url)
    host = there.hostname or ""
    if there.scheme != "https" and not is_loopback(host) and not _is_unspecified(host):
        raise Unsafe(
            f"SERVING_CONTROL_URL names another machine ({host}) without TLS, and the service token would cross the "
            "network unencrypted: write https://, or set SERVING_BEHIND_TLS=true where the network itself encrypts"
        )


def take_settings(environment: MutableMapping[str, str] = os.environ) -> Settings:
    """The settings, checked; their secrets are not in the environment afterwards.

    So they are not in what a library logs of it, and not in what a process started from here gets.
    """
    settings = Settings()
    refuse_unsafe(settings)
    settings.key()
    for name in [name for name in environment if name.upper() in _SECRETS]:
        del environment[name]
    return settings


def _is_unspecified(host: str) -> bool:
    """Whether it is the address that stands for all of this machine's: whoever calls it stays here."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
