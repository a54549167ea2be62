"""An approval as faces show it: written from the book by trusted code, every odd character made visible."""

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, Row, select

from policies.digest import proposal_from_json
from policies.judge import effects_of
from policies.limits import dollars
from policies.proposal import Proposal, Unpriced
from policies.redact import redact, visible
from policies.tables import decisions
from policies.verdict import ApprovalView

LONGEST = 400


def plainly(text: str, longest: int = LONGEST) -> str:
    """One line of a card: redacted, odd characters escaped, cut with its length and hash when long."""
    shown = visible(redact(text))
    if len(shown) <= longest:
        return shown
    return f"{shown[:longest]}… ({len(text)} characters, SHA-256 {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]})"


def show(conn: Connection, row: Row[Any]) -> ApprovalView:
    """The view of one row of approvals."""
    proposal = proposal_from_json(json.loads(row.proposal_json))
    said = conn.execute(select(decisions).where(decisions.c.approval_id == row.id).order_by(decisions.c.id)).all()
    people = {one.person for one in said if one.answer != "deny"}
    exact = json.dumps(json.loads(row.args_json), ensure_ascii=False, sort_keys=True)
    lines = [*proposal.card, *_bounds(proposal), ("Exact arguments", exact)]
    return ApprovalView(
        id=row.id, tool=row.tool, status=row.state, requester=row.requester, thread=row.thread, digest=row.digest[:8],
        effects=tuple(effect.value for effect in effects_of(proposal)), target=plainly(proposal.target), where=plainly(proposal.where),
        reason=row.reason, lines=tuple((plainly(label, 80), plainly(value)) for label, value in lines),
        stop_rules=tuple(plainly(rule) for rule in (*proposal.stop_rules, *(order.text for order in proposal.orders))), plan=proposal.plan,
        ceiling="unpriced" if isinstance(proposal.cost, Unpriced) else dollars(proposal.cost.ceiling_micros),
        currency="USD",
        created_at=row.created_at, expires_at=row.expires_at if row.execute_by is None else row.execute_by,
        decided_by=tuple(one.person for one in said), why=plainly(row.why), outcome=plainly(row.outcome),
        quorum=row.quorum, yes=len(people),
    )


def _bounds(proposal: Proposal) -> list[tuple[str, str]]:
    """Where, on what and how long it may cost money, and what leaves the machine; only what the proposal names."""
    hours, minutes = divmod(proposal.max_minutes, 60)
    lines = [
        ("Region", proposal.region), ("Hardware", proposal.sku),
        ("Longest time", f"{hours} h {minutes} min" if proposal.max_minutes else ""), ("Leaves this machine", proposal.leaves),
    ]
    return [(label, value) for label, value in lines if value]
