"""Standing orders: written with the yes, aimed by the outcome, carried out by Luthier itself, over when their target is."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from policies.people import SYSTEM, Caller
from policies.proposal import Effect, Order, Proposal, Trait
from policies.tables import standing_orders
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tests.policies.fakes_tools import FakeTool, heavy, spending
from tests.policies.home import OWNER, Home, ask

DEADLINE = Order("deadline", "stop after 2 h, keeping the last checkpoint", "stop", "run_id", due_s=7200)
SILENCE = Order("silence", "stop when its heartbeat is silent for 10 min", "stop", "run_id")
LUTHIER = Caller(SYSTEM, "system")


class StopArgs(ToolArgs):
    """The one argument of a stop."""

    run_id: str


@dataclass
class Stop:
    """Stops a run; the test says what it finds."""

    evidence: tuple[str, ...] = ()
    ended: set[str] = field(default_factory=set)
    stopped: list[tuple[str, str]] = field(default_factory=list)
    effects: frozenset[Effect] = frozenset({Effect.LOCAL})

    name: ClassVar[str] = "stop"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Stops."
    Args: ClassVar[type[ToolArgs]] = StopArgs

    def propose(self, args: StopArgs, /) -> Proposal:
        """The stop of one run of the owner's."""
        if args.run_id == "unknown":
            raise ToolFailed("Stop", "there is no such run.", "List them.")
        return Proposal(self.effects, f"run:{args.run_id}", owner="owner", traits=frozenset({Trait.STOPS}), evidence=self.evidence,
                        plan={"ended": args.run_id in self.ended})

    def perform(self, args: StopArgs, call: Call, /) -> Result:
        """Stop it."""
        self.stopped.append((args.run_id, call.person))
        return Result({"run_id": args.run_id, "stopping": args.run_id not in self.ended})

    def recall(self, call_id: str, /) -> Result | Recall:
        """It may be asked for again."""
        return Recall.NOT_STARTED


def rows(home: Home) -> list[Any]:
    """Every standing order of the book."""
    return home.book.read(lambda conn: list(conn.execute(select(standing_orders).order_by(standing_orders.c.id))))


async def begun(home: Home, stop: Stop, *orders: Order, tool: FakeTool | None = None, name: str = "a") -> Any:
    """A gateway, and a run that was approved with these orders and has begun."""
    tool = tool or heavy(orders=orders or (DEADLINE,))
    gateway = home.gateway({"start": tool, "stop": stop})
    decision = await gateway.decide((await ask(gateway, name=name)).id, "approve", OWNER)
    assert decision.ok, decision
    return gateway


async def test_the_card_shows_the_orders_after_the_tools_own_rules_and_the_digest_covers_them(home: Home) -> None:
    gateway = home.gateway({"start": heavy(orders=(DEADLINE,), stop_rules=("Keeps by itself.",)), "other": heavy()})
    view, bare = await ask(gateway), await ask(gateway, "other")
    assert view.stop_rules == ("Keeps by itself.", DEADLINE.text) and view.digest != bare.digest


async def test_orders_are_rows_only_from_the_consumption_on(home: Home) -> None:
    gateway = home.gateway({"start": heavy(orders=(DEADLINE, SILENCE))})
    view = await ask(gateway)
    assert rows(home) == []
    await gateway.decide(view.id, "approve", OWNER)
    first, second = rows(home)
    assert (first.approval_id, first.tool, first.target, first.kind) == (view.id, "stop", "0123456789", "deadline")
    assert first.due_at == "2026-11-24T14:00:00.000000Z" and (second.kind, second.due_at) == ("silence", None)


async def test_a_changed_order_voids_the_yes(home: Home) -> None:
    tool = heavy(orders=(DEADLINE,))
    gateway = home.gateway({"start": tool})
    view = await ask(gateway)
    tool.orders = (Order("deadline", DEADLINE.text, "stop", "run_id", due_s=999_999),)
    decision = await gateway.decide(view.id, "approve", OWNER)
    assert not decision.ok and "its orders" in decision.message and rows(home) == []


async def test_a_run_past_its_deadline_is_stopped_by_luthier_itself_and_that_is_on_record(home: Home) -> None:
    stop = Stop()
    gateway = await begun(home, stop)
    home.clock.forward(hours=1, minutes=59)
    await gateway.sweep()
    assert stop.stopped == []
    home.clock.forward(minutes=1)
    await gateway.sweep()
    assert stop.stopped == [("0123456789", SYSTEM)] and home.intact()
    last = [one for one in home.records() if one["kind"] == "intent"][-1]
    assert (last["actor"]["sub"], last["actor"]["via"], last["policy"]["rules"]) == (SYSTEM, "system", ["system-standing-order"])


async def test_a_stop_is_repeated_until_its_tool_says_that_the_target_has_ended(home: Home) -> None:
    stop = Stop()
    gateway = await begun(home, stop)
    home.clock.forward(hours=2)
    for _ in range(3):
        await gateway.stop_due()
    assert len(stop.stopped) == 3
    stop.ended.add("0123456789")
    assert await gateway.stop_due() == [] and await gateway.stop_due() == []
    assert rows(home)[0].ended_at is not None and len(stop.stopped) == 3


