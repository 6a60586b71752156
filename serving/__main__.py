"""`python -m serving`: binds the port and becomes BentoML's worker process.

It is one process: a signal reaches the server itself (SIGTERM: requests in flight end, the spool is on the
disk), and a kill leaves nobody behind who holds the port. `driftgate up`, systemd or Kubernetes restart it.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

from observability.telemetry.settings import MetricsSettings, MetricsUnsafe, refuse_open
from serving.errors import Unsafe
from serving.safety import refuse_unsafe
from serving.settings import Settings

_BACKLOG = 2048


def environment(settings: Settings) -> dict[str, str]:
    """What BentoML must be told before it is imported: its folder, no telemetry, no debug pages."""
    kept = {name: value for name, value in os.environ.items() if name != "BENTOML_DEBUG"}
    settings.folders.make()
    settings.folders.bento.mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        "BENTOML_HOME": str(settings.folders.bento),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
    }


def listen(settings: Settings) -> socket.socket:
    """The bound socket, handed on to the worker."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def main() -> NoReturn:
    os.umask(0o077)  # what serving writes holds rows and tokens' hashes
    settings = Settings()
    try:
        refuse_unsafe(settings)
        settings.key()
        refuse_open(MetricsSettings())
    except (Unsafe, MetricsUnsafe) as error:
        sys.exit(f"serving does not start: {error}")
    listener = listen(settings)
    worker = [
        sys.executable, "-m", "_bentoml_impl.worker.service", "serving.service:DriftgateService",
        "--service-name", "DriftgateService", "--fd", str(listener.fileno()), "--worker-id", "1",
        "--timeout-graceful-shutdown", str(settings.graceful_seconds),
        "--timeout-keep-alive", "65",
    ]  # fmt: skip
    os.execve(sys.executable, worker, environment(settings))  # noqa: S606 - our own interpreter, no shell


if __name__ == "__main__":
    main()
