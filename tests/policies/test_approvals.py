"""Approvals from the question to the one effect, and the other ways they end."""

import asyncio

import pytest

from policies.people import Caller
from policies.tool import ToolFailed
from tests.policies.fakes_tools import FakeTool, heavy, spending
from tests.policies.home import BOB, CY, OWNER, Home, ask, kept, two_more


async def test_a_heavy_call_waits_and_is_performed_once_after_a_yes(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway, name="a")
    assert not tool.done and gateway.pending("terminal") == (view,) and gateway.pending("elsewhere") == ()
    decision = await gateway.decide(view.id, "approve", OWNER)
    assert decision.ok and decision.answer is not None and decision.answer.status == "done"
    assert (decision.approval.status, decision.approval.decided_by, decision.approval.outcome) == ("consumed", ("owner",), "ok")
    assert list(tool.done.values()) == [1] and gateway.pending() == ()
    assert home.story(decision.answer.call_id) == [
        "approval requested", "approval granted", "approval consumed", "intent approved", "outcome ok"]
    assert home.intact()


async def test_a_waiting_approval_writes_the_whole_question_down(home: Home) -> None:
    view = await ask(home.gateway({"start": heavy(stop_rules=("Ends after 2 h.",), plan={"steps": 60, "why": ["a", 1.5]})}), name="a")
    assert (view.tool, view.requester, view.thread, view.target, view.where) == ("start", "owner", "terminal", "thing:a", "this machine")
    assert view.effects == ("LOCAL",) and view.ceiling == "0.00" and view.reason == "It takes this machine for a while."
    assert view.lines == (("Name", "a"), ("Note", ""), ("Exact arguments", '{"name": "a", "note": "", "rate": 0.1, "steps": 1}'))
    assert view.stop_rules == ("Ends after 2 h.",) and view.plan == {"steps": 60, "why": ["a", 1.5]}
    assert len(view.digest) == 8 and view.expires_at == "2026-12-01T12:00:00.000000Z"


