"""The reference of a model that is served elsewhere: rows that its owner declares, made into a version to watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version as release_of
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat

from bundle.blobs import BlobStore, digest_of
from bundle.manifest import REFERENCE, Manifest
from bundle.ranges import check_moment
from bundle.signature import Signature
from controlplane.access.acts import Act
from controlplane.errors import Conflict, EventsRefused
from controlplane.posting import checked, numbers
from controlplane.store import Store, spec_of
from controlplane.tables import Version
from observability.events import Instant
from pipeline.contract.training import DatasetManifest

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS: Final = 30
MOST_ROWS: Final = 100_000


class DeclaredRows(BaseModel):
    """Rows of the reference, column by column, each as long as the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: each feature's values; null where it was missing
    features: dict[str, Annotated[list[Any], Field(min_length=LEAST_ROWS, max_length=MOST_ROWS)]]
    #: when the rows were; with them it is known how much the columns vary by themselves
    event_time: Annotated[list[Instant], FailFast(), Field(max_length=MOST_ROWS)] = []
    #: what the model answered; null where it did not
    score: Annotated[list[float | None], FailFast(), Field(max_length=MOST_ROWS)] = []
    #: what was true: 0 or 1, of a regression model a number; null where it is not known
    label: Annotated[list[float | None], FailFast(), Field(max_length=MOST_ROWS)] = []
    #: scores above it answer 1
    threshold: FiniteFloat = 0.5


def declare_reference(
    store: Store, blobs: BlobStore, model_id: str, rows: DeclaredRows, why: str, now: datetime, act: Act | None = None
) -> Version:
    """The version that is watched from now on; the same rows again are the same version.

    Raises EventsRefused naming column and row, and Conflict where the model is trained here.
    """
    spec = spec_of(store.model(model_id))
    if not spec.watched:
        raise Conflict(f"{model_id} is trained here: its versions come from training runs", model=model_id)
    from observability.monitors.declared import declared_reference  # statistics: most control planes never need them

    frame = _frame(spec.signature, rows)
    reference = declared_reference(spec.signature, frame)
    manifest = Manifest(
        signature=spec.signature,
        features_function="",
        threshold=rows.threshold,
        files={REFERENCE: blobs.put(reference)},
    )
    scored = int(frame["score"].notna().sum()) if "score" in frame else 0
    last = max(rows.event_time) if rows.event_time else now
    dataset = DatasetManifest(
        fingerprint=digest_of(reference), files={REFERENCE: len(frame)}, rows=len(frame), train_rows=len(frame),
        holdout_rows=scored, period=(min(rows.event_time) if rows.event_time else now, last), train_until=last,
        cutoff=last, spec_digest=spec.digest, recipe_digest="", code_version=release_of("driftgate"),
    )  # fmt: skip
    return store.watch_version(model_id, blobs.put(manifest.encode()), dataset, why, now, act)


def _frame(signature: Signature, rows: DeclaredRows) -> pd.DataFrame:
    import pandas as pd

    known = {each.name: each for each in signature.features}
    if wrong := sorted(set(known) ^ set(rows.features)):
        what = "is missing" if wrong[0] in known else "is no feature of the model"
        raise EventsRefused(f"features.{wrong[0]}"[:300] + f": {what}", field="features")
    columns: dict[str, Sequence[Any]] = {
        name: [checked(known[name], value, f"features.{name}.{row}") for row, value in enumerate(values)]
        for name, values in rows.features.items()
    }
    columns |= {name: list(numbers(said, name)) for name in ("score", "label") if (said := getattr(rows, name))}
    for row, moment in enumerate(rows.event_time):
        try:
            check_moment(moment)
        except ValueError as error:
            raise EventsRefused(f"event_time.{row}: {error}", field="event_time") from error
    if rows.event_time:
        columns["event_time"] = rows.event_time
    _check_lengths(columns)
    _check_answers(signature, columns)
    frame = pd.DataFrame(columns)
    if rows.event_time:
        frame["event_time"] = pd.to_datetime(frame["event_time"], utc=True)
    return frame


def _check_lengths(columns: Mapping[str, Sequence[Any]]) -> None:
    rows = len(next(iter(columns.values())))
    for name, values in columns.items():
        if len(values) != rows:
            raise EventsRefused(f"{name}: it has {len(values)} rows, and the first feature {rows}", field=name)


def _check_answers(signature: Signature, columns: Mapping[str, Sequence[Any]]) -> None:
    """Raises EventsRefused where scores are no probabilities, or labels neither 0 nor 1, of a binary model."""
    if signature.task != "binary":
        return
    for row, score in enumerate(columns.get("score", ())):
        if score < 0 or score > 1:
            raise EventsRefused(f"score.{row}: expected a probability from 0 to 1", field="score")
    for row, label in enumerate(columns.get("label", ())):
        if label == label and label not in (0, 1):
            raise EventsRefused(f"label.{row}: expected 0 or 1", field="label")
