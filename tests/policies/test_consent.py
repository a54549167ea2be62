"""Whose yes counts: alone, among others, above the threshold, and after a right was lost."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from policies.consent import standing_yes
from policies.glass import who_broke_it
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import Effect
from policies.tables import decisions, people
from tests.faults.proof import proves
from tests.policies.fakes_tools import FakeTool, heavy, spending
from tests.policies.home import BOB, CY, OWNER, Home, ask, kept, two_more


async def test_alone_one_may_approve_ones_own_spending_below_the_threshold(home: Home) -> None:
    tool = spending(10)
    gateway = home.gateway({"pay": tool})
    assert (await gateway.decide((await ask(gateway, "pay")).id, "approve", OWNER)).ok and sum(tool.done.values()) == 1


@pytest.mark.parametrize("effect", [Effect.SPEND, Effect.EXPOSE, Effect.DESTROY])
async def test_from_the_second_person_on_the_requesters_own_yes_never_counts(home: Home, effect: Effect) -> None:
    two_more(home)
    tool = FakeTool(effects=frozenset({effect, Effect.LOCAL}))
    gateway = home.gateway({"do": tool})
    view = await ask(gateway, "do")
    own = await gateway.decide(view.id, "approve", replace(OWNER, via="slack"))
    assert not own.ok and "self_approval" in own.message and not tool.done
    assert home.records()[-1]["event"] == "refused" and home.records()[-1]["policy"]["decision"] == "deny"
    assert (await gateway.decide(view.id, "approve", BOB)).ok and sum(tool.done.values()) == 1


async def test_local_work_may_be_approved_by_its_requester_among_others(home: Home) -> None:
    two_more(home)
    gateway = home.gateway({"start": heavy()})
    assert (await gateway.decide((await ask(gateway, caller=BOB)).id, "approve", BOB)).ok


async def test_a_second_person_who_arrives_in_between_ends_solo_mode_for_the_waiting_call(home: Home) -> None:
    tool = spending(10)
    gateway = home.gateway({"pay": tool})
    view = await ask(gateway, "pay")
    two_more(home)
    assert not (await gateway.decide(view.id, "approve", OWNER)).ok and not tool.done


def roomy(**approval: Any) -> Policy:
    """The shipped policy with room for large sums."""
    policy = Policy.load()
    budget = policy.limits.budget.model_copy(update={"per_run_usd": "1000", "per_person_day_usd": "1000", "team_month_usd": "1000"})
    wanted = policy.limits.approval.model_copy(update=approval)
    return replace(policy, limits=policy.limits.model_copy(update={"budget": budget, "approval": wanted}))


async def test_above_the_threshold_two_other_people_must_say_yes(home: Home) -> None:
    two_more(home)
    tool = spending(100)
    gateway = home.gateway({"pay": tool}, roomy())
    view = await ask(gateway, "pay")
    assert "2 people other than the requester" in view.reason
    assert not (await gateway.decide(view.id, "approve", OWNER)).ok
    first = await gateway.decide(view.id, "approve", BOB)
    assert first.ok and first.approval.status == "pending" and "1 more" in first.message and not tool.done
    assert not (await gateway.decide(view.id, "approve", BOB)).ok
    assert (await gateway.decide(view.id, "approve", CY)).ok and sum(tool.done.values()) == 1
    assert next(one for one in home.records() if one["kind"] == "intent")["approval"]["approvers"] == ["bob", "cy"]


async def test_alone_above_the_threshold_nothing_can_be_spent(home: Home) -> None:
    tool = spending(100)
    gateway = home.gateway({"pay": tool}, roomy())
    assert not (await gateway.decide((await ask(gateway, "pay")).id, "approve", OWNER)).ok and not tool.done


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"active": False}], ids=["demoted", "switched off"])
async def test_a_yes_of_somebody_who_lost_the_right_since_does_not_count(home: Home, change: dict[str, Any]) -> None:
    two_more(home)
    tool = spending(100)
    gateway = home.gateway({"pay": tool}, roomy())
    view = await ask(gateway, "pay")
    await gateway.decide(view.id, "approve", BOB)
    home.people.set("bob", **change)
    assert (await gateway.decide(view.id, "approve", CY)).approval.status == "pending" and not tool.done


@proves("F18", "an approver loses the role between approval and start",
        "revoked, nothing begins")
async def test_an_approver_demoted_between_the_yes_and_the_start_revokes_it(home: Home) -> None:
    two_more(home)
    tool = spending(10, before=lambda args: home.people.set("bob", role="viewer") if deciding else None)
    deciding: list[int] = []
    gateway = home.gateway({"pay": tool})
    view = await ask(gateway, "pay")
    deciding.append(1)
    decision = await gateway.decide(view.id, "approve", BOB)
    assert not decision.ok and decision.approval.status == "revoked" and not tool.done


@pytest.mark.parametrize("caller", [
    Caller("stranger", "slack"), Caller("viewer", "web"), Caller("member", "web"), Caller("auditor", "web"), Caller("robot", "web"),
    Caller("system", "system"), Caller("owner", "mcp"),
], ids=["a stranger", "a viewer", "a member", "an auditor", "a service account", "the system", "the owner through MCP"])
@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_who_may_not_decide(home: Home, caller: Caller, answer: Literal["approve", "deny"]) -> None:
    home.people.add("viewer", "V", "viewer")
    home.people.add("robot", "R", "service")
    home.people.add("member", "M", "member")
    home.people.add("auditor", "A", "auditor")
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    decision = await gateway.decide(view.id, answer, caller)
    assert not decision.ok and decision.approval.status == "pending" and not tool.done
    assert home.records()[-1]["event"] == "refused" and home.records()[-1]["actor"]["sub"] == caller.person


async def test_local_work_needs_another_where_nobody_may_approve_their_own(home: Home) -> None:
    two_more(home)
    tool = heavy()
    gateway = home.gateway({"start": tool}, roomy(self_approval=False))
    view = await ask(gateway)
    assert not (await gateway.decide(view.id, "approve", OWNER)).ok and not tool.done
    assert (await gateway.decide(view.id, "approve", BOB)).ok


async def test_local_work_with_a_price_needs_another(home: Home) -> None:
    two_more(home)
    tool = spending(10)
    tool.effects = frozenset({Effect.LOCAL})
    gateway = home.gateway({"pay": tool})
    decision = await gateway.decide((await ask(gateway, "pay")).id, "approve", OWNER)
    assert not decision.ok and "self_approval" in decision.message and decision.approval.decided_by == ()


async def test_a_yes_to_one_call_is_none_to_another(home: Home) -> None:
    two_more(home)
    tool = spending(100)
    gateway = home.gateway({"pay": tool}, roomy())
    first, second = await ask(gateway, "pay", name="one"), await ask(gateway, "pay", name="two")
    await gateway.decide(first.id, "approve", BOB)
    assert (await gateway.decide(second.id, "approve", CY)).approval.status == "pending" and not tool.done


async def test_a_no_is_no_yes(home: Home) -> None:
    two_more(home)
    gateway = home.gateway({"start": heavy()})
    view = await ask(gateway)
    await gateway.decide(view.id, "deny", BOB)
    assert home.book.read(lambda conn: standing_yes(conn, kept(home, view.id), Policy.load())) == frozenset()


@pytest.mark.parametrize(("person", "kind"), [("robot", "service"), ("system", "human")])
async def test_a_program_never_decides_whatever_its_row_says(home: Home, person: str, kind: str) -> None:
    row = {"id": person, "name": "X", "role": "owner", "kind": kind, "active": 1, "created_at": "2026"}
    home.book.write(lambda conn: conn.execute(people.insert().values(**row)))
    gateway = home.gateway({"start": heavy()})
    decision = await gateway.decide((await ask(gateway)).id, "approve", Caller(person, "web"))
    assert not decision.ok and decision.approval.status == "pending"


async def test_a_member_takes_back_their_own_request_and_nobody_elses(home: Home) -> None:
    home.people.add("ann", "Ann", "member")
    gateway, ann = home.gateway({"start": heavy()}), Caller("ann", "web")
    mine, others = await ask(gateway, caller=ann), await ask(gateway)
    assert not (await gateway.withdraw(others.id, ann)).ok
    home.people.set("ann", active=False)
    assert not (await gateway.withdraw(mine.id, ann)).ok
    home.people.set("ann", active=True)
    assert (await gateway.withdraw(mine.id, ann)).approval.status == "withdrawn"


async def test_a_broken_glass_counts_for_its_own_approval_its_own_word_and_a_human_owner_alone(home: Home) -> None:
    two_more(home)
    row = {"id": "robot", "name": "R", "role": "owner", "kind": "service", "active": 1, "created_at": "2026"}
    home.book.write(lambda conn: conn.execute(people.insert().values(**row)))
    gateway, glass = home.gateway({"pay": spending(10)}), roomy(break_glass=True)
    first, second = await ask(gateway, "pay", name="one"), await ask(gateway, "pay", name="two")

    def said(approval: str, person: str, answer: str) -> None:
        made = {"approval_id": approval, "person": person, "via": "web", "answer": answer, "at": "2026"}
        home.book.write(lambda conn: conn.execute(decisions.insert().values(**made)))

    def counts(approval: str, policy: Policy) -> frozenset[str]:
        return home.book.read(lambda conn: who_broke_it(conn, kept(home, approval), policy))

    for person in ("owner", "robot", "bob", "ghost"):
        said(first.id, person, "break_glass")
    said(second.id, "owner", "approve")
    assert counts(first.id, glass) == {"owner"}
    assert counts(second.id, glass) == counts(first.id, roomy()) == frozenset()
