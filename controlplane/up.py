"""Starts the four processes, watches over them, and ends them gracefully."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from controlplane.credentials import ensure_credentials
from controlplane.settings import Settings

STOP_GRACE_SECONDS = 20.0
RESTART_BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)


class NotReady(RuntimeError):
    """A process did not become ready."""


@dataclass(frozen=True)
class Service:
    """One process: what to run and, where it answers HTTP, the address that says that it is ready."""

    name: str
    command: Sequence[str]
    ready_url: str | None = None


@dataclass
class _Running:
    service: Service
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    started: float
    restarts: int = 0
    restart_at: float | None = field(default=None)


class Supervisor:
    """Runs services, each with its output in a file of its own, and starts again those that end by themselves."""

    def __init__(self, logs: Path, environment: dict[str, str], say: Callable[[str], None] = print) -> None:
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self._say = say
        self._running: list[_Running] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, service: Service, timeout: float = 90.0) -> None:
        """Start a service and wait until it is ready. Raises NotReady with the end of its output."""
        running = self._spawn(service)
        self._running.append(running)
        deadline = time.monotonic() + timeout
        while service.ready_url and not _answers(service.ready_url):
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise NotReady(f"{service.name} is not ready\n{self._tail(service)}")
            time.sleep(0.1)

    def check(self) -> None:
        """Start again what ended; the more often it ends, the longer the pause before."""
        now = time.monotonic()
        for index, running in enumerate(self._running):
            if running.process.poll() is None:
                continue
            if running.restart_at is None:
                pause = RESTART_BACKOFF_SECONDS[min(running.restarts, len(RESTART_BACKOFF_SECONDS) - 1)]
                running.restart_at = now + pause
                code = running.process.returncode
                self._say(f"{running.service.name} ended with {code}; starting it again in {pause:g} s")
            elif now >= running.restart_at:
                running.output.close()
                again = self._spawn(running.service)
                again.restarts = running.restarts + 1
                self._running[index] = again

    def stop(self) -> None:
        """End all in reverse order: ask first, and kill what does not listen."""
        for running in reversed(self._running):
            if running.process.poll() is None:
                running.process.terminate()
        deadline = time.monotonic() + STOP_GRACE_SECONDS
        for running in reversed(self._running):
            try:
                running.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(f"{running.service.name} does not end; killing it")
                running.process.kill()
                running.process.wait()
            running.output.close()
        self._running.clear()

    def _spawn(self, service: Service) -> _Running:
        output = (self._logs / f"{service.name}.log").open("ab")
        process = subprocess.Popen(
            service.command,
            env=self._environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        return _Running(service, process, output, time.monotonic())

    def _tail(self, service: Service) -> str:
        lines = (self._logs / f"{service.name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-30:])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def services(control_url: str, serving_url: str) -> list[Service]:
    """The four processes of one machine, in the order in which they need each other."""

    def command(name: str) -> list[str]:
        return [sys.executable, "-m", "controlplane", name]

    return [
        Service("control", command("control"), f"{control_url}/readyz"),
        Service("ship", command("ship")),
        Service("monitor", command("monitor")),
        Service("serve", command("serve"), f"{serving_url}/healthz"),
    ]


def run_until_signalled(supervisor: Supervisor) -> None:
    """Watch until SIGINT or SIGTERM, then return."""
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: ended.append(received))
    while not ended:
        supervisor.check()
        time.sleep(0.5)


def main(settings: Settings) -> None:
    """Start everything on this machine and watch over it until Ctrl-C."""
    home = settings.folders
    ensure_credentials(home.credentials)
    supervisor = Supervisor(home.service_logs, {"CONTROLPLANE_HOME": str(home.root)})
    try:
        for service in services(settings.url, settings.serving_url):
            supervisor.start(service)
            print(f"{service.name} is up")
        print(
            f"admin page {settings.url}/, predictions {settings.serving_url}/, "
            f"tokens in {home.credentials}; Ctrl-C ends"
        )
        run_until_signalled(supervisor)
    finally:
        supervisor.stop()
