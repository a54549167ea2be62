"""What a look at a run in the cloud makes of late starts, of a job that is gone, and of a disk that fails."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.azure.cloud import Cloud
from tests.azure.executions import fails_at_once
from tests.azure.faults import Fault
from tests.azure.lives import Runs
from tests.azure.run_home import OWNER, RunHome, trains, works
from tests.azure.world import new_key
from tools.runs.cloud_row import Phase

START = r"/start$"


async def test_what_the_first_of_two_starts_wrote_before_the_second_counts(home: RunHome, cloud: Cloud) -> None:
    cloud.script(trains())
    run = await home.begin(gpu="T4")
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    row = home.row(run)
    assert row.requested_at is not None
    assert home.backend().observe(replace(row, requested_at=row.requested_at + timedelta(seconds=95))).started


async def test_the_next_attempt_runs_a_job_that_was_made_for_it(home: RunHome, cloud: Cloud) -> None:
    cloud.script(fails_at_once(), works())
    row = await home.until_over(await home.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED
    assert [each.environment["LUTHIER_ATTEMPT"] for each in cloud.executions] == ["1", "2"]


@pytest.mark.parametrize(("stops", "phase"), [(False, Phase.FAILED), (True, Phase.STOPPED)], ids=["goes on", "is stopped"])
async def test_a_job_that_is_gone_while_nobody_knows_of_its_start_ends_the_run(
    home: RunHome, cloud: Cloud, stops: bool, phase: Phase,
) -> None:
    cloud.faults.at("POST", START, Fault.REFUSED_503)
    run = await home.begin(gpu="T4")
    await home.until(lambda: home.row(run).phase is Phase.START_UNKNOWN)
    for rid in [rid for rid, each in cloud.world.resources.items() if str(each.get("type", "")).lower() == "microsoft.app/jobs"]:
        del cloud.world.resources[rid]
    if stops:
        await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    row = await home.until_over(run)
    assert row.phase is phase and cloud.executions == [] and home.money(run) == (0, 0)


async def test_of_a_run_that_did_not_finish_nothing_is_downloaded_by_itself(home: RunHome, cloud: Cloud) -> None:
    cloud.script(works())
    row = await home.until_over(await home.begin(gpu="T4"))
    shutil.rmtree(home.local.folder(row.run_id) / "adapter")
    assert home.backend().fetch(row.remembering(end={"state": "failed"}), lambda text, share: None) == ""
    assert not (home.local.folder(row.run_id) / "adapter").exists()


async def test_a_run_whose_rows_are_gone_from_this_machine_fails_and_says_so(home: RunHome, cloud: Cloud) -> None:
    answer = await home.ask(gpu="T4")
    done = await home.gateway.decide(home.view(answer).id, "approve", OWNER)
    assert done.answer is not None
    run = str(done.answer.result["run_id"])
    shutil.rmtree(home.local.folder(run) / "data")
    row = await home.until_over(run)
    assert row.phase is Phase.FAILED and "No such file" in row.seen.end["reason"] and home.money(run) == (0, 0)


async def test_luthier_upgraded_between_the_yes_and_the_upload_ends_the_run_before_anything_is_started(
    tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Runs, "package", lambda self: "0" * 32)
    home = Runs(tmp_path / "home", cloud)
    home.prepare()
    try:
        row = await home.until_over(await home.started())
        assert row.phase is Phase.FAILED and "Luthier was upgraded between your yes and the upload." in row.seen.end["reason"]
        assert home.money(row.run_id) == (0, 0) and cloud.executions == [] and cloud.world.of_type("Microsoft.App/jobs") == []
    finally:
        home.close()


async def test_a_storage_key_that_was_changed_since_the_place_was_prepared_is_in_the_links_before_a_run_starts(
    home: RunHome, cloud: Cloud,
) -> None:
    rid, account = next((rid, each) for rid, each in cloud.world.resources.items() if each["type"] == "Microsoft.Storage/storageAccounts")
    cloud.world.hidden[rid] = [new_key(), new_key()]
    account["properties"]["keyCreationTime"] = {"key1": (cloud.world.now() + timedelta(hours=1)).isoformat()}
    cloud.script(works())
    row = await home.until_over(await home.begin(gpu="T4"))
    linked = [each for each in cloud.world.sent if each.method == "PUT" and "/storages/" in each.path]
    assert row.phase is Phase.SUCCEEDED
    assert [each.body["properties"]["azureFile"]["accountKey"] for each in linked] == 2 * [cloud.world.hidden[rid][0]]


async def test_the_links_of_a_place_stay_as_they_are_while_its_key_does(home: RunHome, cloud: Cloud) -> None:
    cloud.script(works())
    await home.until_over(await home.begin(gpu="T4"))
    assert [each for each in cloud.world.sent if each.method == "PUT" and "/storages/" in each.path] == []
