"""Gives each part of Driftgate the API key that it needs, and Kibana its password, once Elasticsearch answers.

    python grant.py FOLDER NAMESPACE      with ELASTICSEARCH_URL in the environment

FOLDER is that of make_secrets.py. A key that the cluster knows stays, and may then do what this release says; one that
it does not know, because its data are new or somebody revoked it, is made anew. What each key may do is in
deploy/elasticsearch/privileges.json.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

PRIVILEGES: Final = Path(__file__).parent.parent / "elasticsearch" / "privileges.json"
#: the file of each key, below the folder of its reader
KEYS: Final = {
    "setup": "setup/observability_elasticsearch_api_key",
    "ship": "ship/observability_elasticsearch_api_key",
    "read": "app/observability_elasticsearch_api_key",
    "kibana": "setup/observability_kibana_api_key",
    "logstash": "logstash/elasticsearch_api_key",
}
#: importing saved objects and rules is Kibana's to allow, not an index privilege
KIBANA: Final = {
    "cluster": [],
    "indices": [{"names": ["logs-driftgate.*"], "privileges": ["read", "view_index_metadata"]}],
    "applications": [{"application": "kibana-.kibana", "privileges": ["all"], "resources": ["*"]}],
}
#: Logstash asks a cluster for its version and its licence before it writes
LOGSTASH: Final = {
    "cluster": ["monitor"],
    "indices": [{"names": ["logs-driftgate.*-NAMESPACE"], "privileges": ["create_doc", "auto_configure"]}],
}
PATIENCE_SECONDS: Final = 180.0
#: what Elasticsearch says of a key that it does not know, or that was revoked
_GONE: Final = frozenset({httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST})


def roles(namespace: str) -> Mapping[str, Any]:
    """What each key may do in this namespace."""
    said = {**json.loads(PRIVILEGES.read_text()), "kibana": KIBANA, "logstash": LOGSTASH}
    told: Mapping[str, Any] = json.loads(json.dumps(said).replace("NAMESPACE", namespace))
    return told


def grant(client: httpx.Client, folder: Path, namespace: str) -> Iterator[str]:
    """Make the keys that the cluster does not know; yields the name of each. Raises HTTPStatusError if it refuses."""
    password = (folder / "setup/kibana_password").read_text()
    client.post("/_security/user/kibana_system/_password", json={"password": password}).raise_for_status()
    for name, role in roles(namespace).items():
        path, may = folder / KEYS[name], {name: role}
        if path.exists() and _brought_up_to_date(client, path.read_text(), may):
            continue
        asked = {"name": f"driftgate-{namespace}-{name}", "role_descriptors": may}
        answer = client.post("/_security/api_key", json=asked).raise_for_status()
        _keep(path, answer.json()["encoded"])
        yield name


def _brought_up_to_date(client: httpx.Client, key: str, may: Mapping[str, Any]) -> bool:
    """Whether the cluster knows the key; it may do just this then."""
    name = base64.b64decode(key).decode().partition(":")[0]
    answer = client.put(f"/_security/api_key/{name}", json={"role_descriptors": may})
    if answer.status_code in _GONE:
        return False
    answer.raise_for_status()
    return True


def _keep(path: Path, key: str) -> None:
    """A key that was made but not kept is one that nobody uses; the next start makes another."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def wait_until_it_answers(client: httpx.Client, patience: float = PATIENCE_SECONDS) -> None:
    """Raises TimeoutError where Elasticsearch does not become ready."""
    give_up_at = time.monotonic() + patience
    while True:
        try:
            if client.get("/_cluster/health", params={"wait_for_status": "yellow", "timeout": "5s"}).is_success:
                return
            said = "it answers, but is not ready"
        except httpx.TransportError as error:
            said = str(error)
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"Elasticsearch at {client.base_url} is not ready after {patience:.0f} s: {said}")
        time.sleep(1)


def main(folder: Path, namespace: str) -> None:
    password = (folder / "setup/elastic_password").read_text()
    url = os.environ["ELASTICSEARCH_URL"]
    with httpx.Client(base_url=url, auth=("elastic", password), timeout=30, trust_env=False) as client:
        wait_until_it_answers(client)
        for name in grant(client, folder, namespace):
            print(f"made the key {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
