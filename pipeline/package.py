"""Makes a version's files: ONNX, features, golden rows, reference, manifest; the gate's rows; the Bento."""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bundle.blobs import BlobStore
from bundle.columns import Columns
from bundle.manifest import FEATURES, GOLDEN, MODEL, REFERENCE, Manifest
from bundle.scorer import Scorer
from bundle.signature import Signature
from observability.monitors.drift.history import SCORE, encoded, history_of
from observability.monitors.reference import FEATURES_PART, HISTORY_KEY, SCORE_HISTORY_KEY, SCORES_PART
from observability.ports import TEXT_PREFIX
from pipeline.contract.training import SLICE_PREFIX
from pipeline.dataset import Rows
from pipeline.engines.base import Scores
from pipeline.errors import PipelineError

#: training rows that a version's reference keeps
SAMPLE: Final = 10_000
#: out-of-time rows: an estimated error is as good as the calibration on them, which needs more
SCORED_SAMPLE: Final = 30_000
#: rows that are timed one by one; the first quarter warms up and does not count
TIMED: Final = 270
_GOLDEN_HELD_OUT, _GOLDEN_CHANGED = 20, 20
_SERVICE: Final = '''"""Serves this version, until a control plane names another."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

os.environ.setdefault("SERVING_VERSION_FOLDER", str(Path(__file__).parent / "version"))

from serving.service import DriftgateService  # noqa: E402 - it reads the environment

__all__ = ["DriftgateService"]
'''


def golden_rows(signature: Signature, raw: Columns, scores: Scores, held_out: int) -> bytes:
    """Raw rows with the scores of the training engine: some held-out ones, some with unseen and missing values."""
    rows = len(scores)
    picked = [*_spread(0, held_out, _GOLDEN_HELD_OUT), *_spread(held_out, rows, _GOLDEN_CHANGED)]
    golden = {
        "schema_version": 1,
        "rows": [raw_row(signature, raw, index) for index in picked],
        "scores": [float(scores[index]) for index in picked],
    }
    return json.dumps(golden, ensure_ascii=True, indent=1, allow_nan=False).encode()


def raw_row(signature: Signature, raw: Columns, index: int) -> dict[str, Any]:
    """One row as a caller would send it: missing fields left out, integers and booleans as such."""
    row: dict[str, Any] = {}
    for field in signature.raw:
        value = raw[field.name][index]
        if value is None or (not isinstance(value, str) and math.isnan(value)):
            continue
        kinds = {"string": str, "integer": int, "number": float, "boolean": bool}
        row[field.name] = kinds[field.type](value)
    return row


def _spread(start: int, end: int, count: int) -> list[int]:
    """At most `count` places, evenly over a range."""
    return [int(i) for i in np.unique(np.linspace(start, end - 1, min(count, end - start)).round())]


def reference_table(
    signature: Signature, train: Rows, holdout: Rows, scores: Scores, texts: Iterable[str] = ()
) -> bytes:
    """Parquet: features of training rows (part features); scores and labels of held-out rows (part scores).

    `texts` are raw fields that a monitor compares: those of the training rows are kept, as they are stored, masked.
    Beside them how much each column varies between spans of the rows, all of them and not only those that are kept.
    """
    none = np.full(len(train), np.nan)
    trained = _part(signature, train, FEATURES_PART, none, none, texts)
    scored = _part(signature, holdout, SCORES_PART, scores, holdout.labels.astype(np.float64))
    features = pd.DataFrame({name: train.features[name] for name in signature.feature_names})
    beside = {
        HISTORY_KEY: encoded(history_of(features, signature.features, train.event_times)),
        SCORE_HISTORY_KEY: encoded(history_of(pd.DataFrame({SCORE.name: scores}), [SCORE], holdout.event_times)),
    }
    return _parquet(pd.concat([trained, scored], ignore_index=True), beside)


