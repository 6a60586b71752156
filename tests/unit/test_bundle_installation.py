"""One key of pseudonyms for the installation, whoever asks and by whichever name it was set; a folder of its own."""

from __future__ import annotations

import json
import os

import pytest
from pydantic import SecretStr, ValidationError

from bundle.home import Home
from bundle.installation import CredentialsUnreadable, privacy_key
from bundle.signature import RawField
from observability.durable import replace_durably
from pipeline.errors import BadSource
from pipeline.settings import PipelineSettings
from pipeline.settings import privacy_key as of_pipeline
from serving.errors import Unsafe
from serving.settings import Settings
from tests.controlplane_world import spec

KEY, OTHER, OLD = "a" * 32, "b" * 32, "c" * 32
SPEC = spec()
HASHED = SPEC.model_copy(update={"raw": (*SPEC.raw, RawField(name="secret_name", type="string", privacy="hash"))})


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("DRIFTGATE_PRIVACY_KEY", "SERVING_PRIVACY_KEY", "PIPELINE_PRIVACY_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SERVING_HOME", str(tmp_path))
    monkeypatch.setenv("SERVING_TOKEN", "service-token")
    return Home(tmp_path)


def both(home):
    """The key as serving takes it and as the pipeline takes it."""
    return Settings().key(), of_pipeline(home, HASHED)


def test_both_take_the_key_of_the_data_folder(home):
    home.credentials.write_text(json.dumps({"privacy_key": KEY}))
    assert both(home) == (KEY.encode(), KEY.encode())


def test_one_setting_goes_before_it_for_both_and_before_the_names_of_before(home, monkeypatch):
    home.credentials.write_text(json.dumps({"privacy_key": KEY}))
    monkeypatch.setenv("SERVING_PRIVACY_KEY", OLD)
    monkeypatch.setenv("PIPELINE_PRIVACY_KEY", OLD)
    assert both(home) == (OLD.encode(), OLD.encode())
    monkeypatch.setenv("DRIFTGATE_PRIVACY_KEY", OTHER)
    assert both(home) == (OTHER.encode(), OTHER.encode())


def test_no_key_at_all_is_told_with_the_name_of_the_setting(home):
    with pytest.raises(Unsafe, match="DRIFTGATE_PRIVACY_KEY"):
        Settings().key()
    with pytest.raises(BadSource, match=r"secret_name.*DRIFTGATE_PRIVACY_KEY"):
        of_pipeline(home, HASHED)


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"privacy_key": ""}', '{"privacy_key": 5}', "not json"])
def test_a_credentials_file_without_a_key_is_never_no_key(home, said):
    home.credentials.write_text(said)
    with pytest.raises(CredentialsUnreadable):
        privacy_key(home, None)
    with pytest.raises(Unsafe, match=r"credentials\.json"):
        Settings().key()
    with pytest.raises(BadSource, match=r"credentials\.json"):
        of_pipeline(home, HASHED)
    assert privacy_key(home, SecretStr(KEY)) == KEY.encode()


@pytest.mark.parametrize("settings", [Settings, PipelineSettings])
def test_a_short_key_is_refused_under_its_common_name(home, monkeypatch, settings):
    monkeypatch.setenv("DRIFTGATE_PRIVACY_KEY", "short")
    with pytest.raises(ValidationError, match="at least 32"):
        settings()


def test_the_data_folder_and_what_is_replaced_in_it_are_their_owners_only(tmp_path):
    before = os.umask(0o022)
    try:
        Home(tmp_path / "made").make()
        replace_durably(tmp_path / "made" / "file", b"rows")
        (tmp_path / "shared").mkdir(mode=0o755)
        Home(tmp_path / "shared").make()
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("made", "made/file", "shared")]
    assert modes == [0o700, 0o600, 0o755]
