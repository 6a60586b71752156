"""Every bad version is refused, reaches nothing, and costs the version in service nothing. A real serving process."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundle.blobs import BlobStore
from bundle.onnx_limits import MAX_CALL_DEPTH, ModelRefused, check_graph
from tests.hostile_artefacts import ARTEFACTS, Bait, function_chain
from tests.serving_harness import ServingProcess, control_plane, served_version, serving
from tests.versions import make_version

SECRET = "the canary sings"
_IN_ACCESS, _IN_OPEN = 0x1, 0x20


class Canary:
    """A file that knows whether anybody opened it, whatever namespace they were in (inotify(7))."""

    def __init__(self, path: Path) -> None:
        path.write_text(SECRET)
        Path(f"{path}-link").symlink_to(path)
        os.link(path, f"{path}-hard")
        self.path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(self._watch, os.fsencode(path), _IN_OPEN | _IN_ACCESS) > 0

    @property
    def opened(self) -> bool:
        try:
            return bool(os.read(self._watch, 4096))
        except BlockingIOError:
            return False


@dataclass
class Listener:
    """A port that counts who connects."""

    connections: int = 0
    _socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def listen(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            caller.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@dataclass
class Ground:
    """A serving process with a good version, and what the bad ones may not reach."""

    service: ServingProcess
    bait: Bait
    canary: Canary
    listener: Listener
    tried: int = 0


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("hostile")
    canary, listener = Canary(folder / "canary"), Listener()
    threading.Thread(target=listener.listen, daemon=True).start()
    with control_plane(BlobStore(folder / "control-blobs")) as control:
        control.want("production", 1, make_version(control.blobs, 1.0))
        with serving(folder / "home", control.url, longest_wait_seconds=30) as service:
            service.wait_ready()
            cache = BlobStore(service.home.serving_cache / "blobs")
            yield Ground(service, Bait(control, cache, canary.path, listener.port), canary, listener)
    listener.close()


def test_the_canary_and_the_listener_would_notice(tmp_path: Path) -> None:
    canary, listener = Canary(tmp_path / "canary"), Listener()
    assert not canary.opened
    Path(f"{canary.path}-link").read_text()
    assert canary.opened
    threading.Thread(target=listener.listen, daemon=True).start()
    with socket.create_connection(("127.0.0.1", listener.port)) as caller:
        assert caller.recv(1) == b""
    listener.close()
    assert listener.connections == 1


@pytest.mark.parametrize(("depth", "refused"), [(MAX_CALL_DEPTH, False), (MAX_CALL_DEPTH + 1, True)])
def test_functions_call_each_other_as_deep_as_is_allowed_and_no_deeper(depth: int, refused: bool) -> None:
    model = function_chain(depth)
    with pytest.raises(ModelRefused, match="deep") if refused else nullcontext():
        check_graph(model)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_bad_version_is_refused_and_reaches_nothing(ground: Ground, name: str) -> None:
    ground.tried += 1
    version, process = 100 + ground.tried, ground.service.process
    ground.bait.control.want("production", version, ARTEFACTS[name](ground.bait))

    failed = ground.bait.control.wait_for_report("failed", version, seconds=60)

    assert SECRET not in failed["reason"]
    assert not ground.canary.opened
    assert not Path(f"{ground.canary.path}-written").exists()
    assert ground.listener.connections == 0
    assert process.poll() is None
    with ground.service.client() as client:
        assert served_version(client) == 1


def test_the_corpus_is_large_and_the_service_outlives_it_and_tells_no_secret(ground: Ground) -> None:
    assert len(ARTEFACTS) >= 25
    assert SECRET not in ground.service.log.read_text()
    with ground.service.client() as client:
        assert client.get("/readyz").status_code == 200


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these means are Linux's")
def test_it_is_told_by_which_means_a_first_load_is_shut_in(ground: Ground) -> None:
    with ground.service.client() as client:
        held = client.get("/v1/loaded").json()["isolation"]
    assert set(held) == {"network", "files", "processes"}
    assert "seccomp" in held["network"]
    assert "seccomp" in held["processes"]
    assert "a version's first load is shut in by" in ground.service.log.read_text()
