"""Alembic's entry for the screen's tables: runs on the connection it is handed, never on a configured address."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
