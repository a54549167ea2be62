"""Bad weather line by line while a run is at work: through the person's door, to its settled end and the sentence that tells it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.verdict import Answer
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution, fails_at_once
from tests.azure.faults import Fault
from tests.azure.files_server import files_of
from tests.azure.logs_server import logs_of
from tests.azure.run_home import OWNER, QUICK, RunHome, reports, works
from tests.azure.weather import calm, told
from tests.azure.world import Execution
from tools.azure import pipeline
from tools.engine.manifest import write_manifest
from tools.runs.azure import AzureRuns
from tools.runs.cloud_row import Phase
from tools.runs.container import engine_package
from tools.runs.early_log import EarlyLog
from tools.runs.fetch import FetchResults
from tools.runs.keys import home_key, run_key
from tools.runs.look import TailLogs


class LookingHome(RunHome):
    """With the tools that look at a run and bring it home."""

    def open(self) -> None:
        """As the program opens a home."""
        super().open()
        self.tools["fetch_results"] = FetchResults(self.azure, self.prepared, self.runs, self.store, self.local)
        self.tools["tail_logs"] = TailLogs(self.runs, self.views, EarlyLog(self.azure, self.prepared, self.store))

    async def says(self, run_id: str) -> str:
        """What a person reads of a run's end."""
        answer = await self.gateway.call("run_status", {"run_id": run_id}, OWNER)
        assert answer.status == "done", answer
        return str(answer.result["reason"])

    async def use(self, tool: str, run_id: str) -> Answer:
        """A tool on the run."""
        return await self.gateway.call(tool, {"run_id": run_id}, OWNER)


class RealHome(LookingHome):
    """What goes up and comes back goes over the share's own protocol."""

    def package(self) -> str:
        """The digest of the program that is really sent."""
        return engine_package(self.places.root).digest

    def backend(self) -> AzureRuns:
        """With the product's own upload and download."""
        return AzureRuns(self.azure, self.prepared, self.places, self.local, self.secrets.get)


@pytest.fixture
def home(cloud: Cloud, tmp_path: Path) -> Iterator[LookingHome]:
    made = LookingHome(tmp_path / "home", cloud, waits=replace(QUICK, no_start=1))
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def real(cloud: Cloud, tmp_path: Path) -> Iterator[RealHome]:
    made = RealHome(tmp_path / "home", cloud)
    made.prepare()
    yield made
    made.close()


def at_put(fault: Fault, **options: Any) -> Callable[[Cloud], object]:
    """Each time the job is made."""
    return lambda cloud: cloud.faults.at("PUT", r"/jobs/", fault, times=100, **options)


def at_start(code: str, status: int = 400) -> Callable[[Cloud], object]:
    """Each time it is started."""
    return lambda cloud: cloud.faults.at("POST", r"/start$", Fault.ANSWER, times=100, status=status, code=code)


@pytest.mark.parametrize(("weather", "found", "remedy"), [
    pytest.param(at_put(Fault.UNREGISTERED), "A resource provider is not registered", "Run prepare_cloud", id="provider unregistered"),
    pytest.param(at_put(Fault.DENIED), "lacks the permission Microsoft.App/jobs/write", "Container Apps Jobs Contributor",
                 id="missing role"),
    pytest.param(at_put(Fault.POLICY), "A policy of your organisation", "exemption", id="policy"),
    pytest.param(at_put(Fault.ANSWER, status=400, code="ManagedEnvironmentInvalidWorkloadProfileType"), "does not offer this",
                 "another region", id="region without the profile"),
    pytest.param(at_put(Fault.OPERATION_FAILED, code="MaxRegionalQuotaExceeded", message="no"), "quota does not allow it",
                 "https://portal.azure.com/", id="quota 0"),
    pytest.param(at_put(Fault.ANSWER, status=409, code="ReadOnlyDisabledSubscription"), "The subscription is disabled",
                 "Have its owner enable it", id="subscription disabled"),
    pytest.param(at_start("AuthorizationFailed", 403), "not allowed", "Contributor", id="missing role at the start"),
])
async def test_a_run_that_cannot_begin_ends_with_a_remedy_and_costs_nothing(
    home: LookingHome, cloud: Cloud, weather: Callable[[Cloud], object], found: str, remedy: str,
) -> None:
    run = await home.begin(gpu="T4")
    weather(cloud)
    row = await home.until_over(run)
    said = await home.says(run)
    assert row.phase is Phase.FAILED and found in said and remedy in said, said
    assert cloud.executions == [] and home.money(run) == (0, 0)
    calm(home, cloud)


async def test_share_full_ends_the_upload_with_a_remedy_and_a_second_run_goes_on(real: RealHome, cloud: Cloud) -> None:
    files_of(cloud.world).quota_bytes = 100
    run = await real.begin(gpu="T4")
    row = await real.until_over(run)
    said = await real.says(run)
    assert row.phase is Phase.FAILED and "The share is full" in said and "raise its quota" in said
    assert cloud.executions == [] and real.money(run) == (0, 0)
    files_of(cloud.world).quota_bytes = None
    cloud.script(works())
    assert (await real.until_over(await real.begin(gpu="T4"))).phase is Phase.SUCCEEDED
    calm(real, cloud)


