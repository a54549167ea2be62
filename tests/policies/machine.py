"""Any order of asking, deciding, paying, ending and dying, over the real gateway; what must hold after every step."""

import asyncio
import hashlib
import json
from collections import Counter
from datetime import timedelta
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from policies import orders
from policies.book import now_text
from policies.gateway import Gateway
from policies.limits import MICROS
from policies.people import Caller, People
from policies.tables import approvals, audit, calls, decisions, ledger, runs, standing_orders
from tests.policies.home import Clock
from tests.policies.jobs import AtOnce, InTurn, Job, Spent, Stop, limited
from tests.policies.ram import Killed, RamBook
from tools.runs.state import FINAL, RunState, may_become

PEOPLE = ("owner", "bob", "cy")
DAY_CAP, MONTH_CAP, TWO_PEOPLE = 100 * MICROS, 250 * MICROS, 40 * MICROS
ENDED = frozenset({"consumed", "denied", "withdrawn", "expired", "revoked", "superseded"})
NEXT = {"pending": ENDED - {"consumed", "revoked"} | {"revoked", "approved"}, "approved": frozenset({"consumed", "expired", "revoked"})}


class HomeMachine(RuleBasedStateMachine):
    """The whole of approvals, ledger and runs of one home."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.clock, self.loop = RamBook(), Clock(), asyncio.new_event_loop()
        self.loop.set_default_executor(InTurn())
        for name in PEOPLE:
            self.book.person(name, "owner" if name == "owner" else "approver")
        self.people = People(self.book)
        self.job, self.stop = Job(self.book, self.clock), Stop(self.book)
        self.money: dict[str, Spent] = {}
        self.states: dict[str, str] = {}
        self.checked, self.prev, self.asked = 0, "0" * 64, 0
        self.intents: dict[int, int] = {}
        self.gateway = self._start()

    def _start(self) -> Gateway:
        tools: dict[str, Any] = {"job": self.job, "stop": self.stop}
        made = Gateway(tools, self.book, limited(), self.people, clock=self.clock, worker=AtOnce())
        self.loop.run_until_complete(made.recover())
        self._swept()
        return made

    def _swept(self) -> None:
        """A sweep frees the money of what never began, once its lease is over."""
        self._learn()
        before = now_text(self.clock() - timedelta(minutes=2))
        for row in self.book.table(ledger):
            if row.kind == "reserve" and row.at <= before and not self.job.begun[row.call_id]:
                self.money[row.call_id].held = 0

    def _run(self, work: Any) -> Any:
        """Do it; if that kills the program, start it again."""
        try:
            return self.loop.run_until_complete(work)
        except Killed:
            self._bury()
            self.book.revive()
            self.job.mood = "fine"
            self.gateway = self._start()
            return None
        finally:
            self._learn()

    def _bury(self) -> None:
        """Nothing of a killed program goes on."""
        rest = asyncio.all_tasks(self.loop)
        for task in rest:
            task.cancel()
        if rest:
            self.loop.run_until_complete(asyncio.wait(rest))

    def _learn(self) -> None:
        """Take from the calls' ends, not from the ledger, which money must be held."""
        for row in self.book.table(approvals):
            if row.state != "consumed":
                continue
            ceiling = json.loads(row.proposal_json)["cost"]["ceiling_micros"]
            if ceiling and row.call_id not in self.money:
                self.money[row.call_id] = Spent(row.requester, ceiling)
        for call in self.book.table(calls):
            money = self.money.get(call.call_id)
            if money is not None and money.held and call.status == "failed" and '"error_kind": "failed"' in call.answer_json:
                money.held = 0  # the tool said no

    def _approval(self, index: int, *states: str) -> Any:
        found = [row for row in self.book.table(approvals) if not states or row.state in states]
        return found[index % len(found)] if found else None

    @rule(person=st.sampled_from(PEOPLE), name=st.sampled_from("abc"), dollars=st.sampled_from([0, 5, 30, 45, 60]))
    def ask(self, person: str, name: str, dollars: int) -> None:
        """Somebody wants a run."""
        self.asked += 1
        self.clock.forward(seconds=1)
        args = {"name": f"{person}-{name}", "dollars": dollars}
        self._run(self.gateway.call("job", args, Caller(person, "web"), f"k{self.asked}"))

    @rule(dollars=st.sampled_from([5, 10, 30, 45]))
    def a_run_is_wanted_and_everybody_agrees(self, dollars: int) -> None:
        """The usual way, so that many runs begin."""
        self.ask("owner", "d", dollars)
        self.everybody_says_yes(-1)

    @rule(index=st.integers(0, 40), person=st.sampled_from(PEOPLE))
    def say_yes(self, index: int, person: str) -> None:
        """Somebody says yes to what waits, or once more to what was approved."""
        row = self._approval(index, "pending", "approved")
        if row is not None:
            self._run(self.gateway.decide(row.id, "approve", Caller(person, "web")))

    @rule(index=st.integers(0, 40))
    def everybody_says_yes(self, index: int) -> None:
        """Everybody says yes to what waits, at the same time."""
        row = self._approval(index, "pending")

        async def all_at_once() -> None:
            said = (self.gateway.decide(row.id, "approve", Caller(one, "web")) for one in PEOPLE)
            done = await asyncio.gather(*said, return_exceptions=True)
            for each in done:
                if isinstance(each, BaseException):
                    raise each

        if row is not None:
            self._run(all_at_once())

    @rule(index=st.integers(0, 40), person=st.sampled_from(PEOPLE), answer=st.sampled_from(["approve", "deny", "withdraw"]))
    def say_something(self, index: int, person: str, answer: str) -> None:
        """Somebody says something about any approval there ever was."""
        row = self._approval(index)
        if row is None:
            return
        caller = Caller(person, "web")
        work = self.gateway.withdraw(row.id, caller) if answer == "withdraw" else self.gateway.decide(row.id, cast(Any, answer), caller)
        self._run(work)

    @rule(minutes=st.sampled_from([1, 3, 9, 30]))
    def time_passes(self, minutes: int) -> None:
        """Some minutes, without a sweep."""
        self.clock.forward(minutes=minutes)

    @rule(hours=st.sampled_from([1, 13, 25]))
    def hours_pass(self, hours: int) -> None:
        """Hours, without a sweep."""
        self.clock.forward(hours=hours)

    @rule()
    def sweep(self) -> None:
        """What Luthier does by itself."""
        self._run(self.gateway.sweep())
        self._swept()

    @rule(price=st.sampled_from([50, 100, 100, 101, 150]))
    def the_price_moves(self, price: int) -> None:
        """Another price list."""
        self.job.price = price

    @rule(mood=st.sampled_from(["fine", "fine", "fine", "refuses", "breaks before", "breaks after"]))
    def the_tool_has_a_mood(self, mood: str) -> None:
        """How the next starts go."""
        self.job.mood = mood

    @rule(person=st.sampled_from(PEOPLE[1:]), role=st.sampled_from(["viewer", "member", "approver", "approver"]))
    def a_role_changes(self, person: str, role: Any) -> None:
        """Somebody is demoted, or comes back."""
        async def change() -> None:
            self.people.set(person, role=role)

        self._run(change())

    @rule(writes=st.integers(0, 4), keeps_last=st.booleans())
    def death_waits(self, writes: int, keeps_last: bool) -> None:
        """The program will be killed at one of its next writes."""
        self.book.writes_left, self.book.keeps_last = writes, keeps_last

    @rule()
    def restart(self) -> None:
        """The program ends between two steps, and starts again."""
        self.book.revive()
        self.gateway = self._start()

    @rule(
        index=st.integers(0, 40), share=st.sampled_from([0, 10, 100, 130, 150]),
        to=st.sampled_from(["running", "failed", "cancelled", "finished"]),
    )
    @precondition(lambda self: self.job.at and self.book.writes_left is None)
    def a_run_moves(self, index: int, share: int, to: str) -> None:
        """A run goes on or ends; with its end comes the bill."""
        found = self.book.table(runs)
        row = found[index % len(found)] if found else None
        if row is None or not may_become(RunState(row.state), RunState(to)) or RunState(row.state) in FINAL:
            return
        self.book.write(lambda conn: conn.execute(runs.update().where(runs.c.id == row.id).values(state=to)))
        if RunState(to) in FINAL and row.call_id in self.money:
            self._bill(row.call_id, share)

    @rule(index=st.integers(0, 40), share=st.sampled_from([50, 130]))
    @precondition(lambda self: self.money and self.book.writes_left is None)
    def a_bill_comes_twice(self, index: int, share: int) -> None:
        """The same cost is reported again."""
        paid = [call_id for call_id, money in self.money.items() if money.spent]
        if paid:
            self.loop.run_until_complete(self.gateway.settle_spend(paid[index % len(paid)], share, "again"))

    def _bill(self, call_id: str, share: int) -> None:
        money = self.money[call_id]
        actual = money.held * share // 100
        self.loop.run_until_complete(self.gateway.settle_spend(call_id, actual, "bill"))
        money.overrun, money.spent, money.held, money.at = max(0, actual - money.held), actual, 0, self.clock()

    # ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def an_approval_only_goes_forward(self) -> None:
        """And at most five of one person wait."""
        waiting = Counter[str]()
        for row in self.book.table(approvals):
            before = self.states.get(row.id, "pending")
            fine = row.state == before or row.state in NEXT.get(before, ()) or (before, row.state) == ("pending", "consumed")
            assert fine, f"an approval went from {before} to {row.state}"
            self.states[row.id] = row.state
            waiting[row.requester] += row.state == "pending" and row.expires_at > now_text(self.clock())
        assert max(waiting.values(), default=0) <= 5

    @invariant()
    def nothing_begins_without_its_yes(self) -> None:
        """Once, after a consumption, in time, and with as many yeses of others as the money needs."""
        asked = {row.call_id: row for row in self.book.table(approvals)}
        for call_id, times in self.job.begun.items():
            row = asked[call_id]
            assert times == 1 and row.state == "consumed", f"it began {times} times, and its approval is {row.state}"
            assert self.job.at[call_id] < row.execute_by, "it began after its yes had run out"
            said = [one for one in self.book.table(decisions) if (one.approval_id, one.answer) == (row.id, "approve")]
            assert all(one.at < row.expires_at for one in said), "somebody said yes to what had expired"
            others, ceiling = {one.person for one in said} - {row.requester}, json.loads(row.proposal_json)["cost"]["ceiling_micros"]
            needed = 0 if not ceiling else 2 if ceiling >= TWO_PEOPLE else 1
            assert said and len(others) >= needed, "too few people said yes"

    @invariant()
    def the_ledger_says_what_happened(self) -> None:
        """Every sum is the one that the machine knows, and no cap is passed but by what a bill was above its reservation."""
        midnight = self.clock().replace(hour=0, minute=0)
        month = midnight.replace(day=1)
        for person in (*PEOPLE, None):
            mine = [money for money in self.money.values() if person in (None, money.person)]
            since, cap = (midnight, DAY_CAP) if person is not None else (month, MONTH_CAP)
            new = [money for money in mine if money.at >= since]
            held, spent = sum(money.held for money in mine), sum(money.spent for money in new)
            assert self._sums(person, now_text(since)) == (held, spent), f"the ledger of {person} says something else"
            assert held + spent - sum(money.overrun for money in new) <= cap, "a cap is passed"
        reserved = Counter(row.call_id for row in self.book.table(ledger) if row.kind == "reserve")
        assert max(reserved.values(), default=0) <= 1, "one yes reserved twice"

    def _sums(self, person: str | None, since: str) -> tuple[int, int]:
        found = [row for row in self.book.table(ledger) if person in (None, row.person)]
        held = sum(row.micros if row.kind == "reserve" else -row.micros for row in found if row.kind != "settle")
        return held, sum(row.micros for row in found if row.kind == "settle" and row.at >= since)

    @invariant()
    def the_record_is_whole(self) -> None:
        """Each record follows from the one before; each intent has one outcome, for the program is at rest."""
        for row in self.book.rows(select(audit).where(audit.c.seq > self.checked).order_by(audit.c.seq)):
            found = json.loads(row.record)
            assert (row.seq, found["prev"]) == (self.checked + 1, self.prev)
            self.checked, self.prev = row.seq, hashlib.sha256(row.record).hexdigest()
            if found["kind"] == "intent":
                self.intents[row.seq] = 0
            if found["kind"] == "outcome":
                self.intents[found["refs"]["intent"]] += 1
        assert all(count == 1 for count in self.intents.values()), "an intent has no outcome, or two"

    @invariant()
    def luthier_stops_only_what_is_due(self) -> None:
        """And every order belongs to a consumed approval."""
        for run_id, person in self.stop.by:
            due = [row.due_at for row in self.book.table(standing_orders) if row.target == run_id]
            assert person == "system" and any(at <= now_text(self.clock()) for at in due)
        open_orders = self.book.read(orders.standing)
        assert all(self.job.begun[one.target] == 1 for one in open_orders), "an order for what never began, or began twice"

    def teardown(self) -> None:
        """Let go."""
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self.book.close()
