"""How long the replicas of each deployment in the cloud were paid for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table("cloud_serving",
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("deployment_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("per_second", sa.String(), nullable=False),
        sa.Column("began_at", sa.String(), nullable=False),
        sa.Column("sent_at", sa.String(), nullable=True),
        sa.Column("looked_at", sa.String(), nullable=True),
        sa.Column("replicas", sa.Integer(), server_default="0", nullable=False),
        sa.Column("replica_ms", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unseen_s", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.String(), nullable=True),
        sa.Column("settled", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("call_id"),
    )
    op.create_index("ix_cloud_serving", "cloud_serving", ["deployment_id", "revision"])


def downgrade() -> None:
    """What was paid for is not forgotten."""
    raise RuntimeError("Restore the backup that was made before the upgrade instead.")
