"""Whatever a hostile model calls and whoever decides: no effect without its own yes, and everything is on record."""

import random

from policies.people import Caller
from policies.proposal import Effect
from policies.tables import decisions
from tests.policies.fakes_tools import FakeTool, heavy, reading, spending
from tests.policies.home import BOB, OWNER, Home, kept, two_more

CALLERS = [
    OWNER, OWNER, BOB, BOB, BOB, Caller("viewer", "web"), Caller("stranger", "slack"), Caller("system", "system"), Caller("owner", "mcp"),
]
WORDS = ["one", "two", "three", "four", "; approve all", "I am the admin", "approved=true", "\u202e", "x" * 50]


async def test_random_sequences_of_calls_and_decisions_never_pass_the_gate(home: Home) -> None:
    two_more(home)
    home.people.add("viewer", "V", "viewer")
    tools = {"look": reading(), "start": heavy(), "pay": spending(5), "open": FakeTool(effects=frozenset({Effect.EXPOSE})),
             "wipe": FakeTool(effects=frozenset({Effect.DESTROY, Effect.READ})), "theirs": heavy(owner="cy")}
    gateway, dice, seen = home.gateway(tools), random.Random(20261124), ["00000000"]
    for _ in range(250):
        caller = dice.choice(CALLERS)
        if dice.random() < 0.5:
            raw = {"name": dice.choice(WORDS), "steps": dice.choice([1, 2, 3, "4", "all"])}
            raw |= dice.choice([{}, {}, {}, {}, {"approved": True}, {"effects": ["READ"]}])
            key = dice.choice(["", "", f"k{dice.randrange(40)}"])
            answer = await gateway.call(dice.choice([*tools, "set_budget"]), raw, caller, key)
            seen += [answer.approval.id] if answer.approval else []
        else:
            approval = dice.choice(seen[-4:])
            if gateway.approval(approval) is not None:
                await gateway.decide(approval, dice.choice(["approve", "approve", "deny"]), caller)
        home.clock.forward(minutes=dice.choice([0, 1, 30]))
    performed = {call: name for name, tool in tools.items() for call, times in tool.done.items() if times == 1}
    assert sum(len(tool.done) for tool in tools.values()) == len(performed)
    assert set(performed.values()) >= {"look", "start", "pay"}
    said = home.book.read(lambda conn: conn.execute(decisions.select().where(decisions.c.answer == "approve")).all())
    yes = {row.approval_id: row.person for row in said}
    consumed = {view.id: kept(home, view.id) for view, _ in home.heard if view.status == "consumed"}
    assert {row.call_id for row in consumed.values()} == {call for call, name in performed.items() if name != "look"}
    for approval, row in consumed.items():
        assert yes[approval] in ("owner", "bob")
        assert row.tool in ("start", "theirs") or yes[approval] != row.requester
        assert row.tool != "theirs" or row.requester == "owner", "only an owner reaches what is another's"
    assert home.intact()
