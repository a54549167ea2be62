"""The tables of the cloud, beside the others of the book: prepared places, what each run is there, what was billed."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from policies.tables import metadata

cloud_places = Table(
    "cloud_places", metadata,
    Column("region", String, primary_key=True),
    Column("place_json", Text, nullable=False),
    Column("at", String, nullable=False),
)

cloud_runs = Table(
    "cloud_runs", metadata,
    Column("run_id", String, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("call_id", String, nullable=False),
    Column("region", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("wish", String, nullable=False, server_default="run"),
    Column("execution", String, nullable=False, server_default=""),
    Column("plan_json", Text, nullable=False),
    Column("seen_json", Text, nullable=False, server_default="{}"),
    Column("requested_at", String),
    Column("started_at", String),
    Column("ended_at", String),
    Column("expires_at", String, nullable=False),
    Column("settled", Integer, nullable=False, server_default="0"),
    Column("changed_at", String, nullable=False),
    Column("lease_until", String, nullable=False, server_default=""),
    Column("lease_by", String, nullable=False, server_default=""),
    Index("ix_cloud_runs_phase", "phase"),
)

cloud_run_events = Table(
    "cloud_run_events", metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", String, nullable=False),
    Column("from_phase", String, nullable=False),
    Column("to_phase", String, nullable=False),
    Column("evidence", Text, nullable=False),
    Index("ix_cloud_run_events", "run_id", "id"),
)

cloud_bills = Table(
    "cloud_bills", metadata,
    Column("day", String, primary_key=True),
    Column("run_id", String, primary_key=True),
    Column("meter", String, primary_key=True),
    Column("micros", Integer, nullable=False),
    Column("fetched_at", String, nullable=False),
)

cloud_serving = Table(
    "cloud_serving", metadata,
    Column("call_id", String, primary_key=True),
    Column("deployment_id", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("region", String, nullable=False),
    Column("per_second", String, nullable=False),
    Column("began_at", String, nullable=False),
    Column("sent_at", String),
    Column("looked_at", String),
    Column("replicas", Integer, nullable=False, server_default="0"),
    Column("replica_ms", Integer, nullable=False, server_default="0"),
    Column("unseen_s", Integer, nullable=False, server_default="0"),
    Column("ended_at", String),
    Column("settled", Integer, nullable=False, server_default="0"),
    Index("ix_cloud_serving", "deployment_id", "revision"),
)
