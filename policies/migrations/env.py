"""Alembic's entry: runs the migrations on the connection that the book hands over."""

from alembic import context

from policies.cloud_tables import cloud_runs
from policies.deployment_tables import deployments

TABLES = (cloud_runs, deployments)
"""One of each file of tables, so that the metadata has all of them."""

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TABLES[0].metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
