"""What a training run is asked, how far it is, and what it reports. All three are files in the run's folder."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from bundle.signature import Frozen
from observability.events import Instant
from pipeline.contract.spec import ModelSpec

REQUEST_FILE: Final = "request.json"
PROGRESS_FILE: Final = "progress.json"
REPORT_FILE: Final = "report.json"
#: of the gate rows' columns that hold a feature by whose values the gate looks at parts of the rows
SLICE_PREFIX: Final = "slice:"

Phase = Literal["ingest", "refine", "split", "fit", "evaluate", "export", "prove", "package", "register", "done"]
FailureCode = Literal[
    "bad_source",  # a file cannot be read as declared
    "too_few_rows",  # not enough labelled rows before the cut-off
    "constant_label",  # every label is the same: nothing can be learned
    "recipe_error",  # the user's code raised
    "parity",  # the exported model does not answer as the original
    "crashed",  # the process ended without a report
    "deadline",  # it took longer than its spec allows and was ended
    "cancelled",  # a person ended it
    "overtaken",  # the version that it was made to replace is not in production any more
    "not_started",  # no control plane could start its process
    "unreadable_request",  # what was asked when it fired cannot be read by this release
]


class TrainingRequest(Frozen):
    """One run. `key` is unique: asking twice with the same key starts nothing new."""

    key: str = Field(pattern=r"^[0-9a-f-]{36}$")
    spec: ModelSpec
    #: the recipe's Python files, name to source, as they were applied
    recipe: dict[str, str]
    #: rows and labels later than this are not known to the run
    cutoff: Instant
    #: manifest digest of the version in production, scored beside the challenger on the held-out rows
    champion: str | None = None
    #: event time behind which the champion has learned nothing
    champion_cutoff: Instant | None = None
    why: str = ""


class Progress(Frozen):
    """How far a run is: the phase, the share done from 0 to 1, and a sentence for people."""

    phase: Phase
    fraction: float = Field(ge=0, le=1)
    message: str
    at: Instant


class Failure(Frozen):
    """Why a run made no version."""

    code: FailureCode
    message: str


class DatasetManifest(Frozen):
    """What a run learned from, so that it can be repeated bit for bit."""

    #: SHA-256 over the rows' ids, features and labels in order
    fingerprint: str
    files: dict[str, int]
    rows: int
    train_rows: int
    holdout_rows: int
    period: tuple[Instant, Instant]
    #: event time of the last row that was fitted; held-out rows are later
    train_until: Instant
    cutoff: Instant
    spec_digest: str
    recipe_digest: str
    code_version: str


class Parity(Frozen):
    """The exported model against its original, on the held-out rows with unseen and missing values added."""

    rows: int
    label_mismatches: int
    max_score_difference: float


class Made(Frozen):
    """A version as the run made it."""

    #: digest of the bundle's manifest
    manifest: str
    onnx_sha256: str
    dataset: DatasetManifest
    #: on the held-out rows: roc_auc, pr_auc, log_loss, error, brier, calibration_error
    metrics: dict[str, float]
    #: the same for the constant answer (the training rows' share of positives)
    constant: dict[str, float]
    #: the same for the champion on the same rows; empty where there is none
    champion: dict[str, float]
    parity: Parity
    #: digest of a Parquet blob: id, event_time, label, challenger, champion (NaN where there is none), and as text
    #: `slice:FEATURE` for each feature that the spec's `gate.slices` names
    gate_rows: str
    #: bytes of all its files, and the milliseconds that one held-out row took: bytes, row_ms_p50, row_ms_p99
    cost: dict[str, float] = Field(default_factory=dict)
    mlflow_run_id: str
    mlflow_version: str
    bento_tag: str


class TrainingReport(Frozen):
    """How a run ended: with a version, or with the reason why there is none."""

    key: str
    made: Made | None = None
    failure: Failure | None = None
    finished_at: Instant
    seconds: float
    #: processor time that it took, children and Java included; None where it ended without saying so
    cpu_seconds: float | None = Field(default=None, ge=0)
