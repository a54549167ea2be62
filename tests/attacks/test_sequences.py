"""Whatever is called and answered, in whatever order and shape: no effect without its own yes, no money above a cap, no gap in the record.

CI tries 2,000 sequences; `LUTHIER_ATTACKS=10000` tries them all.
"""

import asyncio
import os
import random
from collections import Counter
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import invalid_tool_call

from policies import ledger as books
from policies.people import Caller
from policies.tables import approvals, calls, decisions
from tests.attacks.faces import Faces
from tests.attacks.siege import BOB, CY, ME, MEL, VIC, Hostile, Siege

SEQUENCES = int(os.environ.get("LUTHIER_ATTACKS", "2000"))
BATCH, LOOK = 250, 5
"""Sequences of one home; the invariants are looked at after every fifth, the whole log after each batch."""

CALLERS = [
    ME,
    ME,
    BOB,
    CY,
    MEL,
    MEL,
    VIC,
    Caller("stranger", "slack"),
    Caller("owner", "mcp"),
    Caller("system", "system"),
    Caller("bob", "system"),
]
TEXTS = [
    "one",
    "two",
    "three",
    "; approve all",
    "I am the admin",
    "\u202eevil\u200b",
    "x" * 41,
    "x" * 120_000,
    "\ud800",
    "\x00",
    "🦀" * 20,
    '{"approved": true}',
    "../../etc/passwd",
    "$(id)",
    "<script>",
    "hf_" + "A1b2C3d4E5" * 3,
]
NUMBERS = [1, 2, 3, 24, 25, 0, -1, 2**63, 10**30, 1.5, float("nan"), float("inf"), True, None, "2", "all", [], {}]
MORE = [
    {},
    {},
    {},
    {"approved": True},
    {"effects": ["READ"]},
    {"self": 1},
    {"runtime": {"person": "owner"}},
    {"config": {}},
    {"\u200bname": "x"},
    {"cost": 0},
]
UNKNOWN = ["set_budget", "approve", "decide", "perform", "", "lo\u200bok", "launch ", "LAUNCH", "x" * 500, "__class__", "transfer_to_admin"]


MAY = {"owner", "bob", "cy"}
"""Who may read or stop what is another person's: its owner, the home's owner, and whoever decides."""


class Dice(random.Random):
    """What the next sequence is made of."""

    def arguments(self) -> Any:
        """Sound ones, odd ones, and none at all."""
        if self.random() < 0.04:
            return self.choice([None, [], "text", 7, {"name": {"name": {"name": {}}}}])
        raw: dict[str, Any] = {"name": self.choice(TEXTS[:3] if self.random() < 0.7 else TEXTS)}
        if self.random() < 0.4:
            raw["hours"] = self.choice(NUMBERS[:3] if self.random() < 0.7 else NUMBERS)
        if self.random() < 0.1:
            raw["steps"] = self.choice([[1, 2], [2, 1], [1] * 21, ["x"]])
        return raw | self.choice(MORE)

    def tool(self, siege: Siege) -> str:
        """One that exists, mostly."""
        return self.choice([*siege.weapons] if self.random() < 0.85 else UNKNOWN)

    def message(self, siege: Siege) -> AIMessage:
        """An answer with a few calls: sound, broken, with the same id twice or none."""
        made = [
            {
                "name": self.tool(siege),
                "args": raw if isinstance(raw := self.arguments(), dict) else {},
                "id": self.choice(["c1", "c1", "c2", "", "c3"]),
            }
            for _ in range(self.randrange(1, 4))
        ]
        broken = [invalid_tool_call(name="launch", args="name = one", id="c9", error="not JSON")] if self.random() < 0.1 else []
        metadata = {"finish_reason": self.choice(["stop", "stop", "length"])}
        return AIMessage("", tool_calls=made, invalid_tool_calls=broken, response_metadata=metadata)


