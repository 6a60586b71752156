"""Secrets of a data folder: made once, kept as hashes, replaced as a whole."""

from __future__ import annotations

import json
import logging
import stat

import pytest
from sqlalchemy.exc import IntegrityError

from controlplane.access.auth import Authenticator, digest_of_token
from controlplane.access.credentials import CredentialsBroken, ensure_credentials, let_in, read_credentials
from controlplane.errors import Unauthenticated
from tests.controlplane_world import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_credentials_are_made_once_readable_by_their_owner_only_and_kept_as_hashes(world, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    path = world.folder / "home" / "credentials.json"
    made = ensure_credentials(path)
    let_in(world.store, made)
    let_in(world.store, ensure_credentials(path))

    assert ensure_credentials(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(token.name for token in world.store.tokens()) == ["admin", "predict", "service"]
    secrets = [secret.get_secret_value() for secret in (made.admin, made.service, made.predict, made.privacy_key)]
    assert len(set(secrets)) == 4 and all(len(secret) >= 43 for secret in secrets)
    database = b"".join(file.read_bytes() for file in world.folder.glob("control.db*"))
    said = repr(made) + str(made) + caplog.text + "".join(capsys.readouterr())
    for secret in secrets:
        assert secret.encode() not in database and secret not in said


def test_replaced_credentials_are_let_in_no_more_and_other_tokens_still_are(world):
    old = ensure_credentials(world.folder / "old" / "credentials.json")
    new = ensure_credentials(world.folder / "new" / "credentials.json")
    world.store.add_token("a-colleague", digest_of_token("dg_other"), ["read"])
    let_in(world.store, old)
    before = [token.id for token in world.store.tokens()]
    let_in(world.store, old)
    assert [token.id for token in world.store.tokens()] == before
    let_in(world.store, new)

    door = Authenticator(world.store)
    for name in ("admin", "service", "predict"):
        assert door.authenticate(getattr(new, name).get_secret_value(), "10.0.0.1").name == name
        with pytest.raises(Unauthenticated):
            door.authenticate(getattr(old, name).get_secret_value(), "10.0.0.1")
    assert door.authenticate("dg_other", "10.0.0.1").name == "a-colleague"


def test_replacing_credentials_is_all_or_nothing(world):
    old = ensure_credentials(world.folder / "old" / "credentials.json")
    let_in(world.store, old)
    again = old.model_copy(update={"service": old.admin})
    with pytest.raises(IntegrityError):
        let_in(world.store, again)

    assert Authenticator(world.store).authenticate(old.service.get_secret_value(), "10.0.0.1").name == "service"


def test_a_broken_credentials_file_is_said_to_be_broken_without_its_contents(tmp_path):
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({"admin": "dg_secret"}))
    with pytest.raises(CredentialsBroken) as caught:
        read_credentials(path)
    assert "dg_secret" not in str(caught.value)
