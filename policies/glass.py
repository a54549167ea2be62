"""Break-glass: an owner says yes alone to what needs others, with a written reason, and the log says so loudly."""

import json
from typing import Any

from sqlalchemy import Connection, Row, select

from policies.digest import proposal_from_json
from policies.judge import effects_of
from policies.people import Caller, find_person
from policies.policy import Policy
from policies.proposal import Effect
from policies.tables import decisions

ANSWER = "break_glass"
_HEAVY = frozenset({Effect.SPEND, Effect.EXPOSE, Effect.DESTROY})


def who_broke_it(conn: Connection, row: Row[Any], policy: Policy) -> frozenset[str]:
    """The owners whose lone yes stands: still active, still owners, and only while limits.toml lets them."""
    if not policy.limits.approval.break_glass:
        return frozenset()
    said = conn.execute(select(decisions.c.person).where(decisions.c.approval_id == row.id, decisions.c.answer == ANSWER))
    return frozenset(person for (person,) in said if _owns(conn, person))


def refusal_to_break(conn: Connection, row: Row[Any], caller: Caller, why: str, policy: Policy) -> str:
    """Why this caller may not break the glass for this approval; empty when they may."""
    if not policy.limits.approval.break_glass:
        return "Break-glass is switched off here: [approval] break_glass in limits.toml."
    if caller.via not in ("web", "cli"):
        return "The glass is broken on the web or at the terminal only, never in a chat and never by a program."
    if not _owns(conn, caller.person):
        return "Only an owner may break the glass."
    if len(why.split()) < 2:
        return "Breaking the glass needs a written reason."
    if not _HEAVY & set(effects_of(proposal_from_json(json.loads(row.proposal_json)))):
        return "There is no glass to break: this spends nothing, exposes nothing and destroys nothing. Approve it."
    return ""


def _owns(conn: Connection, person: str) -> bool:
    found = find_person(conn, person)
    return found is not None and found.active and found.kind == "human" and found.role == "owner"