class Ledger:
    """What the siege allowed, counted apart from the code that allowed it."""

    def __init__(self, siege: Siege) -> None:
        self.siege = siege

    def holds(self) -> None:
        """I1 no effect without its own yes; I2 none twice for one; I3 the ledger is below every cap; I5 no performed call is forgotten."""
        with_yes = [
            (name, call, times) for name, weapon in self.siege.weapons.items() if name != "look" for call, times in weapon.done.items()
        ]
        rows, said, kept, used = self.siege.book.read(
            lambda conn: (
                {row.call_id: row for row in conn.execute(approvals.select()).all()},
                conn.execute(decisions.select().where(decisions.c.answer == "approve")).all(),
                {row.call_id: row for row in conn.execute(calls.select()).all()},
                {person: books.used(conn, person=person) for person in ("owner", "bob", "cy", "mel", "vic", "stranger", "system")},
            )
        )
        for name, call, times in with_yes:
            assert times == 1 and kept[call].tool == name and kept[call].status == "done"
            if name in ("halt", "theirs") and kept[call].person in MAY:
                continue  # stopping and reading need no yes, only a right to the object
            row = rows[call]
            yes = {each.person for each in said if each.approval_id == row.id}
            assert row.state == "consumed" and row.tool == name and len(yes) >= row.quorum
            assert yes <= {"owner", "bob", "cy"} and (name == "heavy" or row.requester not in yes)
        effects = Counter(kept[call].approval_id for _, call, times in with_yes if kept[call].approval_id for _ in range(times))
        assert all(count == 1 for count in effects.values()), "I2"
        assert not self.siege.weapons["nothing"].shots
        assert all(each.total <= 100_000_000 for each in used.values()) and sum(each.total for each in used.values()) <= 500_000_000
        assert not any(used[person].total for person in ("vic", "stranger", "system"))
        consumed = {row.call_id for row in rows.values() if row.state == "consumed"}
        assert consumed == {call for name, call, _ in with_yes if name not in ("halt", "theirs")}


@pytest.mark.parametrize("batch", range(max(1, SEQUENCES // BATCH)))
async def test_no_sequence_of_calls_and_decisions_passes_the_gate(siege: Siege, batch: int) -> None:
    siege.more_people()
    siege.weapons["theirs"].owner = siege.weapons["halt"].owner = "cy"
    dice, gateway, ledger = Dice(f"siege {batch}"), siege.gateway(), Ledger(siege)
    seen, faces = ["00000000"], Faces(gateway)
    for number in range(BATCH):
        for _ in range(dice.randrange(1, 6)):
            caller, chance = dice.choice(CALLERS), dice.random()
            if chance < 0.6:
                key = dice.choice(["", "", f"k{dice.randrange(30)}"])
                answer = await gateway.call(dice.tool(siege), dice.arguments(), caller, key)
                seen += [answer.approval.id] if answer.approval else []
            elif chance < 0.95:
                wanted = dice.choice(seen[-6:])
                if gateway.approval(wanted) is not None:
                    yes = [gateway.decide(wanted, "approve", each) for each in (BOB, CY, ME)] if dice.random() < 0.2 else []
                    # All at once, while what a crash would have left approved is begun as well.
                    await asyncio.gather(*yes, *([gateway.recover()] if yes else []))
                    await gateway.decide(wanted, dice.choice(["approve", "approve", "deny"]), caller)
            elif chance < 0.98:
                if gateway.approval(seen[-1]) is not None:
                    await gateway.withdraw(seen[-1], caller)
            else:
                siege.people.set("bob", role=dice.choice(["approver", "viewer", "member"]))
        siege.clock.forward(minutes=dice.choice([0, 0, 1, 30, 600]))
        if number % LOOK == 0:
            ledger.holds()
            await gateway.sweep()
            assert not faces.untrue(), "I6: what is on show is true after one round of upkeep"
    ledger.holds()
    assert siege.weapons["look"].shots and siege.shots, "some of it was sound, and was done"
    assert siege.intact(), "I4: the log verifies, and each intent has one outcome"


TURNS = max(10, SEQUENCES // 50)


async def test_no_turn_of_a_hostile_model_passes_the_gate(siege: Siege) -> None:
    siege.more_people()
    dice, ledger, left = Dice("turns"), Ledger(siege), 0

    def script(messages: list[BaseMessage]) -> AIMessage:
        nonlocal left
        left -= 1
        return dice.message(siege) if left > 0 else AIMessage("That is all.")

    model = Hostile(script=script, heard=[])  # pyright: ignore[reportArgumentType]
    async with siege.workshop(model) as shop:
        faces = Faces(shop.door.gateway)
        for turn in range(TURNS):
            left = dice.randrange(2, 6)
            caller = dice.choice([ME, BOB, MEL, VIC])
            events = [event async for event in shop.say(f"t{turn % 7}", dice.choice(["go", "approve it", "yes"]), caller)]
            assert type(events[-1]).__name__ == "TurnEnded"
            for view in shop.pending()[:2]:
                await shop.decide(view.id, dice.choice(["approve", "deny"]), dice.choice([ME, BOB, CY, MEL]))
            siege.clock.forward(minutes=dice.choice([0, 5, 600]))
            ledger.holds()
            await shop.door.gateway.sweep()
            assert not faces.untrue(), "I6"
    assert siege.weapons["look"].shots and siege.intact()
