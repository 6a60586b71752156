"""A version proves itself before it answers: its golden rows get the scores that the training engine gave them."""

from __future__ import annotations

import json
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
