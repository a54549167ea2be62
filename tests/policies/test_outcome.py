"""What became of a call: completed after a crash, once, by what its tool remembers."""

import asyncio
import threading
from typing import Any

import pytest

from policies import ledger as money
from policies.limits import MICROS
from policies.outcome import Settled
from policies.tables import ledger
from policies.tool import Recall, Result, ToolFailed
from tests.policies.fakes_tools import FakeArgs, FakeTool, heavy, spending
from tests.policies.home import OWNER, Home, ask, kept


async def crash(home: Home, tool: FakeTool, *, finishes: bool) -> str:
    """Approve a call and kill its gateway while the tool is at work, so that no outcome is written; returns the approval.

    `finishes`: whether the tool, which goes on in its thread as a detached run would, comes to its end.
    """
    started, free = threading.Event(), threading.Event()

    def deed(args: FakeArgs, call: Any) -> dict[str, Any]:
        started.set()
        free.wait(30)
        return {"survived": True}

    tool.deed = deed
    gateway = home.gateway({"start": tool})
    view = await ask(gateway, name="a")
    deciding = asyncio.create_task(gateway.decide(view.id, "approve", OWNER))
    await asyncio.to_thread(started.wait, 30)
    for task in (*gateway._tasks, deciding):
        task.cancel()
    await asyncio.gather(deciding, *gateway._tasks, return_exceptions=True)
    if finishes:
        free.set()
        await asyncio.to_thread(tool.ended.wait, 30)
    return view.id


@pytest.mark.parametrize(("finishes", "outcome"), [(False, "not_started"), (True, "ok")], ids=["the tool knows of nothing", "it is done"])
async def test_killed_between_consumption_and_outcome_the_record_is_completed_by_the_tools_memory(
    home: Home, finishes: bool, outcome: str,
) -> None:
    tool = heavy()
    approval = await crash(home, tool, finishes=finishes)
    assert kept(home, approval).state == "consumed" and not home.intact()
    gateway = home.gateway({"start": tool})
    await gateway.recover()
    await gateway.recover()
    assert home.story(kept(home, approval).call_id)[-1] == f"outcome {outcome}" and home.intact()
    found = gateway.approval(approval)
    assert found is not None and found.outcome.startswith(outcome.replace("_", " ")) and sum(tool.done.values()) == 1
    assert not (await gateway.decide(approval, "approve", OWNER)).ok


async def test_a_call_still_at_work_is_left_until_its_tool_knows_the_end(home: Home) -> None:
    tool = heavy()
    approval = await crash(home, tool, finishes=False)
    call_id = kept(home, approval).call_id
    tool.remembers[call_id] = Recall.RUNNING
    gateway = home.gateway({"start": tool})
    await gateway.recover()
    assert home.story(call_id)[-1] == "intent approved"
    tool.remembers[call_id] = Result({"late": True})
    await gateway.recover()
    assert home.story(call_id)[-1] == "outcome ok" and home.intact()


async def test_a_tool_that_remembers_nothing_or_is_gone_leaves_an_unknown_outcome(home: Home) -> None:
    tool = heavy()
    approval = await crash(home, tool, finishes=False)
    await home.gateway({}).recover()
    assert home.story(kept(home, approval).call_id)[-1] == "outcome unknown" and home.intact()


async def test_a_repeat_after_a_crash_completes_the_record_too(home: Home) -> None:
    tool = heavy()
    approval = await crash(home, tool, finishes=False)
    row = home.book.read(lambda conn: conn.exec_driver_sql("SELECT key FROM calls").one())
    answer = await home.gateway({"start": tool}).call("start", {"name": "a"}, OWNER, row.key)
    assert answer.status == "failed" and answer.call_id == kept(home, approval).call_id and home.intact()


async def test_an_approved_call_that_never_began_is_started_after_a_crash_while_its_yes_is_good(home: Home) -> None:
    tool = heavy()
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    home.book.write(lambda conn: gateway._approvals.decide(conn, view.id, "approve", OWNER, "", home.clock()))
    await home.gateway({"start": tool}).recover()
    assert sum(tool.done.values()) == 1 and kept(home, view.id).outcome == "ok" and home.intact()


async def test_a_waiting_approval_survives_a_restart(home: Home) -> None:
    tool = heavy()
    view = await ask(home.gateway({"start": tool}))
    later = home.gateway({"start": tool})
    assert later.pending() == (view,)
    assert (await later.decide(view.id, "approve", OWNER)).ok and sum(tool.done.values()) == 1


