"""What holds for the whole installation, whichever process asks: the key that pseudonyms are made with."""

from __future__ import annotations

import json
from typing import Final

from pydantic import AliasChoices, SecretStr

from bundle.home import Home

#: goes before the key in the data folder, for processes that do not share it
PRIVACY_KEY: Final = "DRIFTGATE_PRIVACY_KEY"


class CredentialsUnreadable(ValueError):
    """There is a credentials file, and no privacy key is read from it."""


def named_as_before(name: str) -> AliasChoices:
    """The setting's name, and the one that it had in a process of release 0.1.0."""
    return AliasChoices(PRIVACY_KEY, name)


def privacy_key(home: Home, given: SecretStr | None) -> bytes | None:
    """The installation's one key: the setting's, else that in the data folder; None where neither is there.

    With two keys the pseudonyms of served rows would not be those of trained rows. Raises CredentialsUnreadable.
    """
    if given is not None:
        return given.get_secret_value().encode()
    try:
        key = json.loads(home.credentials.read_bytes())["privacy_key"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CredentialsUnreadable(f"{home.credentials} gives no privacy key ({type(error).__name__})") from error
    if not isinstance(key, str) or not key:
        raise CredentialsUnreadable(f"{home.credentials} gives no privacy key")
    return key.encode()
