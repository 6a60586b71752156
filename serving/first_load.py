"""The first load of a version happens in a child that is shut in (serving/trial.py).

A graph can crash the library that loads it, and a crash cannot be caught. So only a version that came back well from
there is loaded in the process that answers. Which ones did is remembered by digest.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

from serving.errors import VersionUnusable
from serving.isolation import Isolation
from serving.trial import SECONDS

#: of what a child writes, so much of the end is read
_HEARD: Final = 64 << 10
_log = logging.getLogger("bentoml.driftgate.serving")


class Trial:
    """Loads versions in a child process, each once."""

    def __init__(self, blobs_root: Path, proven: Path) -> None:
        self._blobs_root = blobs_root
        self._proven = proven
        #: what the last child was kept from, and by which means; None before the first
        self.isolation: Isolation | None = None

    def run(self, digest: str) -> None:
        """Return where the version loads and answers in a child, or did before. Raises VersionUnusable."""
        mark = self._proven / digest
        if mark.exists():
            self.isolation = self.isolation or _marked(mark)
            return
        mark.parent.mkdir(parents=True, exist_ok=True)
        word = secrets.token_hex(16)
        child = self._child(digest, word)
        said = _said(child.stdout)
        if child.returncode != 0 or said.get("word") != word:
            raise VersionUnusable(_last_words(child))
        self._tell(said["isolation"])
        mark.write_text(json.dumps(said["isolation"]), encoding="utf-8")

    def _child(self, digest: str, word: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "serving.trial", str(self._blobs_root.resolve()), digest]
        with TemporaryFile(dir=self._proven) as output, TemporaryFile(dir=self._proven) as errors:
            try:
                # In its own session: Ctrl-C at the terminal ends the service, and says nothing of the version.
                done = subprocess.run(
                    command, input=f"{word}\n".encode(), stdout=output, stderr=errors, timeout=SECONDS,
                    env=_bare_environment(), check=False, start_new_session=True,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise VersionUnusable(f"its first load took more than {SECONDS} s") from error
            return subprocess.CompletedProcess(command, done.returncode, _end_of(output), _end_of(errors))

    def _tell(self, held: Isolation) -> None:
        if held == self.isolation:
            return
        self.isolation = held
        lacking = sorted(what for what, means in held.items() if not means)
        if lacking:
            _log.warning("a version's first load is not shut off by the kernel from: %s", ", ".join(lacking))
        _log.info("a version's first load is shut in by: %s", json.dumps(held))


def _marked(mark: Path) -> Isolation | None:
    try:
        held: Isolation = json.loads(mark.read_bytes())
    except (OSError, ValueError):
        return None
    return held


def _end_of(file: IO[bytes]) -> bytes:
    """What was written last: a child may write as much as its limit on files lets it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _HEARD))
    return file.read(_HEARD)


def _said(stdout: bytes) -> dict[str, Any]:
    """The child's last line, where it is what a child says."""
    lines = stdout.splitlines() or [b""]
    try:
        said = json.loads(lines[-1])
    except ValueError:
        return {}
    return said if isinstance(said, dict) and "isolation" in said else {}


def _bare_environment() -> dict[str, str]:
    """The environment without a secret: a version's code has no business with any."""
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {name: os.environ[name] for name in kept if name in os.environ} | one_thread


def _last_words(child: subprocess.CompletedProcess[bytes]) -> str:
    if child.returncode < 0:
        return f"its first load ended by signal {-child.returncode}"
    if child.returncode == 0:
        return "its code ended the process that loaded it"
    lines = child.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    return lines[-1][:500]
