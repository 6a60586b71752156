"""Settings that would let others in are refused at the start, and secrets are in no log."""

from __future__ import annotations

import json
import logging
import secrets
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controlplane.access.auth import Authenticator
from controlplane.access.credentials import ensure_credentials, installation_key, let_in
from controlplane.access.safety import refuse_unsafe, weakness
from controlplane.cli.calling import client_of
from controlplane.errors import Unauthenticated, Unreachable, Unsafe
from controlplane.notifying.assembly import open_channels
from controlplane.settings import Settings
from controlplane.store.database import connect
from tests.controlplane_world import World

STRONG = secrets.token_hex(32)


@pytest.fixture
def credentials(tmp_path):
    return ensure_credentials(tmp_path / "credentials.json")


def test_the_demo_needs_no_settings(credentials):
    refuse_unsafe(Settings(), credentials)
    refuse_unsafe(Settings(host="localhost", secret_key=SecretStr(STRONG)), credentials)
    refuse_unsafe(Settings(host="0.0.0.0", behind_tls=True), credentials)


@pytest.mark.parametrize(("changes", "said"), [
    ({"host": "0.0.0.0"}, "CONTROLPLANE_BEHIND_TLS"),
    ({"host": "::"}, "CONTROLPLANE_BEHIND_TLS"),
    ({"host": "192.168.1.7"}, "CONTROLPLANE_HOST=192.168.1.7"),
    ({"host": "driftgate.example.com"}, "CONTROLPLANE_BEHIND_TLS"),
    ({"host": ""}, "CONTROLPLANE_BEHIND_TLS"),
    ({"secret_key": "changethis"}, "CONTROLPLANE_SECRET_KEY has fewer than 32"),
    ({"secret_key": STRONG[:31]}, "CONTROLPLANE_SECRET_KEY has fewer than 32"),
    ({"secret_key": ""}, "CONTROLPLANE_SECRET_KEY has fewer than 32"),
    ({"secret_key": "a" * 64}, "few characters"),
    ({"secret_key": "password-password-password-password"}, "tries first"),
    ({"secret_key": "change-this-secret-change-this-secret"}, "tries first"),
    ({"database_url": "postgresql+psycopg://u:postgres@db/x"}, "CONTROLPLANE_DATABASE_URL"),
    ({"database_url": "postgresql+psycopg://u:password1!@db/x"}, "CONTROLPLANE_DATABASE_URL"),
    ({"database_url": "postgresql+psycopg://u:change%2Dme@db/x"}, "CONTROLPLANE_DATABASE_URL"),
    ({"database_url": "postgresql+psycopg://u@db/x?password=postgres"}, "CONTROLPLANE_DATABASE_URL"),
    ({"database_url": "postgresql+psycopg://db/x?user=u&password=s&password=secret"}, "CONTROLPLANE_DATABASE_URL"),
])  # fmt: skip
def test_what_is_unsafe_is_refused_with_its_name_and_what_to_do_and_without_the_secret(credentials, changes, said):
    with pytest.raises(Unsafe) as caught:
        refuse_unsafe(Settings(**changes), credentials)
    assert said in str(caught.value) and ": " in str(caught.value)
    secret = changes.get("secret_key")
    assert not secret or secret not in str(caught.value)


def test_a_weak_secret_in_the_credentials_file_is_refused_too(credentials):
    with pytest.raises(Unsafe, match="admin in the credentials file"):
        refuse_unsafe(Settings(), credentials.model_copy(update={"admin": SecretStr("changethis")}))


def test_no_secret_that_is_made_at_random_is_taken_for_a_weak_one():
    assert not any(weakness(SecretStr(secrets.token_hex(16))) for _ in range(2_000))
    assert not any(weakness(SecretStr(secrets.token_urlsafe(32))) for _ in range(2_000))


def test_settings_say_no_secret_when_printed_nor_when_they_are_wrong(monkeypatch):
    url = f"postgresql+psycopg://u:{STRONG}@db/x"
    settings = Settings(database_url=url, secret_key=SecretStr(STRONG))
    assert settings.database == url
    assert STRONG not in repr(settings) + str(settings)
    monkeypatch.setenv("CONTROLPLANE_DATABASE_URL", url)
    monkeypatch.setenv("CONTROLPLANE_TRUSTED_PROXIES", f"10.0.0.1,{STRONG}")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert STRONG not in str(caught.value)


