"""A real serving process (BentoML's worker), and a small real HTTP server in place of the control plane."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from bundle.blobs import BlobStore, digest_of
from bundle.home import Home
from observability.spool.writer import segments_of
from tests.versions import MODEL_ID

TOKEN = "predict-token"
READ_TOKEN = "read-token"
EXPIRED_TOKEN = "expired-token"
SERVICE_TOKEN = "service-token"
PRIVACY_KEY = "k" * 32
PREDICT = f"/v1/models/{MODEL_ID}/predict"
LABELS = f"/v1/models/{MODEL_ID}/labels"
ROW = {"text": "ask @jane", "author": "jane", "followers": 12, "place": "Paris", "undeclared": "dropped"}
_ROOT = Path(__file__).parents[1]


def token_entry(token: str, scopes: list[str], expires_at: str | None = None) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(token.encode()).hexdigest(), "scopes": scopes, "expires_at": expires_at}


class _Quiet(ThreadingHTTPServer):
    """Says nothing of a caller that is killed while it asks, as serving is here."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class ControlStandIn:
    """Serves the desired state and blobs, takes reports, and can be told to lie about a blob or to withhold it."""

    def __init__(self, blobs: BlobStore, port: int = 0) -> None:
        self.blobs = blobs
        self.reports: list[dict[str, Any]] = []
        self.lies: dict[str, bytes] = {}
        self.withheld: set[str] = set()
        self.asked: list[str] = []
        self.not_modified = 0
        self._models: dict[str, dict[str, Any]] = {MODEL_ID: {"production": None, "staging": None}}
        self._server = _Quiet(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def want(self, role: str, version: int, manifest: str, model: str = MODEL_ID, **rival: Any) -> None:
        """A version in a role; a rival comes with its share, and whether it was promoted before."""
        state = self._models.setdefault(model, {"production": None, "staging": None})
        self._models[model] = {**state, role: {"version": version, "manifest": manifest, **rival}}

    def end(self, role: str, model: str = MODEL_ID) -> None:
        """No version in that role."""
        self._models[model] = {**self._models[model], role: None}

    def promote(self, version: int, manifest: str) -> None:
        """The version in production and the one before as its rival, in one desired state."""
        before = self._models[MODEL_ID]["production"]
        production = {"version": version, "manifest": manifest}
        rival = {**before, "share": 0.0, "promoted": True}
        self._models[MODEL_ID] = {"production": production, "staging": None, "rival": rival}

    def blob(self, digest: str) -> tuple[int, bytes]:
        self.asked.append(digest)
        if digest in self.withheld:
            return 503, b""
        if digest in self.lies:
            return 200, self.lies[digest]
        return (200, self.blobs.get(digest)) if digest in self.blobs else (404, b"")

    @property
    def desired(self) -> dict[str, Any]:
        return {
            "models": [{"model": model, **state} for model, state in self._models.items()],
            "tokens": [
                token_entry(TOKEN, ["predict"]),
                token_entry(READ_TOKEN, ["read"]),
                token_entry(EXPIRED_TOKEN, ["predict"], "2020-01-01T00:00:00Z"),
            ],
        }

    def wait_for_report(self, what: str, version: int, seconds: float = 15) -> dict[str, Any]:
        """A version's entry in the newest report's list `loaded` or `failed`, once it is there."""

        def found() -> dict[str, Any] | None:
            entries = self.reports[-1][what] if self.reports else []
            return next((entry for entry in entries if entry["version"] == version), None)

        return wait_until(found, f"version {version} is reported {what}", seconds)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler_of(control: ControlStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if self.headers["Authorization"] != f"Bearer {SERVICE_TOKEN}":
                return self._send(401, b"")
            if self.path == "/api/v1/serving/desired":
                return self._desired()
            return self._send(*control.blob(self.path.removeprefix("/api/v1/blobs/")))

        def _desired(self) -> None:
            body = json.dumps(control.desired).encode()
            etag = f'"{digest_of(body)[:16]}"'
            if self.headers["If-None-Match"] == etag:
                control.not_modified += 1
                return self._send(304, b"", etag)
            return self._send(200, body, etag)

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            control.reports.append(json.loads(body))
            self._send(200, b"{}")

        def _send(self, status: int, body: bytes, etag: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", etag or '"none"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


class ServingProcess:
    """`python -m serving` on a free port."""

    module = "serving"

    def __init__(self, home: Path, control_url: str, **settings: Any) -> None:
        self.home = Home(home)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._control_url = control_url
        self._settings = settings
        self.start()

    def start(self) -> None:
        given = {f"SERVING_{name.upper()}": str(value) for name, value in self._settings.items()}
        environment = {
            **os.environ,
            "SERVING_HOME": str(self.home.root), "SERVING_CONTROL_URL": self._control_url,
            "SERVING_TOKEN": SERVICE_TOKEN, "SERVING_PRIVACY_KEY": PRIVACY_KEY,
            "SERVING_PORT": str(self.port), "SERVING_POLL_SECONDS": "0.05", **given,
        }  # fmt: skip
        self.home.root.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module], env=environment, cwd=_ROOT, stdout=log, stderr=log
            )

    @property
    def log(self) -> Path:
        return self.home.root / "serving.log"

    def client(self, token: str | None = TOKEN) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def wait_ready(self, path: str = "/readyz", seconds: float = 60) -> ServingProcess:
        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return httpx.get(self.url + path, timeout=5, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, f"serving answers {path}\n{self.log.read_text()}", seconds)
        return self

    def wait_version(self, version: int, seconds: float = 20) -> None:
        with self.client() as client:
            wait_until(lambda: served_version(client) == version, f"version {version} answers", seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def spooled(self) -> list[bytes]:
        """Every line in the spool."""
        folders = sorted(self.home.spool.glob("serving-[0-9]*"))
        return [line for f in folders for s in segments_of(f) for line in s.read_bytes().splitlines()]


def served_version(client: httpx.Client) -> int | None:
    response = client.post(PREDICT, json={"rows": [ROW]})
    return response.json()["predictions"][0]["version"] if response.status_code == 200 else None


@contextmanager
def serving(home: Path, control_url: str, **settings: Any) -> Iterator[ServingProcess]:
    process = ServingProcess(home, control_url, **settings)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.kill()


@contextmanager
def control_plane(blobs: BlobStore) -> Iterator[ControlStandIn]:
    control = ControlStandIn(blobs)
    try:
        yield control
    finally:
        control.stop()


def wait_until(condition: Any, what: str, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
