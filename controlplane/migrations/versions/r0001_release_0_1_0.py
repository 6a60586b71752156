"""The schema as release 0.1.0 had it.

That release made its tables without revisions and added late columns by itself: a database of it, or of a state
before it, is completed to the same schema and keeps its rows.
"""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy import ForeignKey, Index, MetaData, PrimaryKeyConstraint, Table, UniqueConstraint

from controlplane.migrations.columns import complete, flag, instant, json, state, where, whole, words

revision = "0001"
down_revision = None

SCHEMA: Final = MetaData()


def _of(column: str) -> ForeignKey:
    return ForeignKey(column)


Table(
    "models", SCHEMA,
    words("id", size=127, primary_key=True), json("spec"), words("spec_digest"), json("recipe"), words("recipe_digest"),
    instant("applied_at"), instant("decided_until", nullable=True), instant("monitored_until", nullable=True),
)  # fmt: skip

Table(
    "schedule_starts", SCHEMA,
    words("model", _of("models.id")), words("rule"), instant("since"),
    PrimaryKeyConstraint("model", "rule"),
)  # fmt: skip

Table(
    "decisions", SCHEMA,
    words("id", primary_key=True), words("model", _of("models.id")), words("rule"), words("kind"), words("cause"),
    whole("turn"), words("outcome"), words("reason"), words("detail"), json("numbers"), whole("version", nullable=True),
    instant("decided_at"), instant("recorded_at"),
    UniqueConstraint("model", "rule", "cause", "turn"),
    Index("decisions_in_order", "model", "id"),
)  # fmt: skip

Table(
    "firings", SCHEMA,
    words("id", primary_key=True), words("model", _of("models.id"), index=True), words("rule"), words("kind"),
    words("trigger"), words("cause"), words("decision_id", _of("decisions.id"), unique=True), words("reason"),
    words("detail"), instant("fired_at"), instant("recorded_at"),
    UniqueConstraint("model", "rule", "cause"),
)  # fmt: skip

Table(
    "training_runs", SCHEMA,
    words("key", size=36, primary_key=True), words("firing_id", _of("firings.id"), unique=True),
    words("model", _of("models.id"), index=True), state(), json("request"), whole("parent", nullable=True),
    instant("asked_at"), instant("started_at", nullable=True), instant("ended_at", nullable=True),
    instant("recorded_at"), instant("ended_recorded_at", nullable=True), whole("epoch"),
    words("lease_owner", nullable=True), instant("lease_until", nullable=True), whole("attempts"),
    json("progress", nullable=True), json("report", nullable=True), words("failure_code", nullable=True),
    words("failure_message", nullable=True),
    Index("one_active_run_for_each_model", "model", unique=True, **where("state in ('asked', 'running')")),
)  # fmt: skip

Table(
    "versions", SCHEMA,
    whole("id", primary_key=True), words("model", _of("models.id"), index=True), whole("number"), state(),
    words("note"), words("manifest"), words("onnx_sha256"), whole("parent", nullable=True),
    words("run_key", _of("training_runs.key"), unique=True), words("firing_id", _of("firings.id")), json("dataset"),
    json("metrics"), json("constant_metrics"), json("champion_metrics"), json("parity"), words("gate_rows"),
    words("mlflow_run_id"), words("mlflow_version"), words("bento_tag"), instant("train_until"), instant("made_at"),
    instant("state_at"), instant("promoted_at", nullable=True), instant("first_promoted_at", nullable=True),
    instant("recorded_at"), instant("promoted_recorded_at", nullable=True),
    UniqueConstraint("model", "number"),
    Index("one_staging_for_each_model", "model", unique=True, **where("state = 'staging'")),
    Index("one_production_for_each_model", "model", unique=True, **where("state = 'production'")),
)  # fmt: skip

Table(
    "gate_verdicts", SCHEMA,
    words("id", primary_key=True), words("model", _of("models.id"), index=True), whole("version"),
    words("run_key", _of("training_runs.key"), unique=True), flag("passed"), words("reason"), words("detail"),
    json("numbers"), instant("decided_at"),
)  # fmt: skip

Table(
    "windows", SCHEMA,
    words("id", primary_key=True), words("model", _of("models.id")), whole("version"), words("monitor"),
    words("spec_digest"), instant("after_time"), words("after_id"), instant("until_time"), words("until_id"),
    whole("rows"), whole("labelled"), whole("late_rows", server_default="0"), json("verdict"), whole("revision"),
    instant("cut_at"), instant("scored_at"), instant("labels_due_at"), instant("look_at", nullable=True),
    instant("error_at", nullable=True),
    Index("windows_in_order", "model", "version", "monitor", "until_time", "until_id"),
    Index("windows_to_judge", "model", "version", "monitor", "until_time", "until_id", "cut_at", "error_at", "id"),
    Index("windows_awaiting_labels", "model", "labels_due_at", "id", **where("error_at IS NULL")),
)  # fmt: skip

Table(
    "observations", SCHEMA,
    words("model", _of("models.id")), whole("version"), instant("watermark", nullable=True), whole("labelled_new"),
    instant("observed_at"),
    PrimaryKeyConstraint("model", "version"),
)  # fmt: skip

Table(
    "instances", SCHEMA,
    words("id", size=64, primary_key=True), json("loaded"), json("failed"), instant("reported_at"),
)  # fmt: skip

Table(
    "tokens", SCHEMA,
    words("id", primary_key=True), words("name"), words("sha256", unique=True), json("scopes"), instant("created_at"),
    instant("expires_at", nullable=True),
)  # fmt: skip

Table(
    "outbox", SCHEMA,
    whole("sequence", primary_key=True), words("event_id", unique=True), words("model"), words("kind"), json("body"),
    instant("event_time"), instant("recorded_at"), instant("published_at", nullable=True, index=True),
)  # fmt: skip

Table("replay_clock", SCHEMA, whole("id", primary_key=True, autoincrement=False), instant("now"))


def upgrade() -> None:
    complete(op.get_bind(), SCHEMA)
