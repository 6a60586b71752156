"""Holds, rollouts, alerts, people and the audit chain; what a tick needs to ask only what is due.

It only adds: release 0.1.0 goes on working on this schema, because every new column of an old table may be null
or has a default.
"""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint, text

from controlplane.migrations.columns import instant, json, real, state, where, whole, words

revision = "0002"
down_revision = "0001"

EPOCH: Final = "1970-01-01 00:00:00"
GENESIS: Final = "0" * 64
BEFORE_PRODUCTION: Final = "state IN ('awaiting_approval', 'canary', 'candidate', 'shadow', 'staging')"
LOADED: Final = "state IN ('canary', 'production', 'shadow', 'staging')"
REFUSAL: Final = "the audit chain only grows"


def upgrade() -> None:
    _widen()
    _holds_and_clock()
    _rollouts()
    _alerts()
    _people()
    _audit()
    _guard_audit()


def _widen() -> None:
    added = {
        "models": (
            instant("due_at", server_default=EPOCH), whole("changes", server_default="0"),
            whole("judged_changes", server_default="0"), words("judged_by", server_default=""),
        ),
        "windows": (whole("change", nullable=True),),
        "versions": (
            json("cost", server_default="{}"), words("approved_by", nullable=True), words("approved_why", nullable=True)
        ),
        "gate_verdicts": (json("checks", server_default="[]"),),
        "training_runs": (
            real("cpu_seconds", nullable=True), words("cancel_by", nullable=True), words("cancel_why", nullable=True)
        ),
        "tokens": (
            words("role", server_default=""), words("created_by", server_default=""),
            instant("revoked_at", nullable=True),
        ),
    }  # fmt: skip
    for table, columns in added.items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ix_models_decided_until", "models", ["decided_until"])
    op.create_index("ix_models_due_at", "models", ["due_at"])
    op.create_index("windows_by_change", "windows", ["model", "version", "change"])
    op.execute("UPDATE windows SET change = 0")
    op.create_index("versions_before_production", "versions", ["id"], **where(BEFORE_PRODUCTION))
    op.create_index("versions_to_be_loaded", "versions", ["model"], **where(LOADED))


def _holds_and_clock() -> None:
    op.create_table(
        "holds",
        words("model", ForeignKey("models.id")), words("what", size=80), instant("since"),
        instant("until", nullable=True), words("by"), words("why"),
        PrimaryKeyConstraint("model", "what"),
    )  # fmt: skip
    op.create_table("ticked", whole("id", primary_key=True, autoincrement=False), instant("until"))


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        words("id", primary_key=True), words("model", ForeignKey("models.id")), whole("version"),
        whole("champion", nullable=True), state(), whole("step"), real("share"),
        words("reason", server_default=""), words("note"), instant("began_at"), instant("state_at"),
        instant("recorded_at"), instant("ended_at", nullable=True),
        UniqueConstraint("model", "version", "began_at"),
        Index("one_rollout_for_each_model", "model", unique=True, **where("ended_at IS NULL")),
        Index("rollouts_in_order", "model", "id"),
    )  # fmt: skip
    op.create_table(
        "comparisons",
        words("rollout", ForeignKey("rollouts.id"), primary_key=True), instant("since"), json("numbers"),
        instant("compared_at"),
    )  # fmt: skip


def _alerts() -> None:
    op.create_table(
        "alerts",
        words("id", primary_key=True), words("fingerprint"), words("model", ForeignKey("models.id"), nullable=True),
        words("name"), words("severity"), json("labels"), words("summary"), words("description"), state(),
        instant("began_at"), instant("state_at"), instant("resolved_at", nullable=True), instant("recorded_at"),
        instant("resolved_recorded_at", nullable=True), words("inhibited_by", nullable=True),
        words("by", nullable=True), words("why", nullable=True), instant("silenced_until", nullable=True),
        whole("revision"),
        Index("one_open_alert", "fingerprint", unique=True, **where("state != 'resolved'")),
        Index("alerts_in_order", "model", "id"),
        Index("open_alerts", "model", **where("state != 'resolved'")),
    )  # fmt: skip
    op.create_table(
        "notifications",
        words("id", primary_key=True), words("channel"), words("alert_id", ForeignKey("alerts.id")), whole("revision"),
        json("body"), instant("recorded_at"), instant("due_at"), whole("attempts"), words("lease_owner", nullable=True),
        instant("lease_until", nullable=True), words("last_error", nullable=True),
        instant("delivered_at", nullable=True, index=True), instant("given_up_at", nullable=True),
        UniqueConstraint("channel", "alert_id", "revision"),
        Index("notifications_due", "channel", "due_at", **where("delivered_at IS NULL AND given_up_at IS NULL")),
    )  # fmt: skip


def _people() -> None:
    op.create_table(
        "sign_ins",
        words("sha256", primary_key=True), words("token_id", ForeignKey("tokens.id", ondelete="CASCADE"), index=True),
        words("csrf_sha256"), instant("began_at"), instant("seen_at"), instant("expires_at", index=True),
    )  # fmt: skip
    op.create_table(
        "auth_failures",
        words("id", primary_key=True), words("subject"), instant("at", index=True),
        Index("auth_failures_of", "subject", "at"),
    )  # fmt: skip
    op.create_table(
        "answers",
        words("key", primary_key=True), words("request"), whole("status", nullable=True), json("body", nullable=True),
        instant("recorded_at", index=True),
    )  # fmt: skip


def _audit() -> None:
    op.create_table(
        "audit",
        whole("sequence", primary_key=True, autoincrement=False), instant("at"), words("actor"),
        words("token_id", nullable=True), words("via"), words("action"), words("subject"), words("why"),
        json("before", nullable=True), json("after", nullable=True), words("request_id"), words("previous"),
        words("hash"),
        Index("audit_of_subject", "subject", "sequence"),
    )  # fmt: skip
    head = op.create_table(
        "audit_head", whole("id", primary_key=True, autoincrement=False), whole("sequence"), words("hash")
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "hash": GENESIS}])


def _guard_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            name = f"audit_refuses_{change.lower()}"
            body = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            op.execute(text(f"CREATE TRIGGER {name} BEFORE {change} ON audit {body}"))
        # INSERT OR REPLACE takes the old row away without asking the trigger of DELETE
        there = "WHEN EXISTS (SELECT 1 FROM audit WHERE sequence = NEW.sequence)"
        op.execute(text(f"CREATE TRIGGER audit_refuses_replacing BEFORE INSERT ON audit {there} {body}"))
        return
    body = f"BEGIN RAISE EXCEPTION '{REFUSAL}'; END"
    op.execute(text(f"CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"))
    op.execute(
        text(
            "CREATE TRIGGER audit_refuses BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()"
        )
    )