async def test_a_failed_spending_call_gives_the_money_back_and_an_unclear_one_keeps_it(home: Home) -> None:
    def reserved() -> int:
        rows = home.book.read(lambda conn: conn.execute(ledger.select()).all())
        return sum(row.micros if row.kind == "reserve" else -row.micros for row in rows)

    def deed(args: FakeArgs, call: Any) -> dict[str, Any]:
        raise (ToolFailed("Start", "no quota.", "Ask for it.") if args.name == "no" else RuntimeError("who knows"))

    gateway = home.gateway({"pay": spending(10, deed=deed)})
    await gateway.decide((await ask(gateway, "pay", name="no")).id, "approve", OWNER)
    assert reserved() == 0
    await gateway.decide((await ask(gateway, "pay", name="bug")).id, "approve", OWNER)
    assert reserved() == 10_000_000


# ── money after the effect ───────────────────────────────────────────────────────────────────────────────────────────


async def paid(home: Home, deed: Any = None) -> tuple[Any, str]:
    """A gateway, and the id of a ten-dollar call that was approved and begun."""
    gateway = home.gateway({"pay": spending(10, **({"deed": deed} if deed else {}))})
    decision = await gateway.decide((await ask(gateway, "pay")).id, "approve", OWNER)
    assert decision.answer is not None
    return gateway, decision.answer.call_id


def used(home: Home) -> tuple[int, int]:
    """What is reserved and settled, in dollars."""
    found = home.book.read(money.used)
    return found.reserved // MICROS, found.settled // MICROS


async def test_the_bill_is_settled_once_and_the_rest_is_free(home: Home) -> None:
    gateway, call_id = await paid(home)
    assert used(home) == (10, 0)
    assert await gateway.settle_spend(call_id, 4 * MICROS, "bill") == Settled(4 * MICROS, 6 * MICROS, 0)
    again = await gateway.settle_spend(call_id, 9 * MICROS, "bill")
    assert again.again and used(home) == (0, 4)
    last = home.records()[-1]
    assert (last["event"], last["cost"]["reserved"], last["cost"]["actual"]) == ("settled", 10 * MICROS, 4 * MICROS) and home.intact()


async def test_a_bill_above_the_reservation_counts_and_is_an_alarm(home: Home) -> None:
    gateway, call_id = await paid(home)
    assert (await gateway.settle_spend(call_id, 13 * MICROS, "bill")).overrun == 3 * MICROS
    assert used(home) == (0, 13)
    assert (home.records()[-1]["event"], home.records()[-1]["detail"]) == ("overrun", {"over_micros": 3 * MICROS})
    with pytest.raises(ToolFailed):
        await gateway.settle_spend("nobody's", 1, "bill")


async def test_the_money_of_what_provably_never_began_is_free_after_its_lease(home: Home) -> None:
    tool = spending(10)
    await crash(home, tool, finishes=False)
    gateway = home.gateway({"start": tool})
    home.clock.forward(seconds=90)
    await gateway.recover()
    assert used(home) == (10, 0) and home.intact()
    home.clock.forward(seconds=29)
    await gateway.sweep()
    assert used(home) == (10, 0)
    home.clock.forward(seconds=1)
    await gateway.sweep()
    assert used(home) == (0, 0) and home.records()[-1]["event"] == "released"


async def test_the_money_of_an_unclear_call_stays_until_its_tool_can_prove_that_nothing_began(home: Home) -> None:
    def deed(args: FakeArgs, call: Any) -> dict[str, Any]:
        raise RuntimeError("who knows")

    gateway, call_id = await paid(home, deed)
    tool = gateway.tools["pay"]
    tool.remembers[call_id] = Recall.UNKNOWN
    home.clock.forward(hours=1)
    await gateway.sweep()
    assert used(home) == (10, 0)
    tool.remembers[call_id] = Result({"run_id": "0123456789"})
    await gateway.sweep()
    assert used(home) == (10, 0)
    tool.remembers[call_id] = Recall.NOT_STARTED
    await gateway.sweep()
    assert used(home) == (0, 0)


async def test_a_sweep_completes_what_a_crash_left_open(home: Home) -> None:
    tool = heavy()
    approval = await crash(home, tool, finishes=False)
    tool.remembers[kept(home, approval).call_id] = Recall.RUNNING
    gateway = home.gateway({"start": tool})
    await gateway.recover()
    tool.remembers[kept(home, approval).call_id] = Result({"late": True})
    await gateway.sweep()
    assert home.story(kept(home, approval).call_id)[-1] == "outcome ok" and home.intact()


async def test_a_sweep_leaves_a_call_that_is_at_work_alone(home: Home) -> None:
    started, free = threading.Event(), threading.Event()
    tool = heavy(deed=lambda args, call: started.set() or {"waited": free.wait(30)})
    gateway = home.gateway({"start": tool})
    deciding = asyncio.create_task(gateway.decide((await ask(gateway)).id, "approve", OWNER))
    await asyncio.to_thread(started.wait, 30)
    await gateway.sweep()
    free.set()
    assert (await deciding).approval.outcome == "ok" and home.intact()
