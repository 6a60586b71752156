"""Reads the rows that the gate judges out of a version's files."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from pyarrow.lib import ArrowException, ArrowMemoryError

from bundle.blobs import BlobCorrupt, BlobStore
from controlplane.errors import BrokenEvidence
from controlplane.promotion.gate import GateRows
from pipeline.contract.training import SLICE_PREFIX, TrainingRequest

COLUMNS = ("event_time", "label", "challenger", "champion")


def read_gate_rows(blobs: BlobStore, digest: str, request: TrainingRequest) -> GateRows:
    """The held-out rows, later than what the champion has learned from. Raises BrokenEvidence.

    A feature that the spec's slices name and the rows do not hold is left out: the check that asks for it fails.
    """
    data = _stored(blobs, digest)
    try:
        frame = pd.read_parquet(io.BytesIO(data))
        frame = frame[[*COLUMNS, *(name for name in frame if str(name).startswith(SLICE_PREFIX))]]
    except ArrowMemoryError:
        raise  # the machine's trouble
    except (OSError, ArrowException, ValueError, KeyError) as error:  # of bytes in memory, where no disk can fail
        raise BrokenEvidence(f"the gate's rows {digest} cannot be read: {error}", digest=digest) from error
    has_champion = request.champion is not None
    if request.champion_cutoff is not None:
        frame = frame[pd.to_datetime(frame["event_time"], utc=True) > request.champion_cutoff]
    needed = ["label", "challenger", "champion"] if has_champion else ["label", "challenger"]
    frame = frame.dropna(subset=needed)
    return GateRows(
        labels=frame["label"].to_numpy(np.float64),
        challenger=frame["challenger"].to_numpy(np.float64),
        champion=frame["champion"].to_numpy(np.float64) if has_champion else None,
        slices={
            each.feature: frame[SLICE_PREFIX + each.feature].to_numpy(dtype=object)
            for each in request.spec.gate.slices
            if SLICE_PREFIX + each.feature in frame
        },
    )


def _stored(blobs: BlobStore, digest: str) -> bytes:
    """The bytes. Only what is missing, corrupt or no digest is broken for good: what a disk cannot give now it may
    give at the next tick.
    """
    try:
        return blobs.get(digest)
    except (FileNotFoundError, BlobCorrupt, ValueError) as error:
        raise BrokenEvidence(f"the gate's rows {digest} cannot be read: {error}", digest=digest) from error
