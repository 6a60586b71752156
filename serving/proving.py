"""A version proves itself before it answers: first in a process of its own, then on its golden rows.

A graph can crash the library that loads it, and a crash cannot be caught. So the first load of a version
happens in a child with limits; only one that came back well is loaded here. Which ones did is remembered by
digest.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bundle.blobs import BlobCorrupt, BlobStore
from bundle.columns import BadRow, raw_columns
from bundle.manifest import GOLDEN
from bundle.recipe import RecipeError
from bundle.scorer import ModelRefused, Scorer
from serving.errors import VersionUnusable

#: how far a score may be from the one that the training engine gave
TOLERANCE: Final = 1e-5
_TRIAL_SECONDS: Final = 120
_TRIAL_MEMORY: Final = 8 << 30
_TRIAL_FILE: Final = 1 << 20
#: the child's last word; one that was ended by the code it tried does not come to say it
_PROVEN: Final = b"proven\n"
_log = logging.getLogger(__name__)


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
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise VersionUnusable(f"the version's files do not fit together: {error!r}") from error
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

    def __init__(self, blobs_root: Path, passed: Path) -> None:
        self._blobs_root = blobs_root
        self._passed = passed

    def run(self, digest: str) -> None:
        """Return where the version loads and answers in a child, or did before. Raises VersionUnusable."""
        mark = self._passed / digest
        if mark.exists():
            return
        command = [sys.executable, "-m", "serving.proving", str(self._blobs_root), digest]
        try:
            # In its own session: Ctrl-C at the terminal ends the service, and says nothing of the version.
            child = subprocess.run(
                command, capture_output=True, timeout=_TRIAL_SECONDS, env=_bare_environment(), check=False,
                start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise VersionUnusable(f"its first load took more than {_TRIAL_SECONDS} s") from error
        if child.returncode != 0 or not child.stdout.endswith(_PROVEN):
            raise VersionUnusable(_last_words(child))
        self._passed.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _bare_environment() -> dict[str, str]:
    """The environment without a secret: a version's code has no business with any."""
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _last_words(child: subprocess.CompletedProcess[bytes]) -> str:
    if child.returncode < 0:
        return f"its first load ended by signal {-child.returncode}"
    lines = child.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    return lines[-1].removeprefix("serving.errors.VersionUnusable: ")[:500]


def _limit() -> None:
    """No more memory, time and disk than a version needs to answer a few rows."""
    for kind, most in (
        (resource.RLIMIT_AS, _TRIAL_MEMORY),
        (resource.RLIMIT_CPU, _TRIAL_SECONDS),
        (resource.RLIMIT_FSIZE, _TRIAL_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(arguments: list[str]) -> int:
    """The child: load the version, answer its golden rows. Exit code 1 and the reason where it cannot."""
    root, digest = arguments
    _limit()
    try:
        load_proven(BlobStore(Path(root)), digest)
    except VersionUnusable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(_PROVEN)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
