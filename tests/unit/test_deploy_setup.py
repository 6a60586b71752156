"""What compose.yaml runs once: secrets nobody guesses, each for its reader, and keys that may do what they must."""

from __future__ import annotations

import base64
import json
import re
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from controlplane.access.safety import weakness
from controlplane.settings import Settings
from deploy.setup import grant, make_secrets

ROOT = Path(__file__).parents[2]
ALL = ["setup", "ship", "read", "kibana", "logstash"]


@pytest.fixture
def folder(tmp_path):
    list(make_secrets.make(tmp_path, own=False))
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_secrets_are_random_and_readable_by_their_owner_only(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    list(make_secrets.make(other, own=False))
    for name, said in files(folder).items():
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o400
        assert said != files(other)[name]
        secret = make_url(said).password if "://" in said else said
        assert not weakness(SecretStr(secret)), name


def test_what_is_there_stays_at_every_later_start(folder):
    before = files(folder)
    assert list(make_secrets.make(folder, own=False)) == []
    assert files(folder) == before


def test_a_start_that_was_killed_goes_on_where_it_was(folder):
    before = files(folder)
    (folder / "setup/kibana_password").unlink()
    (folder / "app/.controlplane_database_url.partial").write_text("half")
    (folder / "app/controlplane_database_url").unlink()
    assert list(make_secrets.make(folder, own=False)) == ["setup/kibana_password", "app/controlplane_database_url"]
    assert files(folder) == before, "copies say what their originals say"


def test_the_control_plane_reads_its_settings_from_files_and_the_environment_wins(folder, monkeypatch):
    named = folder / "app"
    assert make_url(Settings(_secrets_dir=named).database_url).host == "postgres"
    monkeypatch.setenv("CONTROLPLANE_DATABASE_URL", "sqlite:///x.db")
    assert Settings(_secrets_dir=named).database_url == "sqlite:///x.db"


class Cluster:
    """Takes what an Elasticsearch with security takes of these, and remembers it."""

    def __init__(self, born: str = "first") -> None:
        self.asked: list[tuple[str, dict]] = []
        self.keys: list[str] = []
        self.refuses = ""
        self.born = born

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"{}")
        assert request.headers["authorization"].startswith("Basic ")
        if self.refuses and self.refuses in json.dumps(body):
            return httpx.Response(403, json={"error": "no"})
        self.asked.append((path, body))
        if request.method == "PUT":
            known = path.rpartition("/")[2] in self.keys
            return httpx.Response(200 if known else 404, json={"updated": known})
        if path == "/_security/api_key":
            self.keys.append(f"id-{len(self.keys)}-{self.born}")
            return httpx.Response(200, json={"encoded": base64.b64encode(f"{self.keys[-1]}:x".encode()).decode()})
        return httpx.Response(200, json={})

    def client(self) -> httpx.Client:
        return httpx.Client(base_url="http://es", auth=("elastic", "x"), transport=httpx.MockTransport(self.answer))


def test_each_part_gets_its_key_once(folder):
    cluster = Cluster()
    assert list(grant.grant(cluster.client(), folder, "default")) == ALL
    path, body = cluster.asked[0]
    assert path == "/_security/user/kibana_system/_password"
    assert body["password"] == (folder / "kibana/password").read_text()
    kept = base64.b64decode((folder / "ship/observability_elasticsearch_api_key").read_text()).decode()
    assert kept == "id-1-first:x", "the form that clients take"
    before = files(folder)
    assert list(grant.grant(cluster.client(), folder, "default")) == [] and files(folder) == before


def test_a_later_release_gives_the_keys_what_it_needs(folder):
    cluster = Cluster()
    list(grant.grant(cluster.client(), folder, "default"))
    cluster.asked.clear()
    list(grant.grant(cluster.client(), folder, "default"))
    updated = {path.rpartition("/")[2]: body["role_descriptors"] for path, body in cluster.asked[1:]}
    assert updated == {f"id-{n}-first": {name: grant.roles("default")[name]} for n, name in enumerate(ALL)}


def test_a_cluster_with_new_data_gets_new_keys(folder):
    list(grant.grant(Cluster().client(), folder, "default"))
    before = files(folder)
    assert list(grant.grant(Cluster("second").client(), folder, "default")) == ALL
    assert all(files(folder)[key] != before[key] for key in grant.KEYS.values())


def test_a_refused_key_ends_the_start_and_the_next_one_makes_the_rest(folder):
    cluster = Cluster()
    cluster.refuses = "driftgate-default-read"
    with pytest.raises(httpx.HTTPStatusError):
        list(grant.grant(cluster.client(), folder, "default"))
    cluster.refuses = ""
    assert list(grant.grant(cluster.client(), folder, "default")) == ["read", "kibana", "logstash"]


def test_the_privileges_are_those_of_the_docs_which_a_real_cluster_proves():
    told = (ROOT / "docs" / "operations.md").read_text()
    block = re.search(r"```json\n(\{\n  \"setup\".*?)```", told, re.S)[1]
    assert json.loads(grant.PRIVILEGES.read_text()) == json.loads(block)
    assert "NAMESPACE" not in json.dumps(grant.roles("default")) and list(grant.roles("default")) == list(grant.KEYS)


def test_the_rights_of_other_shippers_are_those_of_the_docs():
    told = (ROOT / "docs" / "deploy.md").read_text()
    block = re.search(r"```json\n(.*?)```", told, re.S)[1]
    assert json.loads(block) == grant.LOGSTASH


def test_it_waits_until_the_cluster_answers_and_says_who_does_not():
    class Late(BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self) -> None:
            Late.asked += 1
            self.send_response(200 if Late.asked > 1 else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as client:
            grant.wait_until_it_answers(client, 30)
        server.shutdown()
        port = server.server_port
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        pytest.raises(TimeoutError, match=str(port)),
    ):
        grant.wait_until_it_answers(client, 0)