def pulls_for_ever() -> ScriptedExecution:
    """Its image never comes."""
    return ScriptedExecution(state="Waiting", detail="Container is waiting with reason: ImagePullBackOff")


def lingers(each: Execution) -> None:
    """Has its result, and Azure goes on calling it Running."""
    reports(each)
    each.status, each.running_state, each.ended_at = "Running", "Running", None
    each.ended.clear()


async def test_image_not_pulled_is_stopped_settled_and_told(home: LookingHome, cloud: Cloud) -> None:
    cloud.script(pulls_for_ever())
    run = await home.begin(gpu="T4")
    await home.until(lambda: bool(home.row(run).execution))
    shown = await home.use("run_status", run)
    assert "its image cannot be pulled" in str(shown.result["progress"])
    row = await home.until_over(run)
    said = await home.says(run)
    assert row.phase is Phase.FAILED and row.wish.kind == "no_start" and [each.status for each in cloud.executions] == ["Stopped"]
    assert "was stopped" in said and "Its image was not there" in said and "LUTHIER_AZURE_IMAGE" in said
    calm(home, cloud)


async def test_execution_failing_in_two_seconds_without_logs_is_tried_once_more_and_told(home: LookingHome, cloud: Cloud) -> None:
    cloud.script(fails_at_once(), fails_at_once(), works())
    run = await home.begin(gpu="T4")
    row = await home.until_over(run)
    said = await home.says(run)
    assert row.phase is Phase.FAILED and len(cloud.executions) == 2
    assert "the container never ran" in said and "choose a T4 or another region" in said
    calm(home, cloud)


async def test_result_written_but_execution_running_for_ever_is_stopped_and_the_result_counts(home: LookingHome, cloud: Cloud) -> None:
    cloud.script(ScriptedExecution(lingers))
    row = await home.until_over(await home.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and [each.status for each in cloud.executions] == ["Stopped"]
    calm(home, cloud)


async def test_a_read_that_times_out_after_the_start_was_taken_starts_nothing_again(
    home: LookingHome, cloud: Cloud, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "READ_S", 0.9)
    cloud.script(works(), works())
    cloud.faults.at("POST", r"/start$", Fault.HANG)
    row = await home.until_over(await home.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and len(cloud.executions) == 1
    calm(home, cloud)


async def test_an_execution_that_is_gone_is_looked_for_and_then_told(cloud: Cloud, tmp_path: Path) -> None:
    home = LookingHome(tmp_path / "home", cloud, waits=replace(QUICK, lost=0.2))
    home.prepare()
    cloud.faults.at("POST", r"/start$", Fault.GONE)
    run = await home.begin(gpu="T4")
    row = await home.until_over(run)
    assert row.phase is Phase.FAILED and "gone from Azure" in await home.says(run) and home.money(run)[1] > 0
    calm(home, cloud)
    home.close()


async def test_token_expired_mid_stream_is_asked_for_anew_and_no_line_is_lost(home: LookingHome, cloud: Cloud) -> None:
    cloud.script(ScriptedExecution())
    run = await home.begin(gpu="T4")
    await home.until(lambda: bool(home.row(run).execution))
    logs = logs_of(cloud.world)
    logs.say(cloud.executions[0].name, "pulling layers")
    logs.expired = 1
    answer = await home.use("tail_logs", run)
    assert answer.result["lines"] == ["pulling layers"] and len(logs.tokens) == 2
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await home.until_over(run)
    calm(home, cloud)


def leaves(home: LookingHome, name: str, planted: str = "") -> ScriptedExecution:
    """Ends well, and what it made is under this name; `planted` stands beside it on the share and in no manifest."""

    def began(each: Execution) -> None:
        folder = each.run_folder
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights")
        write_manifest(folder, folder.name, run_key(home_key(home.places.keys), folder.name).encode())
        if planted:
            (folder / planted).write_text("x")
        reports(each)
        (folder / "adapter" / "adapter_model.safetensors").unlink(missing_ok=True)

    return ScriptedExecution(began)


@pytest.mark.parametrize(("name", "planted", "found", "remedy"), [
    pytest.param("adapter/..\\..\\x", "", "cannot be used", "Rename or delete it on the share", id="hostile file names on the share"),
    pytest.param("adapter/adapter_model.bin", "", "safetensors only", "Nothing of it is loaded", id="an adapter that is not safetensors"),
    pytest.param("adapter/weights.PKL", "a:b", "safetensors only", "start a new run", id="a pickle beside a hostile name"),
])
async def test_what_must_not_come_here_is_refused_and_the_run_is_told_as_it_ended(
    real: RealHome, cloud: Cloud, name: str, planted: str, found: str, remedy: str,
) -> None:
    cloud.script(leaves(real, name, planted))
    run = await real.begin(gpu="T4")
    await real.until_over(run)
    assert found in await real.says(run)
    told(await real.use("fetch_results", run), "", found, remedy)
    assert not [each for each in real.local.folder(run).rglob("*") if each.suffix in (".bin", ".PKL")]
    calm(real, cloud)
