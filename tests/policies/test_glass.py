"""Break-glass: an owner alone, with a reason, on the web or at the terminal, only where limits.toml permits it, and loudly."""

from dataclasses import replace
from typing import Any

import pytest

from policies.people import Caller
from policies.policy import Policy
from tests.policies.fakes_tools import heavy, spending
from tests.policies.home import BOB, CY, OWNER, Home, ask, two_more

WHY = "The disk of the lab burns."


def fragile(*, on: bool = True) -> Policy:
    """The shipped policy with room for large sums, and a glass to break."""
    policy = Policy.load()
    budget = policy.limits.budget.model_copy(update={"per_run_usd": "1000", "per_person_day_usd": "1000", "team_month_usd": "1000"})
    wanted = policy.limits.approval.model_copy(update={"break_glass": on})
    return replace(policy, limits=policy.limits.model_copy(update={"budget": budget, "approval": wanted}))


async def test_an_owner_approves_alone_what_needs_two_and_the_record_is_loud(home: Home) -> None:
    two_more(home)
    tool = spending(200)
    gateway = home.gateway({"pay": tool}, fragile())
    view = await ask(gateway, "pay", caller=BOB)
    assert view.quorum == 2
    decision = await gateway.decide(view.id, "break_glass", OWNER, WHY)
    assert decision.ok and "broke the glass" in decision.message and sum(tool.done.values()) == 1
    loud = next(one for one in home.records() if one["event"] == "break_glass")
    assert (loud["kind"], loud["actor"]["sub"]) == ("approval", "owner")
    assert (loud["detail"]["broke_glass"], loud["detail"]["reason"]) == ("owner", WHY)
    intent = next(one for one in home.records() if one["kind"] == "intent")
    assert intent["approval"]["approvers"] == ["owner"] and intent["approval"]["quorum"] == 2 and home.intact()


async def test_it_serves_an_owners_own_request_too(home: Home) -> None:
    two_more(home)
    gateway = home.gateway({"pay": spending(10)}, fragile())
    assert (await gateway.decide((await ask(gateway, "pay")).id, "break_glass", OWNER, WHY)).ok


@pytest.mark.parametrize(("caller", "why", "on", "word"), [
    (OWNER, WHY, False, "switched off"), (OWNER, "", True, "written reason"), (OWNER, "  now ", True, "written reason"),
    (BOB, WHY, True, "Only an owner"), (replace(OWNER, via="slack"), WHY, True, "never in a chat"),
    (replace(OWNER, via="mcp"), WHY, True, "never by a program"), (Caller("system", "system"), WHY, True, "never by a program"),
], ids=["switched off", "no reason", "one word", "an approver", "Slack", "MCP", "the system"])
async def test_who_may_not_break_it(home: Home, caller: Caller, why: str, on: bool, word: str) -> None:
    two_more(home)
    tool = spending(10)
    gateway = home.gateway({"pay": tool}, fragile(on=on))
    decision = await gateway.decide((await ask(gateway, "pay", caller=CY)).id, "break_glass", caller, why)
    assert not decision.ok and word in decision.message and decision.approval.status == "pending" and not tool.done
    assert home.records()[-1]["event"] == "refused"


async def test_there_is_no_glass_around_work_on_this_machine(home: Home) -> None:
    gateway = home.gateway({"start": heavy()}, fragile())
    decision = await gateway.decide((await ask(gateway)).id, "break_glass", OWNER, WHY)
    assert not decision.ok and "no glass" in decision.message


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"active": False}], ids=["demoted", "switched off"])
async def test_a_broken_glass_is_void_when_its_owner_lost_the_right_before_the_start(home: Home, change: dict[str, Any]) -> None:
    two_more(home)
    home.people.add("di", "Di", "owner")
    deciding: list[int] = []
    tool = spending(200, before=lambda args: home.people.set("owner", **change) if deciding else None)
    gateway = home.gateway({"pay": tool}, fragile())
    view = await ask(gateway, "pay", caller=BOB)
    deciding.append(1)
    decision = await gateway.decide(view.id, "break_glass", OWNER, WHY)
    assert not decision.ok and decision.approval.status == "revoked" and not tool.done


async def test_it_opens_neither_a_budget_nor_the_kill_switch(home: Home) -> None:
    two_more(home)
    policy, tool = fragile(), spending(10)
    gateway = home.gateway({"pay": tool}, policy)
    view = await ask(gateway, "pay", caller=BOB)
    budget = policy.limits.budget.model_copy(update={"spending": False})
    off = home.gateway({"pay": tool}, replace(policy, limits=policy.limits.model_copy(update={"budget": budget})))
    decision = await off.decide(view.id, "break_glass", OWNER, WHY)
    assert not decision.ok and "switched off" in decision.message and not tool.done