async def test_approving_twice_performs_once(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    assert (await gateway.decide(view.id, "approve", OWNER)).ok
    again = await gateway.decide(view.id, "approve", OWNER)
    assert not again.ok and again.message == "Already approved and performed by owner." and list(tool.done.values()) == [1]


async def test_many_deciders_at_once_on_two_faces_perform_once(home: Home) -> None:
    two_more(home)
    tool = heavy()
    first, second = home.gateway({"start": tool}), home.gateway({"start": tool})
    view = await ask(first)
    decisions = await asyncio.gather(*(
        gateway.decide(view.id, "approve", caller) for gateway in (first, second) for caller in (OWNER, BOB, CY)))
    assert [decision.answer is not None for decision in decisions].count(True) == 1
    assert list(tool.done.values()) == [1] and home.intact()


async def test_a_yes_and_a_no_at_once_have_one_winner(home: Home) -> None:
    two_more(home)
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    yes, no = await asyncio.gather(gateway.decide(view.id, "approve", OWNER), gateway.decide(view.id, "deny", BOB))
    assert [yes.ok, no.ok].count(True) == 1 and sum(tool.done.values()) == int(yes.ok)


async def test_a_repeat_of_the_call_gets_the_waiting_approval_and_then_the_answer(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    first = await gateway.call("start", {"name": "a"}, OWNER, "k")
    again = await gateway.call("start", {"name": "a"}, OWNER, "k")
    assert first == again and first.approval is not None and len(gateway.pending()) == 1
    await gateway.decide(first.approval.id, "approve", OWNER)
    assert (await gateway.call("start", {"name": "a"}, OWNER, "k")).status == "done" and list(tool.done.values()) == [1]


async def test_an_edit_is_a_new_proposal(home: Home) -> None:
    gateway = home.gateway({"start": heavy()})
    first, second = await ask(gateway, name="a", steps=2), await ask(gateway, name="b", steps=20)
    assert first.id != second.id and first.digest != second.digest


async def test_every_face_hears_of_every_change(home: Home) -> None:
    gateway = home.gateway({"start": heavy()})
    view = await ask(gateway)
    await gateway.decide(view.id, "approve", OWNER)
    assert [(one.status, one.outcome, answer is not None) for one, answer in home.heard] == [
        ("pending", "", False), ("approved", "", False), ("consumed", "running", False), ("consumed", "ok", True)]


async def test_a_cancelled_decider_cuts_nothing(home: Home) -> None:
    gateway = home.gateway({"start": heavy()})
    view = await ask(gateway)
    deciding = asyncio.create_task(gateway.decide(view.id, "approve", OWNER))
    await asyncio.sleep(0)
    deciding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deciding
    await gateway.settle()
    assert kept(home, view.id).outcome == "ok" and home.intact()


async def test_the_card_shows_odd_characters_and_cuts_long_values(home: Home) -> None:
    view = await ask(home.gateway({"start": heavy()}), name="a\u202eb", note="x\u200b" + "y" * 1000)
    lines = dict(view.lines)
    assert lines["Name"] == "a\\u{202e}b" and lines["Note"].startswith("x\\u{200b}yyy")
    assert "(1002 characters, SHA-256 " in lines["Note"] and "\u202e" not in str(view.lines) + view.target


async def test_a_denied_call_is_answered_as_refused_and_never_done(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    first = await gateway.call("start", {}, OWNER, "k")
    assert first.approval is not None
    decision = await gateway.decide(first.approval.id, "deny", OWNER, "not today")
    assert decision.ok and (decision.approval.status, decision.approval.why) == ("denied", "not today")
    again = await gateway.call("start", {}, OWNER, "k")
    assert (again.status, again.reason) == ("refused", f"The approval {first.approval.id} was denied by owner: not today")
    assert not (await gateway.decide(first.approval.id, "approve", OWNER)).ok and not tool.done


async def test_two_denials_within_ten_minutes_tell_the_requester_to_stop_and_raise_an_alarm(home: Home) -> None:
    gateway = home.gateway({"start": heavy()})
    first = await gateway.decide((await ask(gateway, name="a")).id, "deny", OWNER)
    home.clock.forward(minutes=9)
    second = await gateway.decide((await ask(gateway, name="b")).id, "deny", OWNER)
    assert first.message == "Denied." and "should stop asking" in second.message
    assert [one["kind"] for one in home.records() if one["event"] == "denied_repeatedly"] == ["admin"]


@pytest.mark.parametrize(("tool", "hours"), [(heavy(), 168), (spending(), 24)], ids=["local work", "money"])
async def test_a_yes_one_second_after_the_expiry_does_nothing(home: Home, tool: FakeTool, hours: int) -> None:
    gateway = home.gateway({"start": tool})
    early, late = await ask(gateway, name="a"), await ask(gateway, name="b")
    home.clock.forward(hours=hours, seconds=-1)
    assert (await gateway.decide(early.id, "approve", OWNER)).ok
    home.clock.forward(seconds=2)
    decision = await gateway.decide(late.id, "approve", OWNER)
    assert not decision.ok and decision.approval.status == "expired" and sum(tool.done.values()) == 1


async def test_the_sweeper_closes_what_nobody_decided(home: Home) -> None:
    gateway = home.gateway({"start": heavy()})
    view = await ask(gateway)
    home.clock.forward(days=7)
    assert gateway.pending() == ()
    await gateway.sweep()
    found = gateway.approval(view.id)
    assert found is not None and found.status == "expired" and home.heard[-1][0].status == "expired"


@pytest.mark.parametrize("who", [OWNER, BOB], ids=["the requester", "an approver"])
async def test_a_waiting_call_can_be_taken_back(home: Home, who: Caller) -> None:
    two_more(home)
    gateway = home.gateway({"start": heavy()})
    view = await ask(gateway)
    assert (await gateway.withdraw(view.id, who)).approval.status == "withdrawn"
    assert not (await gateway.withdraw(view.id, who)).ok and not (await gateway.decide(view.id, "approve", OWNER)).ok


async def test_at_most_five_wait_for_one_person(home: Home) -> None:
    gateway = home.gateway({"start": heavy()})
    for number in range(5):
        await ask(gateway, name=f"n{number}")
    answer = await gateway.call("start", {"name": "n5"}, OWNER)
    assert answer.status == "refused" and "at most 5" in answer.reason and "withdraw" in answer.remedy
    assert len(gateway.pending()) == 5
    await ask(gateway, name="n4", steps=2)  # it takes the place of the older one
    two_more(home)
    await ask(gateway, caller=BOB, name="n9")


async def test_a_newer_proposal_for_the_same_name_takes_the_place_of_the_older(home: Home) -> None:
    gateway = home.gateway({"start": heavy(), "other": heavy()})
    old, beside, apart = await ask(gateway, name="a"), await ask(gateway, name="b"), await ask(gateway, "other", name="a")
    new = await ask(gateway, name="a", steps=2)
    found = gateway.approval(old.id)
    assert found is not None and found.status == "superseded" and found.why == f"Replaced by {new.id}."
    assert {view.id for view in gateway.pending()} == {beside.id, apart.id, new.id}
    assert not (await gateway.decide(old.id, "approve", OWNER)).ok


async def test_nobody_supersedes_another_persons_proposal(home: Home) -> None:
    two_more(home)
    gateway = home.gateway({"start": heavy()})
    mine = await ask(gateway, name="a")
    await ask(gateway, caller=BOB, name="a")
    assert mine.id in [view.id for view in gateway.pending()]


async def test_an_approval_that_does_not_exist_is_an_error_that_shows_odd_ids_plainly(home: Home) -> None:
    gateway = home.gateway({})
    for what in (gateway.decide("\u202enone", "approve", OWNER), gateway.withdraw("\u202enone", OWNER)):
        with pytest.raises(ToolFailed, match="no approval has this id") as failed:
            await what
        assert "\u202e" not in str(failed.value)


# ── several at once ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_decides_each_by_itself_and_lists_every_digest(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    views = [await ask(gateway, name=name) for name in "abc"]
    await gateway.withdraw(views[1].id, OWNER)
    decisions = await gateway.decide_many([*(view.id for view in views), views[0].id], "approve", OWNER)
    assert [one.ok for one in decisions] == [True, False, True] and sum(tool.done.values()) == 2
    digests = [kept(home, view.id).digest for view in views]
    assert all(digest in one.message for digest, one in zip(digests, decisions, strict=True))
    batch = next(one for one in home.records() if one["event"] == "batch")
    assert batch["detail"] == {"answer": "approve", "approvals": [view.id for view in views], "digests": digests} and home.intact()


async def test_a_batch_with_an_unknown_id_or_too_many_decides_nothing(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    for ids in ([view.id, "none"], [], [f"{n}" for n in range(51)]):
        with pytest.raises(ToolFailed):
            await gateway.decide_many(ids, "approve", OWNER)
    assert not tool.done and len(gateway.pending()) == 1


async def test_the_record_of_a_yes_says_how_long_it_was_thought_about(home: Home) -> None:
    gateway = home.gateway({"start": heavy()})
    view = await ask(gateway)
    home.clock.forward(seconds=1.5)
    await gateway.decide(view.id, "approve", OWNER)
    assert next(one for one in home.records() if one["event"] == "granted")["detail"] == {"waited_ms": 1500, "yes": 1}


async def test_the_card_names_place_hardware_longest_time_and_what_leaves(home: Home) -> None:
    two_more(home)
    tool = spending(10, sku="Consumption-GPU-NC8as-T4", max_minutes=90, leaves="the rows of helpdesk")
    view = await ask(home.gateway({"pay": tool}), "pay")
    lines = dict(view.lines)
    assert (lines["Region"], lines["Hardware"], lines["Longest time"]) == ("eastus", "Consumption-GPU-NC8as-T4", "1 h 30 min")
    assert lines["Leaves this machine"] == "the rows of helpdesk" and (view.quorum, view.yes) == (1, 0)
