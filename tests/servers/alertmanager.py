"""A real Alertmanager for the tests, and a receiver behind it that remembers what it was told."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.servers.absence import absent

START_SECONDS: Final = 30.0
PROGRAMS: Final = ("prometheus-alertmanager", "alertmanager")
#: every alert is a group of its own and is told at once
CONFIG: Final = """
route:
  receiver: people
  group_by: ["..."]
  group_wait: 50ms
  group_interval: 100ms
  repeat_interval: 1h
receivers:
  - name: people
    webhook_configs:
      - url: {url}
        send_resolved: true
        max_alerts: 0
"""


class Receiver:
    """Takes what is posted to it, or refuses it while it is down."""

    def __init__(self) -> None:
        receiver = self
        self.down = False
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.refused = 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.down:
                    receiver.refused += 1
                else:
                    receiver.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(503 if receiver.down else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in list(self.taken)]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class AlertmanagerServer:
    """A server in a folder of its own, whose only receiver is ours."""

    def __init__(self, program: str) -> None:
        self.receiver = Receiver()
        self.folder = Path(tempfile.mkdtemp(prefix="dg-am-"))
        (self.folder / "config.yml").write_text(CONFIG.format(url=f"{self.receiver.origin}/"), encoding="utf-8")
        self._program, self._port = program, _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [
            self._program, f"--config.file={self.folder}/config.yml", f"--storage.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self._port}", "--cluster.listen-address=", "--log.level=error",
        ]  # fmt: skip
        kept = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self.process = subprocess.Popen([*kept, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up_at = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None and time.monotonic() < give_up_at, "Alertmanager did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def close(self) -> None:
        self.stop()
        self.receiver.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def told(self) -> list[tuple[str, str]]:
        """(id of the alert, firing or resolved) of everything that people were told, repetitions too."""
        return [
            (alert["annotations"]["alert_id"], alert["status"])
            for message in self.receiver.messages()
            for alert in message["alerts"]
        ]

    def alerts(self) -> list[dict[str, Any]]:
        return httpx.get(f"{self.url}/api/v2/alerts", trust_env=False).json()

    def silences(self) -> list[dict[str, Any]]:
        """Those in force."""
        found = httpx.get(f"{self.url}/api/v2/silences", trust_env=False).json()
        return [each for each in found if each["status"]["state"] == "active"]

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.HTTPError:
            return False


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.fixture
def alertmanager() -> Iterator[AlertmanagerServer]:
    """The server; where there is none the test is skipped, but in CI it fails."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        absent("no Alertmanager here: `make servers` installs it")
    server = AlertmanagerServer(program)
    yield server
    server.close()


def eventually(what: Any, holds: Any = bool, seconds: float = 20.0) -> Any:
    """What is asked for, as soon as it holds; the last of it where it never did."""
    give_up_at = time.monotonic() + seconds
    while not holds(found := what()) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return found
