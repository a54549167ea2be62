"""Fetching the results of a run in the cloud: verified, repeatable, and refused where there is nothing to fetch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.people import Caller
from policies.verdict import Answer
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.run_home import OWNER, RunHome, reports, trains, works
from tests.azure.world import Execution
from tools.engine.checkpoints import Checkpoints
from tools.engine.manifest import write_manifest
from tools.runs.fetch import FetchResults
from tools.runs.keys import home_key, run_key


class FetchHome(RunHome):
    """A home that fetches."""

    def open(self) -> None:
        """With the tool."""
        super().open()
        self.tools["fetch_results"] = FetchResults(self.azure, self.prepared, self.runs, self.store, self.local)

    async def fetch(self, run: str, caller: Caller = OWNER) -> Answer:
        """Fetch a run."""
        return await self.gateway.call("fetch_results", {"run_id": run}, caller)

    def key(self, run: str) -> bytes:
        """The run's key."""
        return run_key(home_key(self.places.keys), run).encode()


@pytest.fixture
def home(cloud: Cloud, tmp_path: Path) -> Iterator[FetchHome]:
    made = FetchHome(tmp_path / "home", cloud)
    made.prepare()
    yield made
    made.close()


def finishes(home: FetchHome) -> ScriptedExecution:
    """Ends well, with a manifest under the run's key."""

    def began(execution: Execution) -> None:
        folder = execution.run_folder
        (folder / "served").mkdir()
        (folder / "served" / "genai_config.json").write_text("{}")
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
        write_manifest(folder, folder.name, home.key(folder.name))
        reports(execution)

    return ScriptedExecution(began)


async def test_what_a_run_made_is_here_and_verified_and_a_second_call_changes_nothing(home: FetchHome, cloud: Cloud):
    cloud.script(finishes(home))
    run = await home.begin()
    await home.until_over(run)
    answer = await home.fetch(run)
    assert answer.status == "done" and answer.result["verified"] is True, answer.reason
    assert answer.result["files"] == ["adapter/adapter_model.safetensors", "served/genai_config.json"]
    assert answer.result["path"] == str(home.local.folder(run))
    assert (home.local.folder(run) / "served" / "genai_config.json").read_text() == "{}"
    assert (await home.fetch(run)).result == answer.result


async def test_of_a_run_that_was_stopped_its_last_checkpoint_is_brought(home: FetchHome, cloud: Cloud):
    def began(execution: Execution) -> None:
        path = execution.run_folder / "checkpoints" / "checkpoint-7"
        path.mkdir(parents=True)
        (path / "adapter_model.safetensors").write_bytes(b"so far")
        Checkpoints(path.parent, home.key(execution.run_folder.name)).seal(7)
        reports(execution, end=False)

    cloud.script(ScriptedExecution(began))
    run = await home.begin()
    await home.until(lambda: bool(home.row(run).seen.started))
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await home.until_over(run)
    answer = await home.fetch(run)
    assert answer.status == "done" and answer.result["verified"] is True, answer.reason
    assert "checkpoint-7" in str(answer.result["message"])
    assert (home.local.folder(run) / "checkpoints" / "checkpoint-7" / "complete.json").exists()


async def test_a_run_that_is_still_at_work_is_not_fetched(home: FetchHome, cloud: Cloud):
    cloud.script(trains())
    run = await home.begin()
    await home.until(lambda: bool(home.row(run).seen.started))
    answer = await home.fetch(run)
    assert answer.status == "failed" and "still" in answer.reason and "cancel_run" in answer.remedy


async def test_a_run_of_this_machine_has_nothing_to_fetch(home: FetchHome, cloud: Cloud):
    cloud.script(works())
    run = await home.begin()
    await home.until_over(run)
    answer = await home.fetch("zzzzzzzzzz")
    assert answer.status == "failed" and "no such run" in answer.reason


async def test_what_another_put_there_is_not_believed(home: FetchHome, cloud: Cloud):
    cloud.script(finishes(home))
    run = await home.begin()
    await home.until_over(run)
    folder = cloud.share_root / "runs" / run
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"planted")
    write_manifest(folder, run, b"somebody else's key, long enough")
    answer = await home.fetch(run)
    assert answer.status == "failed" and "seal" in answer.reason


async def test_when_the_place_is_gone_it_says_so(home: FetchHome, cloud: Cloud):
    cloud.script(works())
    run = await home.begin()
    await home.until_over(run)
    home.prepared.forget(home.row(run).region)
    answer = await home.fetch(run)
    assert answer.status == "failed" and "not prepared" in answer.reason
