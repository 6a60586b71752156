"""Serving does not start with settings that send secrets in the open, and keeps none in its environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from bundle.blobs import BlobStore
from serving.errors import Unsafe
from serving.safety import refuse_unsafe, take_settings
from serving.settings import Settings
from tests.serving_harness import control_plane, serving
from tests.versions import FEATURES_SOURCE, make_version

ROOT = Path(__file__).parents[2]
KEY = "k" * 32
LEAKS = """import os
names = [name for name in os.environ if name == "SERVING_TOKEN" or "PRIVACY_KEY" in name]
if names:
    raise ValueError(f"the environment holds {names}")
"""


def settings(**given: object) -> Settings:
    return Settings.model_validate({"home": Path("/nowhere"), "token": SecretStr("token"), **given})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"host": "0.0.0.0"}, "SERVING_HOST"),
        ({"host": "::"}, "SERVING_HOST"),
        ({"host": "10.0.0.7"}, "SERVING_HOST"),
        ({"host": "serving.example"}, "SERVING_HOST"),
        ({"control_url": "http://control.example:8000"}, "SERVING_CONTROL_URL"),
        ({"control_url": "http://10.0.0.8:8000"}, "SERVING_CONTROL_URL"),
        ({"control_url": "http://127.0.0.1@evil.example"}, "SERVING_CONTROL_URL"),
    ],
)
def test_a_setting_that_sends_secrets_in_the_open_is_refused_by_name_unless_tls_is_in_front(
    given: dict[str, str], named: str
) -> None:
    with pytest.raises(Unsafe, match=f"{named}.*SERVING_BEHIND_TLS"):
        refuse_unsafe(settings(**given))
    refuse_unsafe(settings(**given, behind_tls=True))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"host": "::1"},
        {"host": "localhost", "control_url": "http://localhost:8000"},
        {"control_url": "http://[::1]:8000"},
        {"control_url": "http://0.0.0.0:8000"},
        {"control_url": "https://control.example"},
    ],
)
def test_what_stays_on_this_machine_or_is_encrypted_needs_no_setting(given: dict[str, str]) -> None:
    refuse_unsafe(settings(**given))


def test_a_refused_start_ends_with_one_line_and_no_traceback(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "serving"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={"SERVING_HOME": str(tmp_path / "home"), "SERVING_TOKEN": "a-secret", "SERVING_HOST": "0.0.0.0"},
    )  # fmt: skip
    assert said.returncode == 1
    assert said.stderr.startswith("serving does not start: SERVING_HOST=0.0.0.0")
    assert len(said.stderr.splitlines()) == 1
    assert "a-secret" not in said.stderr


def test_secrets_are_gone_from_the_environment_once_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"SERVING_TOKEN": "a", "serving_token": "a", "DRIFTGATE_PRIVACY_KEY": KEY, "SERVING_PORT": "3000"}
    environment |= {"SERVING_PRIVACY_KEY": KEY, "SERVING_HOME": "/nowhere"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    taken = take_settings(environment)
    assert (taken.token.get_secret_value(), taken.key()) == ("a", KEY.encode())
    assert environment == {"SERVING_PORT": "3000", "SERVING_HOME": "/nowhere"}


def test_the_code_of_a_version_meets_no_secret_in_the_environment_and_the_folder_is_its_owners(tmp_path: Path) -> None:
    with control_plane(BlobStore(tmp_path / "blobs")) as control:
        control.want("production", 1, make_version(control.blobs, features=LEAKS + FEATURES_SOURCE))
        with serving(tmp_path / "new" / "home", control.url) as service:
            service.wait_ready()
            service.wait_version(1)
            written = [service.home.spool, *service.home.spool.rglob("*"), service.home.serving_cache / "desired.json"]
            assert len(written) > 3
            assert {path.stat().st_mode & 0o077 for path in written} == {0}