def _part(
    signature: Signature, rows: Rows, part: str, scores: Scores, labels: Scores, texts: Iterable[str] = ()
) -> pd.DataFrame:
    frame = pd.DataFrame({name: rows.features[name] for name in signature.feature_names})
    frame = frame.assign(
        part=part, score=scores, label=labels, **{TEXT_PREFIX + name: rows.raw[name] for name in texts}
    )
    most = SAMPLE if part == FEATURES_PART else SCORED_SAMPLE
    return frame if len(frame) <= most else frame.sample(most, random_state=0).sort_index()


def gate_rows(holdout: Rows, challenger: Scores, champion: Scores | None, slices: Iterable[str] = ()) -> bytes:
    """Parquet: id, event_time, label, challenger, champion (NaN where there is none), and these features as text."""
    frame = pd.DataFrame({"id": holdout.ids, "event_time": holdout.event_times, "label": holdout.labels})
    none = np.full(len(holdout), np.nan)
    frame = frame.assign(challenger=challenger, champion=none if champion is None else champion)
    parts = {SLICE_PREFIX + name: [str(value) for value in holdout.features[name]] for name in sorted(set(slices))}
    return _parquet(frame.assign(**parts))


def cost_of(scorer: Scorer, files: Mapping[str, bytes], raw: Columns) -> dict[str, float]:
    """Bytes of a version's files, and the milliseconds in which it scores one row, each by itself as in serving."""
    rows = len(next(iter(raw.values())))
    timed = [
        _row_ms(scorer, {name: column[i : i + 1] for name, column in raw.items()}) for i in _spread(0, rows, TIMED)
    ]
    p50, p99 = np.quantile(timed[len(timed) // 4 :], [0.5, 0.99])
    size = sum(len(data) for data in files.values())
    return {"bytes": float(size), "row_ms_p50": round(float(p50), 4), "row_ms_p99": round(float(p99), 4)}


def _row_ms(scorer: Scorer, row: Columns) -> float:
    began = time.perf_counter_ns()
    scorer.score(row)
    return (time.perf_counter_ns() - began) / 1e6


def _parquet(frame: pd.DataFrame, beside: Mapping[bytes, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **(beside or {})}), buffer)
    return buffer.getvalue()


def write_version(blobs: BlobStore, manifest: Manifest, files: dict[str, bytes]) -> str:
    """Store the files and the manifest that names them. Returns the manifest's digest."""
    for name, data in files.items():
        if blobs.put(data) != manifest.files[name]:
            raise PipelineError(f"{name} changed while it was packaged")
    return blobs.put(manifest.encode())


def version_files(onnx: bytes, features: str, golden: bytes, reference: bytes) -> dict[str, bytes]:
    return {MODEL: onnx, FEATURES: features.encode(), GOLDEN: golden, REFERENCE: reference}


def prepare_bento(home: Path) -> None:
    """Where the Bento store is, before BentoML is first imported; no telemetry, and no call of uv while building."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ["BENTOML_HOME"] = str(home)
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ["BENTOML_ENABLE_FEATURES"] = "no_image"


def build_bento(context: Path, model: str, digest: str, manifest: Manifest, files: dict[str, bytes]) -> str:
    """A Bento of the service with the version's files inside, made once for each manifest. Returns its tag.

    Raises PipelineError.
    """
    import bentoml
    from bentoml.exceptions import BentoMLException, NotFound

    name, version = model.replace("/", "-"), digest[:16]
    try:
        return str(bentoml.bentos.get(f"{name}:{version}").tag)
    except NotFound:
        pass
    (context / "version").mkdir(parents=True, exist_ok=True)
    (context / "service.py").write_text(_SERVICE, encoding="utf-8")
    (context / "version" / "manifest.json").write_bytes(manifest.encode())
    for file, data in files.items():
        (context / "version" / file).write_bytes(data)
    before = Path.cwd()
    try:
        bento = bentoml.bentos.build(
            "service:DriftgateService", name=name, version=version, build_ctx=str(context),
            include=["service.py", "version/*"], labels={"model": name, "manifest": digest},
            python={"packages": ["driftgate"], "lock_packages": False},
        )  # fmt: skip
    except (BentoMLException, ImportError) as error:
        raise PipelineError(f"the Bento cannot be built: {error}") from error
    finally:
        os.chdir(before)
    return str(bento.tag)
