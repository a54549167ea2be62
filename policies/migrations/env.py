"""Alembic's entry: runs the migrations on the connection that the book hands over."""

from alembic import context

from policies.deployment_tables import deployments

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=deployments.metadata,  # the book's own, with every table in it
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
