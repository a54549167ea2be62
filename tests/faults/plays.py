"""What programs do in the fault tests, one function a play; `play` opens the home, recovers, plays, and closes."""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from policies.tool import ToolFailed
from tests.faults.breaker import jump
from tests.faults.evidence import broken
from tests.faults.shop import BAD_ROUND, Shop
from tests.policies.home import OWNER
from tools.runs.state import FINAL, RunState

Facts = Mapping[str, Any]


async def life(shop: Shop, facts: Facts) -> None:
    """The long one."""
    await shop.life(int(facts.get("tries", 2)))


async def train(shop: Shop, facts: Facts) -> None:
    """One run, to its end."""
    run = str((await shop.start(str(facts.get("mode", "holds")), "alone"))["run_id"])
    shop.say(run=run)
    await shop.ended(run)
    row = shop.world.store.wanted(run)
    shop.say(state=row.state.value, kind=row.outcome.get("kind"), words=row.reason, attempt=row.attempt)


async def hold(shop: Shop, facts: Facts) -> None:
    """One run, and then only what a server does by itself, until somebody ends the program."""
    run = str((await shop.start(str(facts.get("mode", "holds")), "alone"))["run_id"])
    await shop.until(run, RunState.RUNNING)
    shop.say(held=run)
    await asyncio.Event().wait()


async def watch(shop: Shop, facts: Facts) -> None:
    """Follow a run that another program started to its end."""
    run = str(facts["run"])
    shop.say(state=shop.state(run).value)
    (shop.home / "runs" / run / "go").touch()
    await shop.ended(run)
    shop.say(end=shop.state(run).value)


async def resume(shop: Shop, facts: Facts) -> None:
    """Go on with an ended run."""
    run = str(facts["run"])
    row = shop.world.store.wanted(run)
    shop.say(state=row.state.value, words=row.reason)
    await shop.done("resume_run", {"run_id": run}, "again", 1)
    await shop.ended(run)
    shop.say(end=shop.state(run).value)


async def stop(shop: Shop, facts: Facts) -> None:
    """Stop a run twice."""
    run = str(facts["run"])
    for key in ("once", "twice"):
        await shop.done("cancel_run", {"run_id": run}, key, 1)
    await shop.ended(run)
    shop.say(end=shop.state(run).value)


async def ask(shop: Shop, facts: Facts) -> None:
    """Leave a card that waits."""
    await shop.ask("start_finetune", {"model": "bundled", "dataset": "samples/finishes.jsonl", "name": "a"}, "asked")
    await asyncio.Event().wait()


async def answer(shop: Shop, facts: Facts) -> None:
    """Say yes to a card of an earlier program."""
    view = shop.gateway.approval(str(facts["card"]))
    assert view is not None
    shop.say(found=view.status, expires=view.expires_at)
    decided = await shop.gateway.decide(view.id, "approve", OWNER)
    shop.say(decided=view.id, status=decided.approval.status)
    assert decided.answer is not None, decided
    await shop.ended(str(decided.answer.result["run_id"]))


async def clock(shop: Shop, facts: Facts) -> None:
    """A run, one that waits for it, a card that waits for a person; the clock jumps; time goes on."""
    first = str((await shop.start("holds", "a"))["run_id"])
    await shop.until(first, RunState.RUNNING)
    second = str((await shop.start("finishes", "b"))["run_id"])
    card = await shop.ask("pay", {"name": "x"}, "pay")
    jump(float(facts["seconds"]))
    for _ in range(3):
        shop.world.reconciler.pass_()
        await shop.gateway.sweep()
    view = shop.gateway.approval(card)
    shop.say(after=[shop.state(first).value, shop.state(second).value], found=view.status if view else "")
    decided = await shop.gateway.decide(card, "approve", OWNER)
    shop.say(paid=decided.ok)
    (shop.home / "runs" / first / "go").touch()
    await shop.until(second, *FINAL)
    shop.say(ends=[shop.state(first).value, shop.state(second).value])


async def full(shop: Shop, facts: Facts) -> None:
    """A disk with so much room and no more while a run is asked for; then with room again."""
    filler = shop.home / "filler"
    for room in facts["rooms"]:
        _fill(filler, int(room))
        said = ""
        try:
            await shop.start("finishes", f"full-{room}")
        except (*BAD_ROUND, AssertionError) as error:
            said = str(error)
        filler.unlink()
        await shop.gateway.sweep()  # as a server does twice a minute
        shop.say(room=room, answer=said)
    await shop.life(4)


def _fill(path: Path, room: int) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(path, max(0, path.stat().st_size - room))


async def eaten(shop: Shop, facts: Facts) -> None:
    """The kernel counts a kill for want of memory, and the engine is gone: in a stand-in of the control groups' folder."""
    counters = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            below = f"memory/{path.lstrip('/')}/memory.oom_control" if controllers else f"{path.lstrip('/')}/memory.events"
            counters.append(Path("/sys/fs/cgroup", below))
            counters[-1].parent.mkdir(parents=True, exist_ok=True)
            counters[-1].write_text("oom_kill 0\n")
    run = str((await shop.start("eaten", "alone"))["run_id"])
    await shop.until(run, RunState.RUNNING)
    for counter in counters:
        counter.write_text("oom_kill 1\n")
    (shop.home / "runs" / run / "eaten").touch()
    await train(shop, {"mode": "eaten"})


async def look(shop: Shop, facts: Facts) -> None:
    """Nothing but what a start does."""


PLAYS: dict[str, Callable[[Shop, Facts], Awaitable[None]]] = {
    one.__name__: one for one in (life, train, hold, watch, resume, stop, ask, answer, clock, full, eaten, look)
}


async def play(name: str, home: Path, said: Path, facts: Facts) -> None:
    """Open the home and do what the name says."""
    with said.open("a", buffering=1) as file:

        def say(**what: object) -> None:
            file.write(json.dumps(what) + "\n")

        try:
            shop = Shop(home, say, float(facts.get("later_s", 0)))
        except ToolFailed as refused:
            say(refused=refused.kind)
            raise
        await shop.recover()
        await PLAYS[name](shop, facts)
        await shop.close()
        say(closed=True)
    if facts.get("judged"):
        every = [json.loads(line) for line in said.read_text().splitlines()]
        with said.open("a") as file:
            file.write(json.dumps({"broken": broken(home, every)}) + "\n")
