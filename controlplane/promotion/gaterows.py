"""Reads the rows that the gate judges out of a version's files."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from pyarrow.lib import ArrowException

from bundle.blobs import BlobCorrupt, BlobStore
from controlplane.errors import BrokenEvidence
from controlplane.promotion.gate import GateRows
from pipeline.contract.training import SLICE_PREFIX, TrainingRequest

COLUMNS = ("event_time", "label", "challenger", "champion")


def read_gate_rows(blobs: BlobStore, digest: str, request: TrainingRequest) -> GateRows:
    """The held-out rows, later than what the champion has learned from. Raises BrokenEvidence.

    A feature that the spec's slices name and the rows do not hold is left out: the check that asks for it fails.
    """
    try:
        frame = pd.read_parquet(io.BytesIO(blobs.get(digest)))
        frame = frame[[*COLUMNS, *(name for name in frame if str(name).startswith(SLICE_PREFIX))]]
    except (OSError, BlobCorrupt, ArrowException, ValueError, KeyError) as error:
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