async def test_a_stop_that_finds_its_target_ended_ends_the_order(home: Home) -> None:
    stop = Stop()
    gateway = await begun(home, stop)
    stop.ended.add("0123456789")
    assert (await gateway.call("stop", {"run_id": "0123456789"}, OWNER)).result["stopping"] is False
    await gateway.stop_due()
    assert rows(home)[0].ended_at is not None


@pytest.mark.parametrize(("evidence", "times"), [((), 0), (("no_start",), 0), (("silence",), 1)], ids=["none", "another", "its own"])
async def test_an_order_without_a_time_is_due_when_the_stop_itself_brings_the_evidence(
    home: Home, evidence: tuple[str, ...], times: int,
) -> None:
    stop = Stop(evidence=evidence)
    gateway = await begun(home, stop, SILENCE)
    home.clock.forward(days=3)
    before = len(home.records())
    await gateway.stop_due()
    assert len(stop.stopped) == times
    assert times or len(home.records()) == before, "looking leaves no record"


async def test_evidence_does_not_hasten_an_order_that_has_a_time(home: Home) -> None:
    stop = Stop(evidence=("deadline",))
    await (await begun(home, stop)).stop_due()
    assert stop.stopped == []


async def test_luthier_itself_may_stop_nothing_else(home: Home) -> None:
    stop = Stop()
    gateway = await begun(home, stop)
    early = await gateway.call("stop", {"run_id": "0123456789"}, LUTHIER)
    home.clock.forward(hours=3)
    other = await gateway.call("stop", {"run_id": "another000"}, LUTHIER)
    beyond = await gateway.call("start", {"name": "b"}, LUTHIER)
    assert [one.status for one in (early, other, beyond)] == ["refused"] * 3 and stop.stopped == []
    assert (await gateway.call("stop", {"run_id": "0123456789"}, LUTHIER)).status == "done"


async def test_an_order_names_the_tool_that_may_stop(home: Home) -> None:
    stop, erase = Stop(), Stop(effects=frozenset({Effect.DESTROY}))
    tool = heavy(orders=(DEADLINE,))
    gateway = home.gateway({"start": tool, "stop": stop, "erase": erase, "other": stop})
    await gateway.decide((await ask(gateway)).id, "approve", OWNER)
    home.clock.forward(hours=3)
    for name in ("erase", "other"):
        assert (await gateway.call(name, {"run_id": "0123456789"}, LUTHIER)).status == "refused"
    stop.effects = frozenset({Effect.LOCAL, Effect.DESTROY})
    assert (await gateway.call("stop", {"run_id": "0123456789"}, LUTHIER)).status == "refused" and not stop.stopped + erase.stopped


async def test_a_person_does_not_become_luthier_by_its_name(home: Home) -> None:
    stop = Stop()
    gateway = await begun(home, stop)
    home.clock.forward(hours=3)
    for caller in (Caller(SYSTEM, "web"), Caller("owner", "system")):
        assert (await gateway.call("stop", {"run_id": "0123456789"}, caller)).status == "refused"
    assert stop.stopped == []


async def test_a_second_yes_for_the_same_target_ends_the_orders_of_the_first(home: Home) -> None:
    stop = Stop()
    gateway = await begun(home, stop)
    home.clock.forward(hours=1)
    await gateway.decide((await ask(gateway, name="b")).id, "approve", OWNER)
    home.clock.forward(hours=1, minutes=30)
    await gateway.stop_due()
    assert stop.stopped == [] and [row.ended_at is None for row in rows(home)] == [False, True]


async def test_a_call_that_failed_leaves_no_order(home: Home) -> None:
    def deed(args: Any, call: Call) -> dict[str, Any]:
        raise ToolFailed("Start", "no quota.", "Ask for it.")

    gateway = home.gateway({"start": spending(orders=(DEADLINE,), deed=deed), "stop": Stop()})
    await gateway.decide((await ask(gateway)).id, "approve", OWNER)
    assert rows(home)[0].ended_at is not None and rows(home)[0].target == ""


async def test_an_unclear_start_gets_its_orders_aimed_when_its_tool_remembers(home: Home) -> None:
    def deed(args: Any, call: Call) -> dict[str, Any]:
        raise RuntimeError("who knows")

    stop, tool = Stop(), heavy(orders=(DEADLINE,), deed=deed)
    gateway = home.gateway({"start": tool, "stop": stop})
    decision = await gateway.decide((await ask(gateway)).id, "approve", OWNER)
    assert decision.answer is not None
    tool.remembers[decision.answer.call_id] = Result({"run_id": "late000000"})
    home.clock.forward(hours=2)
    await gateway.sweep()
    assert stop.stopped == [("late000000", SYSTEM)]


async def test_a_tool_that_cannot_say_what_it_would_stop_disturbs_nothing(home: Home) -> None:
    stop = Stop()
    gateway = await begun(home, stop, tool=heavy(orders=(DEADLINE,), deed=lambda args, call: {"run_id": "unknown"}))
    home.clock.forward(hours=3)
    assert await gateway.stop_due() == [] and stop.stopped == []
