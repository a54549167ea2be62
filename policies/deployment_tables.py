"""The tables of deployments, beside the others of the book: one row a deployment, one row a change of its state."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from policies.tables import metadata

deployments = Table(
    "deployments", metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("thread", String),
    Column("call_id", String, nullable=False, unique=True),
    Column("where", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("revision_call", String, nullable=False),
    Column("run_id", String),
    Column("model_id", String, nullable=False),
    Column("plan_json", Text, nullable=False),
    Column("url", String, nullable=False, server_default=""),
    Column("key_hint", String, nullable=False, server_default=""),
    Column("stop_by", String, nullable=False, server_default=""),
    Column("created_at", String, nullable=False),
    Column("started_at", String),
    Column("ended_at", String),
    Column("expires_at", String, nullable=False),
    Index("ix_deployments_owner", "owner", "created_at"),
    Index("ix_deployments_revision_call", "revision_call"),
)

deployment_events = Table(
    "deployment_events", metadata,
    Column("id", Integer, primary_key=True),
    Column("deployment_id", String, nullable=False),
    Column("at", String, nullable=False),
    Column("from_state", String, nullable=False),
    Column("to_state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_deployment_events", "deployment_id", "id"),
)
