"""Each means by which a first load is shut in holds by itself, because machines forbid some; and what holds is told."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.blobs import BlobStore
from tests.versions import FEATURES_SOURCE, ROWS, make_version

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these means are Linux's")
ROOT = Path(__file__).parents[2]
#: reads a file, opens a socket, forks, signals its parent: all by machine code, which no Python hook sees
REACHES_OUT = """import ctypes, os
libc = ctypes.CDLL(None)
file, socket, child = libc.open(b"/etc/passwd", 0), libc.socket(2, 1, 0), libc.fork()
if child == 0:
    libc._exit(0)
signal = libc.kill(os.getppid(), 0)
raise ValueError(f"file={file < 0} socket={socket < 0} fork={child < 0} signal={signal < 0}")
"""
#: every call that reaches the parent by its number; none changes anything of it where it is let through
REACHES_PARENT = """import ctypes, os
libc = ctypes.CDLL(None)
parent, room = os.getppid(), ctypes.create_string_buffer(128)
libc.sched_getaffinity(0, 128, room)
calls = {
    "prlimit": libc.prlimit(parent, 7, None, None), "sigqueue": libc.sigqueue(parent, 0, None),
    "kill": libc.kill(parent, 0), "affinity": libc.sched_setaffinity(parent, 128, room),
    "priority": libc.setpriority(0, parent, 0), "owner": libc.fcntl(0, 8, parent),
    "scheduler": libc.sched_setscheduler(parent, 0, ctypes.byref(ctypes.c_int(0))),
    "read": libc.process_vm_readv(parent, None, 0, None, 0, 0),
    "remount": libc.mount(None, b"/", None, 32, None),
}
own = libc.prlimit(0, 7, None, room), libc.prlimit(os.getpid(), 7, None, room), libc.fcntl(0, 1)
raise ValueError(f"reached={sorted(name for name, said in calls.items() if said >= 0)} own={own}")
"""
#: starts a first load as the poller does, and says how much its own memory grew
PARENT = """import resource, sys
from pathlib import Path
from serving.errors import VersionUnusable
from serving.first_load import Trial

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak()
try:
    Trial(Path(sys.argv[1]), Path(sys.argv[2])).run(sys.argv[3])
except VersionUnusable as error:
    print(error)
