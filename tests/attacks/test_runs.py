"""Whatever is asked, answered twice, cut off and stopped: at most one live attempt for each yes, and faces show what really lives."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.gateway import Gateway
from policies.people import People
from policies.policy import Policy
from policies.tables import approvals
from tests.attacks.faces import Faces
from tests.attacks.siege import BOB, CY, ME, MEL, waiting
from tests.policies.home import Clock
from tests.tools.fakes_runs import RunWorld
from tools.runs.identity import lock_state
from tools.runs.state import ALIVE, RunState

START = {"model": "bundled", "dataset": "samples/helpdesk.jsonl"}
SEQUENCES, STEPS = 3, 14


class RunSiege:
    """A home with real runs, four people, and a gateway that is replaced as if the program had begun again."""

    def __init__(self, folder: Path) -> None:
        self.world = RunWorld(folder, grace_s=0.3)
        self.world.planning.mode = "polite"
        self.people, self.clock = People(self.world.book), Clock()
        self.people.ensure_owner()
        self.people.add("bob", "Bob", "approver")
        self.people.add("cy", "Cy", "approver")
        self.people.add("mel", "Mel", "member")
        self.again()

    def again(self) -> None:
        """A new program over the same home; whoever still holds the old one keeps it."""
        tools = {tool.name: tool for tool in (self.world.start, self.world.resume, self.world.cancel)}
        self.gateway = Gateway(tools, self.world.book, Policy.load(), self.people, clock=self.clock)  # pyright: ignore[reportArgumentType]
        self.faces = Faces(self.gateway)

    def locks(self, run_id: str) -> list[Path]:
        """What the attempts of a run have left: each one that ever began took its own."""
        return sorted(self.world.local.folder(run_id).glob("attempt-*.lock"))

    def live(self, run_id: str) -> int:
        """How many attempts of a run hold their lock now."""
        return sum(lock_state(lock) == "held" for lock in self.locks(run_id))

    def hold(self) -> None:
        """I2 no more attempts than yeses, one of them live at most; I6 after one pass the runs on show are those that live."""
        used = self.world.book.read(lambda conn: conn.execute(approvals.select().where(approvals.c.state == "consumed")).all())
        starts = [row.call_id for row in used if row.tool == "start_finetune"]
        resumed = Counter(json.loads(row.proposal_json)["target"] for row in used if row.tool == "resume_run")
        rows = self.world.store.rows()
        assert sorted(row.call_id for row in rows) == sorted(starts), "one run for each consumed yes, and none without"
        for row in rows:
            assert len(self.locks(row.id)) <= row.attempt <= 1 + resumed[f"run:{row.id}"]
        assert sum(self.live(row.id) for row in rows) <= 1, "the machine has one holder"
        self.world.reconciler.pass_()
        for row in self.world.store.rows():
            view = self.world.views.of(row)
            assert view.state == row.state and (self.live(row.id) == 0 or row.state in ALIVE), "what lives is shown as living"
        assert not self.faces.untrue()


@pytest.fixture
def siege(tmp_path: Path) -> Iterator[RunSiege]:
    """A home with real runs."""
    made = RunSiege(tmp_path)
    yield made
    made.world.close()


async def a_resumed_run(siege: RunSiege) -> list[str]:
    """A run that was begun, stopped and resumed, each once and with its own yes; the approvals."""
    begun = await waiting(siege.gateway, "start_finetune", ME, **START)
    assert (await siege.gateway.decide(begun.id, "approve", BOB)).ok
    (row,) = siege.world.store.rows()
    siege.world.until(row.id, RunState.RUNNING)
    await siege.gateway.call("cancel_run", {"run_id": row.id}, ME)
    siege.world.until(row.id, RunState.CANCELLED)
    again = await waiting(siege.gateway, "resume_run", run_id=row.id)
    assert (await siege.gateway.decide(again.id, "approve", BOB)).ok
    siege.hold()
    assert len(siege.locks(row.id)) == 2
    return [begun.id, again.id]


@pytest.mark.parametrize("sequence", range(SEQUENCES))
async def test_i2_i6_no_sequence_begins_more_attempts_than_were_approved(siege: RunSiege, sequence: int) -> None:
    dice, seen = random.Random(f"runs {sequence}"), await a_resumed_run(siege)
    for step in range(STEPS):
        chance, caller = dice.random(), dice.choice([ME, BOB, MEL])
        runs = [row.id for row in siege.world.store.rows()]
        if chance < 0.3:
            key = dice.choice(["", "k", "m"])
            same = [siege.gateway.call("start_finetune", START | {"name": f"n{step % 3}"}, caller, key) for _ in range(2)]
            seen += [answer.approval.id for answer in await asyncio.gather(*same) if answer.approval]
        elif chance < 0.7:
            wanted, old, two = dice.choice(seen[-4:]), siege.gateway, dice.random() < 0.3
            if two:
                siege.again()  # a second program over the same home, while the first still answers
            doors = (old, siege.gateway, siege.gateway)
            yeses = [door.decide(wanted, "approve", dice.choice([ME, BOB, CY])) for door in doors]
            await asyncio.gather(*yeses, siege.gateway.recover())
            if two:
                siege.again()  # faces of one program hear nothing of the other: these open anew
        elif chance < 0.85:
            await siege.gateway.call("cancel_run", {"run_id": dice.choice(runs)}, ME, dice.choice(["", "c"]))
        else:
            answer = await siege.gateway.call("resume_run", {"run_id": dice.choice(runs)}, ME, dice.choice(["", "r"]))
            seen += [answer.approval.id] if answer.approval else []
        siege.clock.forward(minutes=dice.choice([0, 0, 0, 30, 60 * 24 * 8]))
        await siege.gateway.sweep()
        siege.hold()
    await siege.gateway.settle()
