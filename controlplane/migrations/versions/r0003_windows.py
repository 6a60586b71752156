"""Windows of segments, and what came too late for a window, counted.

It only adds: what an older release reads and writes is there as it was. The two indexes that rules and pages go by are
made again with the segment in them.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import ForeignKey, PrimaryKeyConstraint

from controlplane.migrations.columns import instant, where, whole, words

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for column in (
        words("segment", server_default=""), whole("settled_labels", nullable=True),
        whole("late_labels", server_default="0"), instant("recount_at", nullable=True),
    ):  # fmt: skip
        op.add_column("windows", column)
    of_a_sequence = ["model", "version", "monitor", "segment", "until_time", "until_id"]
    for index, columns in (
        ("windows_in_order", of_a_sequence),
        ("windows_to_judge", [*of_a_sequence, "cut_at", "error_at", "id"]),
    ):
        op.drop_index(index, "windows")
        op.create_index(index, "windows", columns)
    still_counted = where("recount_at IS NOT NULL")
    op.create_index("windows_to_count_again", "windows", ["model", "recount_at", "id"], **still_counted)
    op.create_table(
        "late_events",
        words("model", ForeignKey("models.id")), words("monitor"), whole("predictions"), whole("labels"),
        PrimaryKeyConstraint("model", "monitor"),
    )  # fmt: skip
