"""Each means by which a first load is shut in holds by itself, because machines forbid some; and what holds is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.blobs import BlobStore
from tests.versions import ROWS, make_version

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
