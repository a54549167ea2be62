"""What a yes covers: judged again, proposed again, consumed once, or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from policies.policy import SHIPPED, Policy
from policies.proposal import Cost, Effect, Unpriced
from policies.tables import approvals, ledger
from policies.tool import ToolFailed
from tests.faults.proof import proves
from tests.policies.fakes_tools import FakeArgs, FakeTool, heavy, spending
from tests.policies.home import OWNER, Home, ask, kept


def swap(**changes: Any) -> Callable[[FakeTool], None]:
    """Change what the tool will propose from now on."""
    def change(tool: FakeTool) -> None:
        for name, value in changes.items():
            setattr(tool, name, value)
    return change


@pytest.mark.parametrize(("change", "word"), [
    pytest.param(swap(cost=Cost(0, 10_000_001)), "ceiling", id="the ceiling rose by one micro"),
    pytest.param(swap(cost=Unpriced("list is old")), "cost", id="the price is gone"),
    pytest.param(swap(effects=frozenset({Effect.SPEND, Effect.EXPOSE})), "effects", id="an effect more"),
    pytest.param(swap(stop_rules=()), "stop rules", id="a stop rule less"),
    pytest.param(swap(plan={"dataset": {"digest": "bb"}}), "dataset digest", id="the data changed"),
    pytest.param(swap(owner="owner"), "owner", id="the owner changed"),
])
@proves("F33", "the price rises between approval and start",
        "a ceiling above the approved one is refused, the yes is void and unused; ask again")
async def test_a_yes_is_void_when_what_it_covered_has_changed(home: Home, change: Callable[[FakeTool], None], word: str) -> None:
    tool = spending(10, stop_rules=("Ends after 2 h.",), plan={"dataset": {"digest": "aa"}, "seconds": 10})
    gateway = home.gateway({"pay": tool})
    view = await ask(gateway, "pay")
    change(tool)
    decision = await gateway.decide(view.id, "approve", OWNER)
    assert not decision.ok and word in decision.message and decision.approval.status == "revoked" and not tool.done


async def test_a_lower_price_and_another_estimate_are_still_covered_and_the_approved_ceiling_is_reserved(home: Home) -> None:
    tool = spending(10, plan={"seconds": 10})
    gateway = home.gateway({"pay": tool})
    view = await ask(gateway, "pay")
    swap(cost=Cost(0, 9_000_000), plan={"seconds": 12})(tool)
    assert (await gateway.decide(view.id, "approve", OWNER)).ok
    rows = home.book.read(lambda conn: conn.execute(ledger.select()).all())
    assert [(row.kind, row.micros) for row in rows] == [("reserve", 10_000_000)]


async def test_a_tool_that_cannot_do_it_now_leaves_the_yes_unused_until_it_runs_out(home: Home) -> None:
    broken: list[int] = []

    def before(args: FakeArgs) -> None:
        if broken:
            raise ToolFailed("Start a", "the disk is full.", "Make room.")

    tool = heavy(before=before)
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    broken.append(1)
    decision = await gateway.decide(view.id, "approve", OWNER)
    assert not decision.ok and decision.message == "Approved, but not started. Start a: the disk is full. Make room."
    assert decision.approval.status == "approved" and not tool.done
    broken.clear()
    home.clock.forward(minutes=9)
    assert (await gateway.decide(view.id, "approve", OWNER)).ok and sum(tool.done.values()) == 1


async def test_an_unused_yes_runs_out_after_ten_minutes(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    swap(before=lambda args: 1 / 0)(tool)
    await gateway.decide(view.id, "approve", OWNER)
    home.clock.forward(minutes=10)
    swap(before=lambda args: None)(tool)
    assert not (await gateway.decide(view.id, "approve", OWNER)).ok
    await gateway.sweep()
    assert kept(home, view.id).state == "expired" and not tool.done


async def test_an_unused_yes_can_be_revoked(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    swap(before=lambda args: 1 / 0)(tool)
    await gateway.decide(view.id, "approve", OWNER)
    assert (await gateway.withdraw(view.id, OWNER)).approval.status == "revoked"


@proves("F16", "another run reaches the budget between approval and start",
        "refused for the budget; the yes is kept, unused")
async def test_a_budget_that_another_run_used_up_meanwhile_refuses_and_keeps_the_yes(home: Home) -> None:
    tool = spending(40)
    gateway = home.gateway({"pay": tool})
    views = [await ask(gateway, "pay", name=name) for name in "abc"]
    decisions = [await gateway.decide(view.id, "approve", OWNER) for view in views]
    assert [decision.ok for decision in decisions] == [True, True, False] and sum(tool.done.values()) == 2
    assert decisions[2].approval.status == "approved" and "20.00 USD" in decisions[2].message
    assert home.intact()


@pytest.mark.parametrize("column", ["args_json", "proposal_json", "requester"])
async def test_a_row_that_was_edited_in_the_book_is_not_what_was_approved(home: Home, column: str) -> None:
    home.people.add("bob", "Bob", "owner")
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway, steps=2)
    text = getattr(kept(home, view.id), column)
    wrong = {"args_json": text.replace('"steps": 2', '"steps": 20'), "proposal_json": text.replace("this machine", "elsewhere"),
             "requester": "bob"}[column]
    home.book.write(lambda conn: conn.execute(approvals.update().values({column: wrong})))
    decision = await gateway.decide(view.id, "approve", OWNER)
    assert not decision.ok and decision.approval.status == "revoked" and not tool.done


async def test_a_new_version_of_the_tool_needs_a_new_yes(home: Home) -> None:
    class Newer(FakeTool):
        version: ClassVar[str] = "2"

    view = await ask(home.gateway({"start": heavy()}))
    decision = await home.gateway({"start": Newer(effects=frozenset({Effect.LOCAL}))}).decide(view.id, "approve", OWNER)
    assert not decision.ok and decision.approval.status == "revoked"


def own_policy(tmp_path: Path) -> Path:
    """A copy of the shipped policy, to be changed."""
    folder = tmp_path / "policy"
    shutil.copytree(SHIPPED / "rules", folder / "rules")
    shutil.copyfile(SHIPPED / "limits.toml", folder / "limits.toml")
    return folder


@proves("F17", "the policy changes between approval and start",
        "what waits is revoked; ask anew")
async def test_another_policy_at_the_next_start_voids_what_waits(home: Home, tmp_path: Path) -> None:
    folder = own_policy(tmp_path)
    view = await ask(home.gateway({"start": heavy()}, Policy.load(folder)))
    with (folder / "limits.toml").open("a") as limits:
        limits.write("# another word\n")
    gateway = home.gateway({"start": heavy()}, Policy.load(folder))
    found = gateway.approval(view.id)
    assert found is not None and found.status == "revoked"


@proves("F17", "the policy changes between approval and start",
        "what waits is revoked; ask anew")
async def test_a_policy_edited_while_the_program_runs_raises_the_alarm_and_voids_what_waits(home: Home, tmp_path: Path) -> None:
    folder = own_policy(tmp_path)
    tool = heavy()
    gateway = home.gateway({"start": tool}, Policy.load(folder))
    view = await ask(gateway)
    before = (folder / "rules" / "local.cedar").read_text()
    (folder / "rules" / "local.cedar").write_text(before + "\n// looser\n")
    assert not (await gateway.decide(view.id, "approve", OWNER)).ok
    found = gateway.approval(view.id)
    assert found is not None and found.status == "revoked" and "changed meanwhile" in gateway.alarm and not tool.done
    assert (await gateway.call("start", {}, OWNER)).status == "refused"
    assert [one["event"] for one in home.records() if one["kind"] == "policy"] == ["loaded", "changed_on_disk"]
    (folder / "rules" / "local.cedar").write_text(before)
    assert (await gateway.call("start", {}, OWNER)).status == "waiting" and gateway.alarm == ""


async def test_the_record_of_an_approval_names_everything_it_binds(home: Home) -> None:
    gateway = home.gateway({"pay": spending(10)})
    view = await ask(gateway, "pay")
    await gateway.decide(view.id, "approve", OWNER)
    intent = next(one for one in home.records() if one["kind"] == "intent")
    assert intent["approval"] == {"id": view.id, "approvers": ["owner"], "expiry": "2026-11-24T12:10:00.000000Z", "quorum": 1}
    assert intent["cost"] == {"currency": "USD", "estimate": 5_000_000, "reserved": 10_000_000, "actual": None,
                              "price_source": "price list", "price_date": "2026-11-01"}
    assert intent["action_digest"][:8] == view.digest and intent["policy"]["hash"] == gateway.policy.hash
    assert intent["actor"] == {"sub": "owner", "via": "cli", "auth": "peer uid", "session": None, "ip_class": "local"}
    assert json.loads(kept(home, view.id).args_json) == {"name": "one", "steps": 1, "rate": 0.1, "note": ""}
