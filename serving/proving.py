"""A version proves itself before it answers: first in a process of its own, then on its golden rows.

A graph can crash the library that loads it, and a crash cannot be caught. So the first load of a version
happens in a child that is shut in (serving/trial.py); only one that came back well is loaded here. Which ones did is
remembered by digest.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bundle.blobs import BlobCorrupt, BlobStore
from bundle.columns import BadRow, raw_columns
from bundle.manifest import GOLDEN
from bundle.recipe import RecipeError
from bundle.scorer import ModelRefused, Scorer
from serving.errors import VersionUnusable
from serving.isolation import Isolation
from serving.trial import SECONDS

#: how far a score may be from the one that the training engine gave
TOLERANCE: Final = 1e-5
_log = logging.getLogger("bentoml.driftgate.serving")


def load_proven(blobs: BlobStore, digest: str) -> Scorer:
    """The version under a manifest digest, after it answered its golden rows. Raises VersionUnusable."""
    try:
        scorer = Scorer.load(blobs, digest)
        golden = json.loads(blobs.get(scorer.manifest.files[GOLDEN]))
        rows, expected = golden["rows"], np.asarray(golden["scores"], dtype=np.float64)
        _, scores = scorer.score(raw_columns(rows, scorer.signature.raw))
    except (ModelRefused, RecipeError, BlobCorrupt, BadRow) as error:
        raise VersionUnusable(str(error)) from error
    except SystemExit as error:
        raise VersionUnusable("its feature function tried to end the process") from error
    except (KeyError, TypeError, ValueError, RecursionError, FileNotFoundError) as error:
        raise VersionUnusable(f"the version's files do not fit together: {error!r}") from error
    except Exception as error:  # onnxruntime's own, which have no root: one that got away would end the poller
        raise VersionUnusable(f"it fails on its golden rows: {error}") from error
    _compare(scores, expected)
    return scorer


def _compare(scores: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> None:
    if scores.shape != expected.shape or not len(scores):
        raise VersionUnusable(f"{len(scores)} golden rows have {len(expected)} scores")
    worst = float(np.abs(scores - expected).max())
    if not worst <= TOLERANCE:  # also for NaN
        raise VersionUnusable(f"a golden row's score differs by {worst:.3g} from its training engine's")


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
        word = secrets.token_hex(16)
        child = self._child(digest, word)
        said = _said(child.stdout)
        if child.returncode != 0 or said.get("word") != word:
            raise VersionUnusable(_last_words(child))
        self._tell(said["isolation"])
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(said["isolation"]), encoding="utf-8")

    def _child(self, digest: str, word: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "serving.trial", str(self._blobs_root.resolve()), digest]
        try:
            # In its own session: Ctrl-C at the terminal ends the service, and says nothing of the version.
            return subprocess.run(
                command, input=f"{word}\n".encode(), capture_output=True, timeout=SECONDS, env=_bare_environment(),
                check=False, start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise VersionUnusable(f"its first load took more than {SECONDS} s") from error

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
