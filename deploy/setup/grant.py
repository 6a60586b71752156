"""Gives each part of Driftgate the API key that it needs, and Kibana its password, once Elasticsearch answers.

    python grant.py FOLDER NAMESPACE      with ELASTICSEARCH_URL in the environment

FOLDER is that of make_secrets.py. A key that is there stays: running it again changes nothing. What each key may do is
in deploy/elasticsearch/privileges.json.
"""

from __future__ import annotations

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
}
#: importing saved objects and rules is Kibana's to allow, not an index privilege
KIBANA: Final = {
    "cluster": [],
    "indices": [{"names": ["logs-driftgate.*"], "privileges": ["read", "view_index_metadata"]}],
    "applications": [{"application": "kibana-.kibana", "privileges": ["all"], "resources": ["*"]}],
}
PATIENCE_SECONDS: Final = 180.0


def roles(namespace: str) -> Mapping[str, Any]:
    """What each key may do in this namespace."""
    said = PRIVILEGES.read_text().replace("NAMESPACE", namespace)
    return {**json.loads(said), "kibana": KIBANA}


def grant(client: httpx.Client, folder: Path, namespace: str) -> Iterator[str]:
    """Make the keys that are not there yet; yields the name of each. Raises HTTPStatusError where one is refused."""
    password = (folder / "setup/kibana_password").read_text()
    client.post("/_security/user/kibana_system/_password", json={"password": password}).raise_for_status()
    for name, role in roles(namespace).items():
        path = folder / KEYS[name]
        if path.exists():
            continue
        asked = {"name": f"driftgate-{namespace}-{name}", "role_descriptors": {name: role}}
        answer = client.post("/_security/api_key", json=asked).raise_for_status()
        _keep(path, answer.json()["encoded"])
        yield name


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
