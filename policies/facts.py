"""What the book knows about whoever asks, at the moment of judging."""

from datetime import UTC, datetime

from sqlalchemy import Connection

from policies import ledger
from policies.judge import Facts
from policies.limits import Limits
from policies.people import active_people, find_person
from policies.proposal import Proposal, Unpriced


def known_facts(conn: Connection, limits: Limits, proposal: Proposal, person: str, now: datetime) -> Facts:
    """The facts about a person who asks and to whom nobody has said yes yet; budgets are looked up only where money is asked for."""
    found = find_person(conn, person)
    role = found.role if found is not None and found.active else ""
    priced = not isinstance(proposal.cost, Unpriced) and proposal.cost.ceiling_micros > 0
    room = ledger.room(conn, limits, person, now) if priced else 0
    return Facts(role, len(active_people(conn)) == 1, room, hour=now.astimezone(UTC).hour)
