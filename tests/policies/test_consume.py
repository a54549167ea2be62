"""The last two guards before an effect, clause by clause: the one compare-and-set, and the sums after a reservation."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from policies import ledger
from policies.approvals import Approvals
from policies.audit.log import AuditLog
from policies.audit.record import AgentFacts
from policies.book import now_text
from policies.tables import approvals
from policies.tables import ledger as rows
from tests.policies.fakes_tools import spending
from tests.policies.home import Home, ask, kept, two_more


async def approved(home: Home) -> tuple[Approvals, Any]:
    """An approval that was given and may be used for five minutes, and the machine that would use it."""
    two_more(home)
    gateway = home.gateway({"pay": spending(10)})
    view = await ask(gateway, "pay")
    soon = now_text(home.clock.now + timedelta(minutes=5))
    home.book.write(lambda conn: conn.execute(approvals.update().values(state="approved", execute_by=soon)))
    return Approvals(AuditLog(home.book.home_id(), AgentFacts()), gateway.policy), kept(home, view.id)


def consumed(home: Home, machine: Approvals, row: Any, **other: Any) -> bool:
    """Whether the row, with some fields as somebody else remembers them, can be used now."""
    remembered = cast(Any, SimpleNamespace(**{**row._asdict(), **other}))
    return home.book.write(lambda conn: machine.consume(conn, remembered, home.clock.now))


async def test_what_was_approved_is_used_once(home: Home) -> None:
    machine, row = await approved(home)
    assert consumed(home, machine, row) and kept(home, row.id).state == "consumed"
    assert not consumed(home, machine, row)


@pytest.mark.parametrize("other", [{"id": "00000000"}, {"digest": "0" * 64}], ids=["another id", "another digest"])
async def test_another_action_uses_nothing(home: Home, other: dict[str, str]) -> None:
    machine, row = await approved(home)
    assert not consumed(home, machine, row, **other) and kept(home, row.id).state == "approved"


@pytest.mark.parametrize("state", ["pending", "denied", "withdrawn", "expired", "revoked", "superseded", "consumed"])
async def test_a_row_in_another_state_is_not_used(home: Home, state: str) -> None:
    machine, row = await approved(home)
    home.book.write(lambda conn: conn.execute(approvals.update().values(state=state)))
    assert not consumed(home, machine, row) and kept(home, row.id).state == state


async def test_an_approval_under_another_policy_is_not_used(home: Home) -> None:
    machine, row = await approved(home)
    other = replace(machine, policy=replace(machine.policy, hash="0" * 64))
    assert not consumed(home, other, row) and consumed(home, machine, row)


async def test_an_approval_is_not_used_at_the_moment_its_time_is_over_nor_later(home: Home) -> None:
    machine, row = await approved(home)
    home.clock.forward(minutes=5)
    assert not consumed(home, machine, row) and kept(home, row.id).state == "approved"
    home.clock.now -= timedelta(microseconds=1)
    assert consumed(home, machine, row)


async def test_a_reservation_that_passes_a_cap_after_all_is_refused_and_undone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the first look had been wrong: the sums are taken again over what was just written."""
    machine, row = await approved(home)

    def left(*_: Any, besides_run: bool = False) -> list[tuple[str, int]]:
        return [("the team's budget of the month", -1 if besides_run else 10**12)]

    def reserve(conn: Connection) -> None:
        ledger.reserve(conn, machine.policy.limits, call_id=row.call_id, person="owner", ceiling=1, basis="x", now=home.clock.now)

    monkeypatch.setattr(ledger, "_left", left)
    with pytest.raises(ledger.OverBudget, match="would be passed"):
        home.book.write(reserve)
    assert home.book.read(lambda conn: conn.execute(rows.select()).all()) == []
