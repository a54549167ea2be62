"""The job of a run: what is sent, and that a start begins one execution whatever the answer looks like."""

from dataclasses import replace

import pytest

from tests.azure.arm_prepared import prepare
from tests.azure.cloud import WORKSPACE, Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.faults import Fault
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.jobs import RUN_KEY, Jobs, JobSpec, StartUnknown, body
from tools.azure.place import CloudPlace, Shape
from tools.azure.trouble import AzureTrouble

RUN = "0123456789"
T4 = Shape("Consumption-GPU-NC8as-T4", 8, 56, 1, "T4", 16)
SPEC = JobSpec(RUN, 1, T4, 3600, "e" * 64, "2026-11-30T00:00:00.000000Z")
VALUES = {RUN_KEY: Hidden("0" * 64)}
START = r"/jobs/[^/]+/start$"


@pytest.fixture
def place(cloud: Cloud) -> CloudPlace:
    made = prepare(cloud.world, cloud.choice(), WORKSPACE)
    for name in ("runs/" + RUN, "engine/" + "e" * 64, "models"):
        (cloud.share_root / name).mkdir(parents=True)
    return made


@pytest.fixture
def jobs(azure: Azure, place: CloudPlace) -> Jobs:
    return Jobs(azure, place)


def _runs(cloud: Cloud, count: int = 1) -> None:
    cloud.script(*(ScriptedExecution(lambda run: None) for _ in range(count)))


def test_the_body_bounds_time_and_money_and_mounts_only_its_own_folders(place: CloudPlace) -> None:
    made = body(SPEC, place, WORKSPACE, VALUES)["properties"]
    assert made["configuration"]["replicaTimeout"] == 3600 and made["configuration"]["replicaRetryLimit"] == 0
    assert made["configuration"]["manualTriggerConfig"] == {"replicaCompletionCount": 1, "parallelism": 1}
    container = made["template"]["containers"][0]
    assert {each["mountPath"]: each.get("subPath") for each in container["volumeMounts"]} == {
        "/luthier/run": f"runs/{RUN}", "/luthier/engine": "engine/" + "e" * 64, "/luthier/models": "models", "/luthier/secrets": None}
    assert container["resources"] == {"cpu": 8, "memory": "56Gi"} and "@sha256:" in container["image"]
    assert container["args"][container["args"].index("--limit-s") + 1] == "3480"


def test_secrets_are_files_of_a_secret_volume_and_nowhere_else(place: CloudPlace) -> None:
    spec = replace(SPEC, secrets=(RUN_KEY, "hf-token"))
    made = body(spec, place, WORKSPACE, {RUN_KEY: Hidden("k" * 64), "hf-token": Hidden("hf_canary")})
    secrets = made["properties"]["configuration"].pop("secrets")
    assert {each["name"]: each["value"] for each in secrets} == {RUN_KEY: "k" * 64, "hf-token": "hf_canary"}
    assert "hf_canary" not in str(made) and "k" * 64 not in str(made)
    assert {"name": "HF_TOKEN_PATH", "value": "/luthier/secrets/hf-token"} in made["properties"]["template"]["containers"][0]["env"]


def test_the_digest_covers_everything_but_the_values_of_secrets(place: CloudPlace) -> None:
    def digest(spec: JobSpec, value: str = "a") -> str:
        return body(spec, place, WORKSPACE, {RUN_KEY: Hidden(value)})["tags"]["luthier-spec"]

    assert digest(SPEC) == digest(SPEC, "b")
    others = (replace(SPEC, attempt=2), replace(SPEC, timeout_s=60), replace(SPEC, engine="f" * 64))
    assert len({digest(each) for each in (SPEC, *others)}) == 4


def test_a_job_runs_by_digest_only(place: CloudPlace) -> None:
    with pytest.raises(AzureTrouble, match="digest"):
        body(SPEC, replace(place, image="docker.io/pytorch/pytorch:2.9"), WORKSPACE, VALUES)