print(peak() - before)
"""
WITHOUT = {
    "namespaces": "isolation._own_namespaces = lambda libc: False",
    "landlock": "isolation._landlock = lambda libc, readable: 0",
    "seccomp": "isolation.forbid_system_calls = lambda *_: False",
}


def first_load(blobs: Path, digest: str, *without: str) -> subprocess.CompletedProcess[str]:
    lines = ["import sys", "from serving import isolation, trial", *(WITHOUT[means] for means in without)]
    code = "\n".join([*lines, "sys.exit(trial.main(sys.argv[1:]))"])
    return subprocess.run(
        [sys.executable, "-c", code, str(blobs), digest], input="word\n", capture_output=True, text=True, cwd=ROOT,
        timeout=60, check=False, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def held(loaded: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    assert loaded.returncode == 0, loaded.stderr
    said = json.loads(loaded.stdout.splitlines()[-1])
    assert said["word"] == "word"
    means: dict[str, list[str]] = said["isolation"]
    return means


def test_machine_code_reaches_nothing_where_all_means_hold(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    refused = first_load(tmp_path, make_version(blobs, features=REACHES_OUT, golden_scores=[0.5] * len(ROWS)))
    assert "file=True socket=True fork=True signal=True" in refused.stderr
    assert "landlock" in held(first_load(tmp_path, make_version(blobs)))["files"]


@pytest.mark.parametrize(
    ("without", "stopped"),
    [
        (("namespaces",), "file=True socket=True fork=True signal=True"),
        (("namespaces", "landlock"), "file=False socket=True fork=True signal=True"),
        (("namespaces", "seccomp"), "file=True socket=False fork=False signal=True"),
    ],
)
def test_what_is_left_holds_where_a_machine_forbids_a_means(
    tmp_path: Path, without: tuple[str, ...], stopped: str
) -> None:
    blobs = BlobStore(tmp_path)
    reaching = make_version(blobs, features=REACHES_OUT, golden_scores=[0.5] * len(ROWS))
    assert stopped in first_load(tmp_path, reaching, *without).stderr
    told = {means for by in held(first_load(tmp_path, make_version(blobs), *without)).values() for means in by}
    assert told == {"landlock", "seccomp"} - set(without)


@pytest.mark.parametrize("without", [(), ("namespaces",), ("landlock",), ("namespaces", "landlock")])
def test_machine_code_has_no_hand_on_the_process_that_answers(tmp_path: Path, without: tuple[str, ...]) -> None:
    reaching = make_version(BlobStore(tmp_path), features=REACHES_PARENT, golden_scores=[0.5] * len(ROWS))
    assert "reached=[] own=(0, 0, " in first_load(tmp_path, reaching, *without).stderr


def test_python_code_does_not_limit_the_process_that_answers_even_where_nothing_of_the_kernel_holds(
    tmp_path: Path,
) -> None:
    limits = "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (77, 1000))\n"
    version = make_version(BlobStore(tmp_path), features=limits, golden_scores=[0.5] * len(ROWS))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert "its code tried to change a process's limits" in first_load(tmp_path, version, *WITHOUT).stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_version_that_prints_without_end_costs_the_process_that_answers_no_memory(
    tmp_path: Path, stream: str
) -> None:
    prints = f"import sys\nfor _ in range(400):\n    sys.{stream}.write('x' * (1 << 20))\n{FEATURES_SOURCE}"
    blobs = BlobStore(tmp_path / "blobs")
    version = make_version(blobs, features=prints, golden_scores=[0.5] * len(ROWS))
    said = subprocess.run(
        [sys.executable, "-c", PARENT, str(tmp_path / "blobs"), str(tmp_path / "proven"), version],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert int(said[-1]) <= 20_000
    assert len(said) == 2
    assert len(said[0]) <= 500
    assert list((tmp_path / "proven").iterdir()) == []


def test_no_limit_of_a_first_load_can_be_raised_again(tmp_path: Path) -> None:
    raises = "import ctypes, resource\nlibc = ctypes.CDLL(None)\npair = (ctypes.c_ulong * 2)()\n"
    raises += "libc.prlimit(0, resource.RLIMIT_FSIZE, None, pair)\nraise ValueError(f'most={pair[0]} {pair[1]}')\n"
    version = make_version(BlobStore(tmp_path), features=raises, golden_scores=[0.5] * len(ROWS))
    assert f"most={1 << 20} {1 << 20}" in first_load(tmp_path, version).stderr


def test_where_nothing_holds_it_is_said_and_python_code_is_stopped_all_the_same(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    assert held(first_load(tmp_path, make_version(blobs), *WITHOUT)) == {"network": [], "files": [], "processes": []}
    reads = "try:\n    open('/etc/passwd')\nexcept OSError:\n    pass\n\n\ndef features(raw):\n    return {}\n"
    refused = first_load(tmp_path, make_version(blobs, features=reads, golden_scores=[0.5] * len(ROWS)), *WITHOUT)
    assert "its code tried to open '/etc/passwd'" in refused.stderr


def test_the_secrets_in_the_data_folder_are_not_read_beside_the_version(tmp_path: Path) -> None:
    home = tmp_path / "home"
    blobs = BlobStore(home / "serving" / "blobs")
    secret = home / "credentials.json"
    home.mkdir()
    secret.write_text("a secret")
    reads = f"open({str(secret)!r})\n"
    refused = first_load(home / "serving" / "blobs", make_version(blobs, features=reads, golden_scores=[0.5] * 4))
    assert "credentials.json" in refused.stderr
    assert held(first_load(home / "serving" / "blobs", make_version(blobs)))


def test_onnxruntime_leaves_no_identifier_and_reports_nothing(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    code = (
        "import sys; from pathlib import Path; from bundle.blobs import BlobStore; from bundle.scorer import Scorer; "
    )
    code += "Scorer.load(BlobStore(Path(sys.argv[1])), sys.argv[2])"
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "blobs"), make_version(blobs)], cwd=ROOT, check=True, timeout=60,
        env=kept | {"HOME": str(home)},
    )  # fmt: skip
    assert list(home.rglob("*")) == []
