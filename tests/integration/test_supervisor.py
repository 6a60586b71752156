"""What the supervisor promises of the processes that it starts: it takes no other for them, and none outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from controlplane import up
from controlplane.up import NotReady, Patience, Service, Supervisor
from tests.serving_harness import free_port, wait_until

ROOT = Path(__file__).parents[2]
QUICK = Patience(start=20, silence=0.3, look=0.05, stop=0.5)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's death on Linux only")

SLEEPS = """
import os, sys, time
open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
time.sleep(float(sys.argv[2]))
"""
#: is slow to start, answers 503 while there is the file that tells it to, and does not listen to SIGTERM
FALLS_ILL = """
import os, pathlib, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

pids, sick = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pids.open("a").write(f"{os.getpid()}\\n")
sick.unlink(missing_ok=True)
time.sleep(0.8)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if sick.exists() else 200)
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[3])), Handler).serve_forever()
"""
#: starts a detached process, as the control plane starts a training run
DETACHES = """
import subprocess, sys
subprocess.Popen(sys.argv[4:], start_new_session=True)
exec(sys.argv[3])
"""
#: a supervisor of a service that is up and of one that never is
SUPERVISES = """
import pathlib, sys
from controlplane.up import Service, Supervisor

folder, port, sleeps, detaches = pathlib.Path(sys.argv[1]), *sys.argv[2:]
def sleeping(name, script=sleeps):
    return (sys.executable, "-c", script, str(folder / name), "120")
with Supervisor(folder / "logs", {}) as supervisor:
    supervisor.start(Service("up", (*sleeping("up", detaches), sleeps, *sleeping("detached"))))
    supervisor.start(Service("never", sleeping("never"), f"http://127.0.0.1:{port}/"))
