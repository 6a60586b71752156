"""Why the system rejected a version by itself; and the newest decision of a rule, found by an index.

It only adds.
"""

from __future__ import annotations

from alembic import op

from controlplane.migrations.columns import words

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("versions", words("rejected_for", server_default=""))
    op.create_index("decisions_of_rule", "decisions", ["model", "rule", "id"])
