"""The tokens and the privacy key of one data folder: made at the first start, readable by its owner only."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from pydantic import SecretStr, ValidationError

from bundle.signature import Frozen
from controlplane.auth import digest_of_token, new_token
from controlplane.errors import ControlPlaneError
from controlplane.store import Store


class CredentialsBroken(ControlPlaneError):
    """The credentials file cannot be read."""


class Credentials(Frozen):
    """Secrets; printing the object shows none of them."""

    admin: SecretStr
    service: SecretStr
    predict: SecretStr
    privacy_key: SecretStr


#: token to scopes
SCOPES: dict[str, tuple[str, ...]] = {"admin": ("admin",), "service": ("service",), "predict": ("predict",)}


def read_credentials(path: Path) -> Credentials:
    """The credentials in a file. Raises FileNotFoundError or CredentialsBroken."""
    try:
        return Credentials.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CredentialsBroken(f"{path} is not a credentials file: restore it, or delete it for new ones") from error


def ensure_credentials(path: Path) -> Credentials:
    """The credentials, made now where there are none. Two processes that start at once end with the same
    ones.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(path)
    return read_credentials(path)


def _write_new(path: Path) -> None:
    made = {name: new_token() for name in SCOPES} | {"privacy_key": secrets.token_hex(32)}
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(made, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)  # fails where another process was faster: then its credentials hold
    except FileExistsError:
        return
    finally:
        partial.unlink()


def let_in(store: Store, credentials: Credentials) -> None:
    """Make the store know these tokens by their hashes, and forget those that they replace. Doing it again changes
    nothing.
    """
    tokens: dict[str, SecretStr] = {name: getattr(credentials, name) for name in SCOPES}
    digests = {name: digest_of_token(token.get_secret_value()) for name, token in tokens.items()}
    store.replace_tokens({name: (digests[name], scopes) for name, scopes in SCOPES.items()})