"""


def pids_in(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def sleeping(file: Path, seconds: float = 60) -> tuple[str, ...]:
    return (sys.executable, "-c", SLEEPS, str(file), str(seconds))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs", {}, said.append, QUICK) as supervisor:
        yield supervisor


def watch_until(supervisor: Supervisor, condition: Callable[[], object], what: str) -> None:
    def holds() -> object:
        supervisor.check()
        return condition()

    wait_until(holds, what)


class Answering:
    """An HTTP server in this process, that does something before it answers."""

    def __init__(self, port: int, first: Callable[[], None] = lambda: None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                first()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", port), Handler)
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("how", ["answers", "listens", "is bound"])
def test_a_port_that_another_process_has_is_refused_before_anything_starts(
    tmp_path: Path, supervisor: Supervisor, how: str
) -> None:
    port = free_port()
    service = Service("serve", sleeping(tmp_path / "pids"), f"http://127.0.0.1:{port}/", "CONTROLPLANE_SERVING_PORT")
    with socket.socket() as taken:
        server = Answering(port) if how == "answers" else None
        if server is None:
            taken.bind(("127.0.0.1", port))
        if how == "listens":
            taken.listen()
        with pytest.raises(NotReady, match=f"port {port} .*CONTROLPLANE_SERVING_PORT"):
            supervisor.start(service)
        if server is not None:
            server.stop()
    assert not (tmp_path / "logs" / "serve.log").exists()


def test_an_answer_of_another_process_is_not_taken_for_that_of_a_child_that_has_ended(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    port, pids, servers = free_port(), tmp_path / "pids", []

    def kill() -> None:
        os.kill(pids_in(pids)[0], signal.SIGKILL)
        wait_until(lambda: not is_alive(pids_in(pids)[0]), "it is dead")

    def take_the_port() -> None:
        wait_until(lambda: pids_in(pids), "the child runs")
        servers.append(Answering(port, kill))

    Thread(target=take_the_port).start()
    with pytest.raises(NotReady, match="ended with -9"):
        supervisor.start(Service("control", sleeping(pids), f"http://127.0.0.1:{port}/"))
    servers[0].stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_services_start_ends_those_that_have(tmp_path: Path, number: signal.Signals) -> None:
    process = supervising(tmp_path)
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert not any(is_alive(pids_in(tmp_path / name)[0]) for name in ("up", "never"))
    os.kill(pids_in(tmp_path / "detached")[0], signal.SIGKILL)


def test_what_ships_is_asked_to_end_when_all_others_have(tmp_path: Path) -> None:
    left = tmp_path / "left"
    ends = "import atexit, os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); "
    leaves = f"atexit.register(lambda: (time.sleep(0.5), open({str(left)!r}, 'w'))); "
    takes = f"atexit.register(lambda: print(os.path.exists({str(left)!r}))); "
    with Supervisor(tmp_path, {}, lambda _: None) as supervisor:
        for name, at_exit in (("ship", takes), ("serve", leaves)):
            command = (sys.executable, "-c", ends + at_exit + "print('up', flush=True); signal.pause()")
            supervisor.start(Service(name, command, ends_last=name == "ship"))
            wait_until(lambda log=tmp_path / f"{name}.log": "up" in log.read_text(), "it listens")

    assert (tmp_path / "ship.log").read_text().split() == ["up", "True"]


@linux
def test_no_service_outlives_a_supervisor_that_is_killed_and_a_detached_run_does(tmp_path: Path) -> None:
    process = supervising(tmp_path)
    process.kill()
    process.wait(5)
    services = [pids_in(tmp_path / name)[0] for name in ("up", "never")]
    wait_until(lambda: not any(map(is_alive, services)), "the services end", 5)
    (detached,) = pids_in(tmp_path / "detached")
    assert is_alive(detached)
    os.kill(detached, signal.SIGKILL)


def supervising(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SUPERVISES, str(folder), str(free_port()), SLEEPS, DETACHES]
    process = subprocess.Popen(command, cwd=ROOT)
    wait_until(lambda: all(pids_in(folder / name) for name in ("up", "never", "detached")), "all run")
    return process


@pytest.mark.parametrize("command", [("up",), ("demo", "tweets", "--exit")])
def test_sigterm_while_driftgate_starts_leaves_no_process(tmp_path: Path, command: tuple[str, ...]) -> None:
    ports = {"CONTROLPLANE_PORT": str(free_port()), "CONTROLPLANE_SERVING_PORT": str(free_port())}
    process = subprocess.Popen(
        [sys.executable, "-m", "controlplane", *command, "--home", str(tmp_path / "home")],
        env={**os.environ, **ports}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until((tmp_path / "home" / "service-logs" / "control.log").exists, "it starts services", 90)
    time.sleep(0.5)
    children = psutil.Process(process.pid).children()
    process.terminate()

    assert process.wait(30) == 128 + signal.SIGTERM
    assert children
    assert not any(is_alive(child.pid) for child in children)


@pytest.mark.parametrize(("lives", "well", "pauses"), [(0, 60, ["0.1", "0.2", "0.3"]), (1, 0.3, ["0.1", "0.1", "0.1"])])
def test_the_pauses_before_a_restart_grow_and_begin_anew_after_a_while_of_health(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, lives: float, well: float, pauses: list[str]
) -> None:
    monkeypatch.setattr(up, "RESTART_BACKOFF_SECONDS", (0.1, 0.2, 0.3))
    with Supervisor(tmp_path / "logs", {}, said.append, replace(QUICK, well=well)) as supervisor:
        supervisor.start(Service("ends", sleeping(tmp_path / "pids", lives)))
        watch_until(supervisor, lambda: len(said) == 3, "it has ended three times")
    assert [line.split()[-2] for line in said] == pauses


def test_a_service_that_is_alive_and_silent_is_started_again_and_given_time_to_start(
    tmp_path: Path, supervisor: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "RESTART_BACKOFF_SECONDS", (0.1,))
    pids, sick, port = tmp_path / "pids", tmp_path / "sick", free_port()
    command = (sys.executable, "-c", FALLS_ILL, str(pids), str(sick), str(port))
    url = f"http://127.0.0.1:{port}/"
    supervisor.start(Service("serve", command, url))
    supervisor.check()
    sick.touch()

    watch_until(supervisor, lambda: len(pids_in(pids)) == 2, "it is started again")
    watch_until(supervisor, lambda: up._answers(url), "it answers again")
    ends = time.monotonic() + 1
    watch_until(supervisor, lambda: time.monotonic() > ends, "it is left alone")
    assert len(pids_in(pids)) == 2
    assert "alive but not well" in said[0]
    assert not is_alive(pids_in(pids)[0])
