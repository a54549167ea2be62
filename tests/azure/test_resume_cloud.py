"""Going on with a run that was stopped on Azure: what its card says, and where it can go."""

import asyncio
import json
from decimal import Decimal

from policies.ledger import used
from tests.azure.cloud import Cloud
from tests.azure.run_home import OWNER, RunHome, trains
from tools.azure.ceiling import accrued
from tools.runs.cloud_row import Phase
from tools.runs.state import ALIVE


async def stopped(home: RunHome, cloud: Cloud) -> str:
    """A run that was stopped there after its eighth step."""
    cloud.script(trains())
    run = await home.begin(gpu="T4")
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    with (cloud.share_root / "runs" / run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "checkpoint", "step": 8, "path": "checkpoints/checkpoint-8"}) + "\n")
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await home.until_over(run)
    return run


async def test_the_card_names_the_checkpoint_that_lies_there(home: RunHome, cloud: Cloud) -> None:
    run = await stopped(home, cloud)
    card = dict(home.view(await home.gateway.call("resume_run", {"run_id": run}, OWNER)).lines)
    assert "step 8 of" in card["Goes on from"] and "step 8" in card["Leaves this machine"]


async def test_what_needs_a_gpu_does_not_go_on_on_processors(home: RunHome, cloud: Cloud) -> None:
    run = await stopped(home, cloud)
    answer = await home.gateway.call("resume_run", {"run_id": run, "provider": "local"}, OWNER)
    assert answer.status in {"failed", "refused"} and "processors" in str(answer.reason) and "azure" in str(answer.remedy)
    home.planning.accelerator = "cuda"
    card = dict(home.view(await home.gateway.call("resume_run", {"run_id": run, "provider": "local"}, OWNER)).lines)
    assert "step 8 of" in card["Goes on from"]


async def test_the_money_of_the_attempt_before_is_settled_although_the_next_one_goes_on(home: RunHome, cloud: Cloud) -> None:
    cloud.script(trains(), trains())
    run = await home.begin(gpu="T4")
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    second = accrued(Decimal(home.row(run).plan.per_second), 1)  # times of executions have no parts of a second
    await home.until(lambda: home.reconciler.spent(home.row(run)) > second)
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    while not home.row(run).ended or home.runs.wanted(run).state in ALIVE:
        await asyncio.to_thread(home.reconciler.round)
    first = home.row(run).call_id
    answer = await home.gateway.call("resume_run", {"run_id": run}, OWNER)
    await home.gateway.decide(home.view(answer).id, "approve", OWNER)
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    spent = home.book.read(lambda db: used(db, call_id=first))
    assert home.row(run).call_id != first and spent.reserved == 0 and spent.settled > 0
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await home.until_over(run)


async def test_what_told_of_the_end_of_one_attempt_is_gone_before_the_next(home: RunHome, cloud: Cloud) -> None:
    run = await stopped(home, cloud)
    there, here = cloud.share_root / "runs" / run, home.local.folder(run)
    for folder in (there, here):
        (folder / "result.json").write_text(json.dumps({"outcome": "cancelled"}))
    cloud.script(trains())
    answer = await home.gateway.call("resume_run", {"run_id": run}, OWNER)
    await home.gateway.decide(home.view(answer).id, "approve", OWNER)
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    assert home.row(run).attempt == 2
    assert not (there / "result.json").exists() and not (here / "result.json").exists()
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await home.until_over(run)
