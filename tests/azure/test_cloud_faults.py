"""What may go wrong with a run in the cloud while Luthier lives: one execution, money within its cap, a whole record."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution, fails_at_once, never_starts
from tests.azure.faults import Fault
from tests.azure.run_home import OWNER, RunHome, reports, trains, works
from tests.faults.proof import proves
from tests.policies.home import Home
from tools.runs.cloud_row import Phase


@pytest.fixture
def homes(cloud: Cloud, tmp_path: Path) -> Iterator[RunHome]:
    made = RunHome(tmp_path / "home", cloud)
    made.prepare()
    yield made
    made.close()


def _audited(home: RunHome) -> bool:
    """Whether every intent has one outcome."""
    records = Home(home.home, home.book, home.people).records()
    intents = [one["seq"] for one in records if one["kind"] == "intent"]
    return sorted(one["refs"]["intent"] for one in records if one["kind"] == "outcome") == intents


START = r"/start$"


@proves("F8", "a cloud request times out although it succeeded", "one execution, adopted by its run; the ledger within its cap")
@pytest.mark.parametrize("fault_", [
    Fault.ACCEPTED_503, Fault.ACCEPTED_503_RETRY_AFTER, Fault.TORN_BODY, Fault.TRUNCATED_JSON, Fault.EMPTY_200, Fault.DROP,
    Fault.ACCEPTED_202_THEN_200, Fault.ACCEPTED_202_THEN_204, Fault.LATE,
], ids=lambda each: each.name)
async def test_f7_f8_whatever_the_start_answers_it_runs_once(homes: RunHome, cloud: Cloud, fault_: Fault) -> None:
    cloud.script(works(), works(), works())
    cloud.faults.at("POST", START, fault_)
    row = await homes.until_over(await homes.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and len(cloud.executions) == 1


@proves("F9", "the cloud answers 429 or 503", "sent again after a wait, a few times; then it fails and the money is free again")
@pytest.mark.parametrize("fault_", [Fault.REFUSED_503, Fault.THROTTLED], ids=lambda each: each.name)
async def test_f9_a_start_that_was_not_taken_is_sent_again_after_the_wait(homes: RunHome, cloud: Cloud, fault_: Fault) -> None:
    cloud.script(works())
    cloud.faults.at("POST", START, fault_)
    row = await homes.until_over(await homes.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and row.seen.starts == 2 and len(cloud.executions) == 1


async def test_f9_a_cloud_that_is_always_busy_ends_in_a_failure_that_frees_the_money(homes: RunHome, cloud: Cloud) -> None:
    cloud.faults.at("PUT", r"/jobs/", Fault.THROTTLED, times=100, seconds=0)
    run = await homes.begin(gpu="T4")
    row = await homes.until_over(run)
    assert row.phase is Phase.FAILED and homes.money(run) == (0, 0) and cloud.executions == []


@proves("F10", "the cloud answers 409, or the name exists with other tags", "what is not ours is left alone; the run fails and says so")
async def test_f10_a_job_of_that_name_that_is_not_ours_is_left_alone(homes: RunHome, cloud: Cloud) -> None:
    run = await homes.begin(gpu="T4")
    place = homes.prepared.get()
    assert place is not None
    name = homes.azure.names(place.subscription, place.group).job(run)
    rid = f"/subscriptions/{place.subscription}/resourceGroups/{place.group}/providers/Microsoft.App/jobs/{name}"
    cloud.world.resources[rid.lower()] = {"id": rid, "name": name, "type": "Microsoft.App/jobs", "location": "West US 3",
                                          "tags": {"owner": "somebody"}, "properties": {"provisioningState": "Succeeded"}}
    row = await homes.until_over(run)
    assert row.phase is Phase.FAILED and "not ours" in row.seen.end["reason"] and cloud.executions == []
    assert homes.money(run) == (0, 0)


@proves("F11", "the cloud never reports the end of a job", "stopped two minutes after its result, which counts")
async def test_f11_a_result_with_an_execution_that_runs_on_is_stopped_and_counts(homes: RunHome, cloud: Cloud) -> None:
    def began(each: Any) -> None:
        reports(each)
        each.status, each.running_state, each.ended_at = "Running", "Running", None
        each.ended.clear()

    cloud.script(ScriptedExecution(began))
    row = await homes.until_over(await homes.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and row.wish.kind == "finished" and cloud.executions[0].status == "Stopped"


@proves("F12", "a cloud container never starts", "stopped after 15 minutes by the standing order; what it cost is settled")
@proves("F13", "the heartbeat of a cloud job is lost while the job lives", "stopped after ten minutes by the standing order")
@pytest.mark.parametrize(("behaviour", "order", "phase"), [
    pytest.param(never_starts, "no_start", Phase.FAILED, id="F12 never starts"),
    pytest.param(trains, "silence", Phase.STOPPED, id="F13 heartbeat lost"),
])
async def test_a_run_that_only_costs_money_is_stopped(
    homes: RunHome, cloud: Cloud, behaviour: Callable[[], ScriptedExecution], order: str, phase: Phase,
) -> None:
    cloud.script(behaviour())
    row = await homes.until_over(await homes.begin(gpu="T4"))
    assert row.wish.kind == order and row.phase is phase and cloud.executions[0].status == "Stopped"
    assert homes.money(row.run_id)[0] == 0


async def test_an_execution_that_fails_at_once_is_tried_once_more(homes: RunHome, cloud: Cloud) -> None:
    cloud.script(fails_at_once(), works())
    row = await homes.until_over(await homes.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and row.attempt == 2 and len(cloud.executions) == 2


async def test_two_executions_for_one_start_become_one(homes: RunHome, cloud: Cloud) -> None:
    cloud.script(trains(), trains())
    cloud.faults.at("POST", START, Fault.TWICE)
    run = await homes.begin(gpu="T4")
    await homes.until(lambda: sum(each.status == "Running" for each in cloud.executions) == 1 and len(cloud.executions) == 2)
    assert next(each for each in cloud.executions if each.status == "Running").name == homes.row(run).execution
    await homes.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await homes.until_over(run)


async def test_f24_a_stop_while_it_is_uploaded_starts_nothing(homes: RunHome, cloud: Cloud) -> None:
    run = await homes.begin(gpu="T4")
    await homes.gateway.call("cancel_run", {"run_id": run}, OWNER)
    row = await homes.until_over(run)
    assert row.phase is Phase.STOPPED and cloud.executions == [] and homes.money(run) == (0, 0)


@proves("F14", "the program is dead for hours while a cloud job runs", "found again, brought up to date, settled")
async def test_f14_what_went_on_while_luthier_was_away_is_settled_at_its_return(homes: RunHome, cloud: Cloud) -> None:
    cloud.script(trains())
    run = await homes.begin(gpu="T4")
    await homes.until(lambda: homes.row(run).phase is Phase.RUNNING)
    homes.close()
    reports(cloud.executions[0])
    homes.open()
    await homes.gateway.recover()
    row = await homes.until_over(run)
    assert row.phase is Phase.SUCCEEDED and homes.money(run)[0] == 0 and _audited(homes)


async def test_a_hostile_name_in_the_runs_folder_hides_nothing(homes: RunHome, cloud: Cloud) -> None:
    def began(each: Any) -> None:
        (each.run_folder / "con..txt ").write_text("x")
        (each.run_folder / "a:b").write_text("x")
        reports(each)

    cloud.script(ScriptedExecution(began))
    row = await homes.until_over(await homes.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED
