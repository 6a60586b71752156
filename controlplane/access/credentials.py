"""The tokens and keys of one data folder: made at the first start, readable by their owner only."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr, ValidationError

from bundle.signature import Frozen
from controlplane.access.tokens import digest_of_token, new_token
from controlplane.errors import ControlPlaneError, Unsafe
from controlplane.settings import Settings
from controlplane.store import Store

LOG: Final = logging.getLogger(__name__)


class CredentialsBroken(ControlPlaneError):
    """The credentials file cannot be read."""


class Credentials(Frozen):
    """Secrets; printing the object shows none of them."""

    admin: SecretStr
    service: SecretStr
    predict: SecretStr
    privacy_key: SecretStr
    #: None in a file of release 0.1.0 that may not be written
    secret_key: SecretStr | None = None


#: token to scopes
SCOPES: dict[str, tuple[str, ...]] = {"admin": ("admin",), "service": ("service",), "predict": ("predict",)}


def read_credentials(path: Path) -> Credentials:
    """The credentials in a file. Raises FileNotFoundError or CredentialsBroken."""
    try:
        return Credentials.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CredentialsBroken(f"{path} is not a credentials file: restore it, or delete it for new ones") from error


def ensure_credentials(path: Path) -> Credentials:
    """The credentials, made now where there are none; a key that an older file lacks is added to it.

    Two processes that start at once end with the same ones.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path)
    known = read_credentials(path)
    return known if known.secret_key is not None else _with_secret_key(path, known)


def installation_key(settings: Settings, credentials: Credentials) -> bytes:
    """The key of this installation, from which secrets of webhooks are derived; replicas must have the same.

    Raises Unsafe where there is none.
    """
    key = settings.secret_key or credentials.secret_key
    if key is None:
        raise Unsafe("the credentials file has no secret_key and cannot be written: set CONTROLPLANE_SECRET_KEY")
    return key.get_secret_value().encode()


def _write_new(path: Path) -> None:
    made = {name: new_token() for name in SCOPES}
    partial = _write(path, made | {"privacy_key": secrets.token_hex(32), "secret_key": secrets.token_hex(32)})
    try:
        os.link(partial, path)  # fails where another process was faster: then its credentials hold
    except FileExistsError:
        return
    finally:
        partial.unlink()


def _with_secret_key(path: Path, known: Credentials) -> Credentials:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # whoever waited reads what the one before wrote
            said = json.loads(path.read_bytes())
            if said.get("secret_key") is None:
                _write(path, said | {"secret_key": secrets.token_hex(32)}).replace(path)
    except OSError as error:
        LOG.info("%s cannot be written (%s): it has no secret_key", path, error.strerror)
        return known
    return read_credentials(path)


def _write(path: Path, said: Mapping[str, str]) -> Path:
    """What is said, on the disk beside the path."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(said, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())
    return partial


def let_in(store: Store, credentials: Credentials) -> None:
    """Make the store know these tokens by their hashes, and forget those that they replace. Doing it again changes
    nothing; one that a person revoked stays out.
    """
    tokens: dict[str, SecretStr] = {name: getattr(credentials, name) for name in SCOPES}
    digests = {name: digest_of_token(token.get_secret_value()) for name, token in tokens.items()}
    for name in store.replace_tokens({name: (digests[name], scopes) for name, scopes in SCOPES.items()}):
        LOG.warning("the token %s of the credentials file was revoked: write another random one into the file", name)