def test_an_error_of_the_database_repeats_nothing_of_what_was_to_be_written(database_url):
    engine = connect(database_url)
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": STRONG})
    engine.dispose()
    assert STRONG not in str(caught.value)


class NoStore:
    channels = ()

    def told_alerts(self):
        return []

    def alerts_by_id(self, ids):
        return []


def test_a_password_in_the_address_of_alertmanager_is_sent_as_a_header_and_logged_nowhere(monkeypatch, caplog):
    sent, answer = [], lambda request: (sent.append(request), httpx.Response(200, json=[]))[1]
    settings = Settings(alertmanager_url=f"http://ann:{STRONG}@am:9093")
    (channel,) = open_channels(settings, NoStore())
    monkeypatch.setattr(channel._client, "_transport", httpx.MockTransport(answer))
    with caplog.at_level(logging.DEBUG):
        channel.send([])
    assert {str(each.url).partition("/api")[0] for each in sent} == {"http://am:9093"}
    assert all(each.headers["authorization"].startswith("Basic ") for each in sent)
    assert STRONG not in caplog.text and STRONG not in repr(channel)
    with pytest.raises(Unsafe) as caught:
        open_channels(Settings(alertmanager_url=f"ftp://ann:{STRONG}@am"), NoStore())
    assert STRONG not in str(caught.value)


def test_the_admin_token_of_the_data_folder_goes_to_its_own_control_plane_only(tmp_path, monkeypatch):
    made = ensure_credentials(Settings(home=tmp_path).folders.credentials)
    with client_of(tmp_path) as own:
        assert own is not None
    monkeypatch.setenv("DRIFTGATE_URL", "http://127.0.0.1:8000/")
    client_of(tmp_path).close()
    monkeypatch.setenv("DRIFTGATE_URL", "https://driftgate.example.com")
    with pytest.raises(Unreachable, match="DRIFTGATE_TOKEN") as caught:
        client_of(tmp_path)
    assert made.admin.get_secret_value() not in str(caught.value)
    monkeypatch.setenv("DRIFTGATE_TOKEN", "dg_of_another")
    client_of(tmp_path).close()


def test_proxies_are_read_as_addresses_or_networks(monkeypatch):
    monkeypatch.setenv("CONTROLPLANE_TRUSTED_PROXIES", "10.0.0.1, 10.1.0.0/16,::1")
    assert [str(each) for each in Settings().trusted_proxies] == ["10.0.0.1/32", "10.1.0.0/16", "::1/128"]


def test_the_process_does_not_start_with_settings_that_let_others_in(tmp_path):
    environment = {"CONTROLPLANE_HOME": str(tmp_path), "CONTROLPLANE_HOST": "0.0.0.0", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-m", "controlplane", "control"], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "CONTROLPLANE_BEHIND_TLS" in done.stderr and "Traceback" not in done.stderr


def test_an_older_credentials_file_gains_a_key_once_however_many_start_at_once(tmp_path):
    path = tmp_path / "credentials.json"
    made = ensure_credentials(path)
    said = json.loads(path.read_text())
    del said["secret_key"]
    path.write_text(json.dumps(said))
    with ThreadPoolExecutor(8) as pool:
        upgraded = list(pool.map(lambda _: ensure_credentials(path), range(8)))
    keys = {installation_key(Settings(), each) for each in upgraded}
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert upgraded[0].admin == made.admin and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["credentials.json"]


def test_the_key_of_the_settings_goes_before_that_of_the_file_and_none_is_an_error(credentials):
    assert installation_key(Settings(secret_key=SecretStr(STRONG)), credentials) == STRONG.encode()
    older = credentials.model_copy(update={"secret_key": None})
    with pytest.raises(Unsafe, match="CONTROLPLANE_SECRET_KEY"):
        installation_key(Settings(), older)


def test_a_token_of_the_credentials_file_that_was_revoked_stays_out_after_a_restart(tmp_path, caplog):
    world = World(tmp_path)
    made = ensure_credentials(tmp_path / "home" / "credentials.json")
    let_in(world.store, made)
    admin = next(token for token in world.store.tokens() if token.name == "admin")
    world.store.revoke_token(admin.id)
    let_in(world.store, made)
    door = Authenticator(world.store)
    with pytest.raises(Unauthenticated):
        door.authenticate(made.admin.get_secret_value(), "10.0.0.1")
    assert door.authenticate(made.service.get_secret_value(), "10.0.0.1").name == "service"
    assert "admin" in caplog.text and "write another" in caplog.text
