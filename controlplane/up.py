"""Starts the four processes, watches over them, and ends them gracefully.

None outlives the supervisor: a signal to it ends them, also while they start, and where it is killed the kernel
(Linux) tells them. Training runs are no children of it and go on.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

import httpx

from controlplane.access.credentials import ensure_credentials
from controlplane.errors import ControlPlaneError
from controlplane.settings import Settings
from observability.telemetry.settings import MetricsSettings

RESTART_BACKOFF_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
#: asks the kernel for SIGTERM at the death of the parent, which is the process named first; becomes the command
_LEASHED: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
os.getppid() == int(sys.argv[1]) or sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class NotReady(ControlPlaneError):
    """A process did not become ready."""


class Ended(SystemExit):
    """SIGINT or SIGTERM asked this process to end."""


@dataclass(frozen=True)
class Service:
    """One process: what to run and, where it answers HTTP, the address that says that it is well.

    `port_setting` chooses the port of that address.
    """

    name: str
    command: Sequence[str]
    ready_url: str | None = None
    port_setting: str = "its settings"
    #: it is asked to end when the others have: it takes care of what they leave
    ends_last: bool = False


@dataclass(frozen=True)
class Patience:
    """For how many seconds what is waited for."""

    start: float = 90.0  # a first answer
    silence: float = 30.0  # another answer of what did answer; then it is ended and started again
    look: float = 5.0  # the next look at an address
    well: float = 60.0  # the end of what is well; then the pauses before a restart begin anew
    stop: float = 20.0  # the end of what was asked to end; then it is killed


PATIENCE: Final = Patience()
Say: TypeAlias = Callable[[str], None]


@dataclass
class _Running:
    service: Service
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    #: it need not be well before
    silent_until: float
    restarts: int = 0
    restart_at: float | None = None
    kill_at: float | None = None
    look_at: float = 0.0
    well_since: float | None = None

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


class Supervisor:
    """Runs services, each with its output in a file of its own, and starts again those that end or fall silent.

    As a context it raises Ended in the main thread at SIGINT and SIGTERM, and ends the services when it is left.
    """

    def __init__(self, logs: Path, environment: dict[str, str], say: Say = print, wait: Patience = PATIENCE) -> None:
        self._logs, self._environment = logs, {**os.environ, **environment}
        self._say, self._wait = say, wait
        self._running: list[_Running] = []
        self._signals = _Signals()
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self._signals.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.deaf = True
        try:
            self.stop()
        finally:
            self._signals.restore()

    def start(self, service: Service) -> None:
        """Start a service and wait until it is ready. Raises NotReady with the reason or the end of its output."""
        _refuse_taken_port(service)
        with self._signals.held():  # what is started is known, so that it is ended
            self._running.append(running := self._spawn(service))
        while service.ready_url and running.alive and not _answers(service.ready_url):
            if time.monotonic() > running.silent_until:
                raise NotReady(f"{service.name} is not ready\n{self._tail(service)}")
            time.sleep(0.1)
        if not running.alive:  # what answered, if anything, was another process
            raise NotReady(f"{service.name} ended with {running.process.returncode}\n{self._tail(service)}")
        self._is_well(running, time.monotonic())

    def check(self) -> None:
        """Start again what ended or is silent; the more often it does, the longer the pause before."""
        for index, running in enumerate(self._running):
            now = time.monotonic()
            if not running.alive:
                self._restart(index, now)
            elif running.kill_at is not None:
                if now >= running.kill_at:
                    running.process.kill()
            elif now >= running.look_at:
                self._look(running)

    def stop(self) -> None:
        """End all in reverse order: ask first, and kill what does not listen."""
        for last in (False, True):
            self._end([running for running in reversed(self._running) if running.service.ends_last is last])
        self._running.clear()

    def _end(self, ending: Sequence[_Running]) -> None:
        for running in ending:
            if running.alive:
                running.process.terminate()
        deadline = time.monotonic() + self._wait.stop
        for running in ending:
            try:
                running.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(f"{running.service.name} does not end; killing it")
                running.process.kill()
                running.process.wait()
            running.output.close()

    def _restart(self, index: int, now: float) -> None:
        running = self._running[index]
        if running.restart_at is None:
            pause = RESTART_BACKOFF_SECONDS[min(running.restarts, len(RESTART_BACKOFF_SECONDS) - 1)]
            running.restart_at = now + pause
            ended = f"{running.service.name} ended with {running.process.returncode}"
            self._say(f"{ended}; starting it again in {pause:g} s")
        elif now >= running.restart_at:
            running.output.close()
            with self._signals.held():
                self._running[index] = self._spawn(running.service, running.restarts + 1)

    def _look(self, running: _Running) -> None:
        url = running.service.ready_url
        well, now = url is None or _answers(url), time.monotonic()
        running.look_at = now + self._wait.look
        if well:
            self._is_well(running, now)
        elif running.well_since is not None:
            running.well_since, running.silent_until = None, now + self._wait.silence
        elif now >= running.silent_until:
            self._say(f"{running.service.name} is alive but not well: {url} does not answer; ending it")
            running.process.terminate()
            running.kill_at = now + self._wait.stop

    def _is_well(self, running: _Running, now: float) -> None:
        if running.well_since is None:
            running.well_since = now
        elif now - running.well_since >= self._wait.well:
            running.restarts = 0

    def _spawn(self, service: Service, restarts: int = 0) -> _Running:
        output = (self._logs / f"{service.name}.log").open("ab")
        process = subprocess.Popen(
            _leashed(service.command), env=self._environment, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return _Running(service, process, output, time.monotonic() + self._wait.start, restarts)

    def _tail(self, service: Service) -> str:
        lines = (self._logs / f"{service.name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-30:])


class _Signals:
    """SIGINT and SIGTERM as Ended: the first one raises it, the others are passed over."""

    def __init__(self) -> None:
        self.deaf = False
        self._holds = False
        self._owed: int | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore(self) -> None:
        for before in self._before.items():
            signal.signal(*before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is raised within; what came is raised at the end."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        if self._owed is not None:
            raise Ended(128 + self._owed)

    def _receive(self, number: int, _frame: object) -> None:
        if not self.deaf:
            self.deaf = True
            if not self._holds:
                raise Ended(128 + number)
            self._owed = number


def _leashed(command: Sequence[str]) -> list[str]:
    if sys.platform != "linux":
        return list(command)
    # Not preexec_fn, which may not be used where threads are. What the kernel was asked survives exec, not fork.
    return [sys.executable, "-IS", "-c", _LEASHED, str(os.getpid()), *command]


def _refuse_taken_port(service: Service) -> None:
    """Raises NotReady where another process has the port: its answers would be taken for the service's."""
    if service.ready_url is None:
        return
    port = urlsplit(service.ready_url).port or 80
    if _answers(service.ready_url) or _is_bound(urlsplit(service.ready_url).hostname or "", port):
        way_out = f"end the process that has it, or choose another port with {service.port_setting}"
        raise NotReady(f"{service.name} cannot start: port {port} is taken: {way_out}")


