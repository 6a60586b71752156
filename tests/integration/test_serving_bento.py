"""A Bento needs nobody: it answers with the version inside until a control plane names another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bundle.blobs import BlobStore
from bundle.manifest import Manifest
from serving.desired import DesiredCache
from serving.standalone import FolderUnusable, adopt
from tests.serving_harness import (
    PREDICT,
    PRIVACY_KEY,
    ROW,
    SERVICE_TOKEN,
    ServingProcess,
    control_plane,
    free_port,
    wait_until,
)
from tests.versions import make_version


def version_folder(folder: Path) -> Path:
    blobs = BlobStore(folder / "made")
    digest = make_version(blobs)
    manifest = Manifest.read(blobs, digest)
    version = folder / "version"
    version.mkdir()
    (version / "manifest.json").write_bytes(manifest.encode())
    for name, file in manifest.files.items():
        (version / name).write_bytes(blobs.get(file))
    return version


def answer(url: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{url}{PREDICT}", json={"rows": [ROW]}, headers=headers, timeout=20, trust_env=False)


def test_a_bento_served_by_bentoml_answers_without_a_control_plane(tmp_path):
    digest = make_version(BlobStore(tmp_path / "made"))
    build = (
        "import json, sys; from pathlib import Path; from bundle.blobs import BlobStore; "
        "from bundle.manifest import Manifest; from pipeline.package import build_bento, prepare_bento; "
        "home, made, digest = sys.argv[1:]; prepare_bento(Path(home) / 'bentoml'); blobs = BlobStore(Path(made)); "
        "manifest = Manifest.read(blobs, digest); "
        "files = {name: blobs.get(file) for name, file in manifest.files.items()}; "
        "print(build_bento(Path(home) / 'context', manifest.signature.model, digest, manifest, files))"
    )
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path), str(tmp_path / "made"), digest],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    tag = made.stdout.split()[-1]
    port = free_port()
    environment = {
        **os.environ, "BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "True",
        "SERVING_HOME": str(tmp_path / "home"), "SERVING_TOKEN": SERVICE_TOKEN, "SERVING_PRIVACY_KEY": PRIVACY_KEY,
        "SERVING_CONTROL_URL": f"http://127.0.0.1:{free_port()}",
    }  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return answer(url, SERVICE_TOKEN).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, "the Bento answers", 60)
        said = answer(url, SERVICE_TOKEN).json()["predictions"][0]
        refused = answer(url, "dg_somebody-else")
    finally:
        process.terminate()
        process.wait(30)

    assert said["version"] == 0
    assert 0 <= said["score"] <= 1
    assert refused.status_code == 401


def test_a_control_plane_that_names_a_version_takes_over(tmp_path):
    blobs = BlobStore(tmp_path / "named")
    with control_plane(blobs) as control:
        control.want("production", 3, make_version(blobs, bias=0.5))
        process = ServingProcess(tmp_path / "home", control.url, version_folder=version_folder(tmp_path))
        try:
            process.wait_ready()
            process.wait_version(3)
        finally:
            process.kill()


def test_what_a_control_plane_said_before_is_not_overwritten(tmp_path):
    folder, blobs, known = version_folder(tmp_path), BlobStore(tmp_path / "b"), DesiredCache(tmp_path / "desired.json")

    assert adopt(folder, blobs, known, "token")
    saved = known.load()
    assert not adopt(folder, blobs, known, "another")

    assert known.load() == saved


def test_a_folder_with_other_bytes_than_its_manifest_names_is_refused(tmp_path):
    folder = version_folder(tmp_path)
    (folder / "features.py").write_text("def features(raw): return raw\n")

    with pytest.raises(FolderUnusable, match=r"features\.py"):
        adopt(folder, BlobStore(tmp_path / "b"), DesiredCache(tmp_path / "desired.json"), "token")
