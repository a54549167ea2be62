"""Whose yes counts: read from the book each time, so that a lost role or a second person changes it at once."""

import json
from typing import Any, TypeGuard

from sqlalchemy import Connection, Row, select

from policies.people import SYSTEM, Caller, Person, active_people, find_person
from policies.policy import Policy
from policies.proposal import Effect
from policies.tables import decisions


def standing_yes(conn: Connection, row: Row[Any], policy: Policy) -> frozenset[str]:
    """Who said yes to an approval and may still say it: active, human, with a deciding role; the requester where that counts."""
    said = conn.execute(select(decisions.c.person).where(decisions.c.approval_id == row.id, decisions.c.answer == "approve"))
    standing = {person for (person,) in said if _decides(find_person(conn, person), policy)}
    if not own_yes_counts(conn, row, policy):
        standing.discard(row.requester)
    return frozenset(standing)


def refusal_to_approve(conn: Connection, row: Row[Any], caller: Caller, policy: Policy) -> str:
    """Why this caller may not say yes to this approval; empty when they may."""
    refusal = refusal_to_decide(conn, caller, policy)
    if refusal:
        return refusal
    if caller.person != row.requester:
        return ""
    if own_yes_counts(conn, row, policy):
        return ""
    return "self_approval: whoever asks for this may not approve it. Another person has to."


def refusal_to_decide(conn: Connection, caller: Caller, policy: Policy) -> str:
    """Why this caller may decide nothing at all; empty when they may."""
    if caller.via in ("mcp", "system") or caller.person == SYSTEM:
        return "An approval is decided by a person on the web, in a linked chat or at the terminal, never by a program."
    if not _decides(find_person(conn, caller.person), policy):
        return f"{caller.person} may not decide approvals here."
    return ""


def refusal_to_withdraw(conn: Connection, row: Row[Any], caller: Caller, policy: Policy) -> str:
    """Why this caller may not take a request back; the requester, while known and not a program acting alone, always may."""
    if caller.person == row.requester and _known(find_person(conn, caller.person)):
        return ""
    return refusal_to_decide(conn, caller, policy)


def own_yes_counts(conn: Connection, row: Row[Any], policy: Policy) -> bool:
    """Whether the requester's own yes counts: for work on this machine, else only in solo mode and below the two-person threshold."""
    if not policy.limits.approval.self_approval or row.quorum > 1:
        return False
    proposal = json.loads(row.proposal_json)
    light = set(proposal["effects"]) <= {Effect.READ, Effect.LOCAL} and not proposal["cost"].get("ceiling_micros")
    return light or len(active_people(conn)) == 1


def _decides(person: Person | None, policy: Policy) -> bool:
    return _known(person) and person.kind == "human" and person.role in policy.limits.approval.roles


def _known(person: Person | None) -> TypeGuard[Person]:
    return person is not None and person.active