def _is_bound(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE  # of all else the service speaks better itself
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def services(control_url: str, serving_url: str) -> list[Service]:
    """The four processes of one machine, in the order in which they need each other."""
    driftgate = (sys.executable, "-m", "controlplane")
    return [
        Service("control", (*driftgate, "control"), f"{control_url}/readyz", "CONTROLPLANE_PORT"),
        Service("ship", (*driftgate, "ship"), ends_last=True),
        Service("monitor", (*driftgate, "monitor")),
        Service("serve", (*driftgate, "serve"), f"{serving_url}/healthz", "CONTROLPLANE_SERVING_PORT"),
    ]


def run_until_signalled(supervisor: Supervisor) -> None:
    """Watch until SIGINT or SIGTERM, then return."""
    with suppress(Ended):
        while True:
            supervisor.check()
            time.sleep(0.5)


def main(settings: Settings) -> None:
    """Start everything on this machine and watch over it until Ctrl-C."""
    home = settings.folders
    ensure_credentials(home.credentials)
    with Supervisor(home.service_logs, {"CONTROLPLANE_HOME": str(home.root)}) as supervisor:
        for service in services(settings.url, settings.serving_url):
            supervisor.start(service)
            print(f"{service.name} is up")
        print(f"admin page {settings.url}/, predictions {settings.serving_url}/, tokens in {home.credentials}")
        print(_metrics(MetricsSettings()))
        print("Ctrl-C ends")
        run_until_signalled(supervisor)


def _metrics(settings: MetricsSettings) -> str:
    """Where the metrics are: each process reads the same settings."""
    ports = (settings.control_port, settings.monitor_port, settings.shipper_port, settings.serving_port)
    told = ", ".join(str(port) for port in ports if port)
    return f"metrics on {settings.host}, ports {told}" if told else "no metrics"
