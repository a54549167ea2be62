"""The tables of the book, as SQLAlchemy Core sees them; times are ISO 8601 UTC text, money integer micro-units."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", Text, nullable=False))

people = Table(
    "people", metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("kind", String, nullable=False, server_default="human"),
    Column("active", Integer, nullable=False, server_default="1"),
    Column("created_at", String, nullable=False),
)

identities = Table(
    "identities", metadata,
    Column("provider", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("person", String, ForeignKey("people.id"), nullable=False),
    Column("linked_via", String, nullable=False),
    Column("linked_at", String, nullable=False),
    Index("ix_identities_person", "person"),
)

identity_codes = Table(
    "identity_codes", metadata,
    Column("code_hash", String, primary_key=True),
    Column("person", String, ForeignKey("people.id"), nullable=False),
    Column("created_at", String, nullable=False),
    Column("expires_at", String, nullable=False),
    Column("used_at", String),
)

calls = Table(
    "calls", metadata,
    Column("call_id", String, primary_key=True),
    Column("person", String, nullable=False),
    Column("key", String, nullable=False),
    Column("args_digest", String, nullable=False),
    Column("tool", String, nullable=False),
    Column("tool_version", String, nullable=False, server_default=""),
    Column("thread", String),
    Column("caller_json", Text, nullable=False),
    Column("args_json", Text, nullable=False),
    Column("effects", String, nullable=False, server_default=""),
    Column("status", String, nullable=False),
    Column("approval_id", String),
    Column("intent_seq", Integer),
    Column("answer_json", Text),
    Column("created_at", String, nullable=False),
    Column("ended_at", String),
    UniqueConstraint("person", "key"),
    Index("ix_calls_status", "status"),
)

approvals = Table(
    "approvals", metadata,
    Column("id", String, primary_key=True),
    Column("call_id", String, ForeignKey("calls.call_id"), nullable=False, unique=True),
    Column("state", String, nullable=False),
    Column("tool", String, nullable=False),
    Column("tool_version", String, nullable=False),
    Column("requester", String, nullable=False),
    Column("caller_json", Text, nullable=False),
    Column("thread", String),
    Column("args_json", Text, nullable=False),
    Column("proposal_json", Text, nullable=False),
    Column("digest", String, nullable=False),
    Column("policy_hash", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("supersedes", String, nullable=False, server_default=""),
    Column("created_at", String, nullable=False),
    Column("expires_at", String, nullable=False),
    Column("execute_by", String),
    Column("decided_at", String),
    Column("why", Text, nullable=False, server_default=""),
    Column("outcome", Text, nullable=False, server_default=""),
    Index("ix_approvals_state", "state"),
)

decisions = Table(
    "decisions", metadata,
    Column("id", Integer, primary_key=True),
    Column("approval_id", String, ForeignKey("approvals.id"), nullable=False),
    Column("person", String, nullable=False),
    Column("via", String, nullable=False),
    Column("auth", String, nullable=False, server_default=""),
    Column("answer", String, nullable=False),
    Column("why", Text, nullable=False, server_default=""),
    Column("at", String, nullable=False),
    UniqueConstraint("approval_id", "person"),
)

ledger = Table(
    "ledger", metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("call_id", String, ForeignKey("calls.call_id"), nullable=False),
    Column("person", String, nullable=False),
    Column("micros", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    Column("basis", Text, nullable=False, server_default=""),
    Index("ix_ledger_call", "call_id"),
    Index("ix_ledger_person", "person", "at"),
)

tokens = Table(
    "tokens", metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("turn", String, nullable=False),
    Column("person", String, nullable=False),
    Column("model", String, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Index("ix_tokens_person", "person", "at"),
    Index("ix_tokens_turn", "turn"),
)

standing_orders = Table(
    "standing_orders", metadata,
    Column("id", Integer, primary_key=True),
    Column("approval_id", String, ForeignKey("approvals.id"), nullable=False),
    Column("tool", String, nullable=False),
    Column("target", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("due_at", String),
    Column("created_at", String, nullable=False),
    Column("ended_at", String),
    Index("ix_standing_orders_target", "target", "ended_at"),
)

audit = Table(
    "audit", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("hash", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("call_id", String),
    Column("record", LargeBinary, nullable=False),
    Index("ix_audit_call", "call_id"),
)

audit_originals = Table(
    "audit_originals", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
    Column("original", LargeBinary, nullable=False),
)

audit_checkpoints = Table(
    "audit_checkpoints", metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("root", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("at", String, nullable=False),
)

audit_witnessed = Table(
    "audit_witnessed", metadata,
    Column("id", Integer, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("witness", String, nullable=False),
    Column("at", String, nullable=False),
    Column("receipt", Text, nullable=False, server_default=""),
    Column("error", Text, nullable=False, server_default=""),
    Index("ix_audit_witnessed", "witness", "size"),
)

audit_exports = Table(
    "audit_exports", metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("format", String, nullable=False),
    Column("first_seq", Integer, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("sha256", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)

policy_loads = Table(
    "policy_loads", metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("hash", String, nullable=False),
    Column("source", Text, nullable=False),
    Column("alarm", Text, nullable=False, server_default=""),
)

runs = Table(
    "runs", metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("thread", String),
    Column("call_id", String, unique=True),
    Column("name", String, nullable=False, server_default=""),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("model_id", String),
    Column("dataset_ref", String),
    Column("method", String),
    Column("spec_json", Text),
    Column("plan_json", Text),
    Column("where", String, nullable=False, server_default="this machine"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("created_at", String, nullable=False),
    Column("started_at", String),
    Column("ended_at", String),
    Column("outcome_json", Text),
    Column("predicted_memory_bytes", BigInteger),
    Column("measured_memory_bytes", BigInteger),
    Index("ix_runs_owner", "owner", "created_at"),
)

run_events = Table(
    "run_events", metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String, ForeignKey("runs.id"), nullable=False),
    Column("at", String, nullable=False),
    Column("from_state", String),
    Column("to_state", String, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Index("ix_run_events_run", "run_id"),
)

datasets = Table(
    "datasets", metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("format", String, nullable=False),
    Column("path", Text, nullable=False),
    Column("owner", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("call_id", String),
)

models = Table(
    "models", metadata,
    Column("id", String, primary_key=True),
    Column("path", Text, nullable=False),
    Column("digest", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("detail_json", Text),
)

thread_runs = Table(
    "thread_runs", metadata,
    Column("thread", String, primary_key=True),
    Column("run_id", String, primary_key=True),
    Column("at", String, nullable=False),
)

notices = Table(
    "notices", metadata,
    Column("id", Integer, primary_key=True),
    Column("thread", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("for_brain_json", Text),
    Column("run_id", String),
    Column("approval_id", String),
    Column("created_at", String, nullable=False),
    Column("delivered_at", String),
    Index("ix_notices_open", "thread", "delivered_at"),
)

links = Table(
    "links", metadata,
    Column("token_hash", String, primary_key=True),
    Column("person", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("expires_at", String, nullable=False),
    Column("used_at", String),
)

revoked_sessions = Table(
    "revoked_sessions", metadata,
    Column("token_hash", String, primary_key=True),
    Column("at", String, nullable=False),
    Column("expires_at", String),
)
