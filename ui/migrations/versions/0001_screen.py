"""The screen's tables, with exactly the columns that Chainlit 2.12 writes.

Its published schema lacks four of them, and each insert then fails with a warning only: steps.autoCollapse, steps.icon,
elements.autoPlay, elements.playerConfig (November 2026).
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text) for name in names]


def upgrade() -> None:
    """Make users, threads, steps, elements and feedbacks."""
    op.create_table(
        "users", sa.Column("id", sa.Text, primary_key=True), sa.Column("identifier", sa.Text, nullable=False, unique=True),
        *_text("createdAt", "metadata"),
    )
    op.create_table(
        "threads", sa.Column("id", sa.Text, primary_key=True),
        *_text("createdAt", "name", "userId", "userIdentifier", "tags", "metadata"),
    )
    op.create_index("threads_of_user", "threads", ["userId"])
    op.create_table(
        "steps", sa.Column("id", sa.Text, primary_key=True),
        *_text("name", "type", "threadId", "parentId", "command", "modes", "metadata", "tags", "input", "output", "createdAt",
               "start", "end", "generation", "showInput", "language", "icon"),
        *(sa.Column(name, sa.Boolean) for name in ("streaming", "waitForAnswer", "isError", "defaultOpen", "autoCollapse")),
    )
    op.create_index("steps_of_thread", "steps", ["threadId", "createdAt"])
    op.create_table(
        "elements", sa.Column("id", sa.Text, primary_key=True),
        *_text("threadId", "type", "chainlitKey", "url", "objectKey", "name", "display", "size", "language", "props",
               "playerConfig", "forId", "mime"),
        sa.Column("page", sa.Integer), sa.Column("autoPlay", sa.Boolean),
    )
    op.create_index("elements_of_thread", "elements", ["threadId"])
    op.create_table(
        "feedbacks", sa.Column("id", sa.Text, primary_key=True), *_text("forId", "threadId", "comment"), sa.Column("value", sa.Integer),
    )


def downgrade() -> None:
    """Drop them all: the screen is a view, nothing else is lost."""
    for table in ("feedbacks", "elements", "steps", "threads", "users"):
        op.drop_table(table)
