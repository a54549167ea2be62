"""The cloud: prepared places, runs there, and what was billed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table("cloud_places",
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("place_json", sa.Text(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("region"),
    )
    op.create_table("cloud_runs",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("wish", sa.String(), server_default="run", nullable=False),
        sa.Column("execution", sa.String(), server_default="", nullable=False),
        sa.Column("plan_json", sa.Text(), nullable=False),
        sa.Column("seen_json", sa.Text(), server_default="{}", nullable=False),
        sa.Column("requested_at", sa.String(), nullable=True),
        sa.Column("started_at", sa.String(), nullable=True),
        sa.Column("ended_at", sa.String(), nullable=True),
        sa.Column("expires_at", sa.String(), nullable=False),
        sa.Column("settled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("changed_at", sa.String(), nullable=False),
        sa.Column("lease_until", sa.String(), server_default="", nullable=False),
        sa.Column("lease_by", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index("ix_cloud_runs_phase", "cloud_runs", ["phase"])
    op.create_table("cloud_run_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("from_phase", sa.String(), nullable=False),
        sa.Column("to_phase", sa.String(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_cloud_run_events", "cloud_run_events", ["run_id", "id"])
    op.create_table("cloud_bills",
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("micros", sa.Integer(), nullable=False),
        sa.Column("fetched_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("day", "run_id", "meter"),
    )


def downgrade() -> None:
    """What was spent is not forgotten."""
    raise RuntimeError("Restore the backup that was made before the upgrade instead.")