def test_a_job_is_made_once_and_made_anew_when_its_attempt_is_another(cloud: Cloud, jobs: Jobs) -> None:
    jobs.put(SPEC, VALUES)
    jobs.put(SPEC, VALUES)
    assert len(cloud.bodies("PUT", "/jobs/")) == 1
    jobs.put(replace(SPEC, attempt=2), VALUES)
    assert len(cloud.bodies("PUT", "/jobs/")) == 2
    found = jobs.get(jobs.name(RUN))
    assert found is not None and found.ours and found.provisioning == "Succeeded"


def test_a_job_of_that_name_with_other_tags_is_left_alone(cloud: Cloud, jobs: Jobs) -> None:
    jobs.put(SPEC, VALUES)
    next(iter(cloud.world.of_type("Microsoft.App/jobs")))["tags"] = {"owner": "somebody"}
    with pytest.raises(AzureTrouble) as error:
        jobs.put(replace(SPEC, attempt=2), VALUES)
    assert error.value.trouble == "foreign" and len(cloud.bodies("PUT", "/jobs/")) == 1


def test_a_start_names_its_execution(cloud: Cloud, jobs: Jobs) -> None:
    jobs.put(SPEC, VALUES)
    _runs(cloud)
    name = jobs.start(jobs.name(RUN))
    (found,) = jobs.executions(jobs.name(RUN))
    assert (found.name, found.run_id, found.attempt, found.live) == (name, RUN, 1, True)


@pytest.mark.parametrize("fault", [
    Fault.ACCEPTED_503, Fault.ACCEPTED_503_RETRY_AFTER, Fault.TORN_BODY, Fault.TRUNCATED_JSON, Fault.EMPTY_200, Fault.DROP,
    Fault.ACCEPTED_202_THEN_200, Fault.ACCEPTED_202_THEN_204,
])
def test_a_start_without_a_clean_answer_is_unknown_and_begins_one_execution(cloud: Cloud, jobs: Jobs, fault: Fault) -> None:
    jobs.put(SPEC, VALUES)
    _runs(cloud, 4)
    cloud.faults.at("POST", START, fault)
    with pytest.raises(StartUnknown):
        jobs.start(jobs.name(RUN))
    assert len(cloud.executions) == 1 and len([each for each in cloud.requests if each[1].endswith("/start")]) == 1


@pytest.mark.parametrize("fault", [Fault.REFUSED_503, Fault.THROTTLED])
def test_a_start_that_was_not_carried_out_is_unknown_too(cloud: Cloud, jobs: Jobs, fault: Fault) -> None:
    jobs.put(SPEC, VALUES)
    cloud.faults.at("POST", START, fault)
    with pytest.raises(StartUnknown):
        jobs.start(jobs.name(RUN))
    assert cloud.executions == []


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.POLICY])
def test_a_refused_start_is_certain(cloud: Cloud, jobs: Jobs, fault: Fault) -> None:
    jobs.put(SPEC, VALUES)
    cloud.faults.at("POST", START, fault)
    with pytest.raises(AzureTrouble):
        jobs.start(jobs.name(RUN))


def test_a_stop_ends_an_execution_and_one_that_is_gone_is_stopped(cloud: Cloud, jobs: Jobs) -> None:
    jobs.put(SPEC, VALUES)
    _runs(cloud)
    name = jobs.start(jobs.name(RUN))
    jobs.stop(jobs.name(RUN), name)
    assert [each.status for each in jobs.executions(jobs.name(RUN))] == ["Stopped"]
    jobs.stop(jobs.name(RUN), "luthier-run-0123456789-zzzzzzz")


def test_only_jobs_with_our_tags_are_listed_and_deleted(cloud: Cloud, jobs: Jobs) -> None:
    jobs.put(SPEC, VALUES)
    assert [(each.run_id, each.profile) for each in jobs.managed()] == [(RUN, T4.name)]
    next(iter(cloud.world.of_type("Microsoft.App/jobs")))["tags"] = {}
    assert jobs.managed() == ()
    with pytest.raises(AzureTrouble):
        jobs.delete(jobs.name(RUN))


def test_a_job_is_deleted_once(jobs: Jobs) -> None:
    jobs.put(SPEC, VALUES)
    jobs.delete(jobs.name(RUN))
    jobs.delete(jobs.name(RUN))
    assert jobs.get(jobs.name(RUN)) is None


