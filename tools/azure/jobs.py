"""The Container Apps job of a run: what is sent, how it is started effectively once, and what its executions say."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.names import EXPIRES, RUN, SPEC, is_ours, tags
from tools.azure.place import ENGINE_MOUNT, MODELS_MOUNT, READ_ONLY, READ_WRITE, RUN_MOUNT, SECRETS_MOUNT, CloudPlace, Shape
from tools.azure.trouble import AzureTrouble

MARGIN_S = 120
"""Seconds before the platform's time limit at which the runner ends by itself, so that results land."""
BEAT_S = 30
RUN_KEY, HF_TOKEN = "run-key", "hf-token"
"""The job's secrets; each is a file of the Secret volume."""
OVER = frozenset({"Succeeded", "Failed", "Stopped"})
"""Statuses after which an execution does nothing more; any other word, known or not, may still cost money."""


class StartUnknown(Exception):
    """The start was sent, and whether it began anything is not known: look at the list, and send nothing blindly."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt of a run as a job."""

    run_id: str
    attempt: int
    shape: Shape
    timeout_s: int
    engine: str
    """Digest of the uploaded engine package."""
    expires: str
    """ISO 8601 UTC."""
    secrets: tuple[str, ...] = (RUN_KEY,)


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as Azure tells of it."""

    name: str
    status: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    run_id: str = ""
    attempt: int = 0
    """0 where its record does not say."""
    exit_code: int | None = None
    reason: str = ""
    """Azure's own word, such as BackoffLimitExceeded; letters and digits only."""

    @property
    def live(self) -> bool:
        """Whether it may still cost money."""
        return self.status not in OVER


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as it is in Azure now."""

    name: str
    provisioning: str
    spec: str
    """Digest of the body that made it."""
    ours: bool


@dataclass(frozen=True, slots=True)
class ManagedJob:
    """A job that bears our tags."""

    name: str
    run_id: str
    profile: str
    expires: str
    created_at: datetime | None
    provisioning: str


def body(spec: JobSpec, place: CloudPlace, workspace: str, values: Mapping[str, Hidden] | None = None) -> dict[str, Any]:
    """The job as it is sent. The digest in its tags covers everything but the secrets' values. AzureTrouble without an image digest."""
    if "@sha256:" not in place.image:
        raise AzureTrouble("not_prepared", f"Start the run {spec.run_id} in {place.region}", "its image was never resolved to a digest.",
                           "Run prepare_cloud again: jobs run by digest only.")
    command = [
        "python3", f"{ENGINE_MOUNT}/tools/runs/runner.py", RUN_MOUNT, "--engine", "python3", "--root", ENGINE_MOUNT,
        "--boot", f"{ENGINE_MOUNT}/tools/runs/boot.py", "--attempt", str(spec.attempt), "--owner-env", "CONTAINER_APP_JOB_EXECUTION_NAME",
        "--limit-s", str(max(60, spec.timeout_s - MARGIN_S)), "--beat-s", str(BEAT_S),
    ]
    plain = {
        "LUTHIER_RUN_ID": spec.run_id, "LUTHIER_ATTEMPT": str(spec.attempt), "LUTHIER_RUN": RUN_MOUNT, "LUTHIER_ENGINE": ENGINE_MOUNT,
        "LUTHIER_MODELS": MODELS_MOUNT, "LUTHIER_SECRETS": SECRETS_MOUNT, "LUTHIER_IMAGE": place.image,
        "LUTHIER_ACCELERATOR": "cuda" if spec.shape.gpus else "cpu",
        **({"HF_TOKEN_PATH": f"{SECRETS_MOUNT}/{HF_TOKEN}"} if HF_TOKEN in spec.secrets else {}),
    }
    properties: dict[str, Any] = {
        "environmentId": place.environment_id, "workloadProfileName": spec.shape.name,
        "configuration": {
            "triggerType": "Manual", "replicaTimeout": spec.timeout_s, "replicaRetryLimit": 0,
            "manualTriggerConfig": {"replicaCompletionCount": 1, "parallelism": 1},
        },
        "template": {
            "containers": [{
                "name": "luthier", "image": place.image, "command": command[:1], "args": command[1:],
                "env": [{"name": name, "value": value} for name, value in plain.items()],
                "resources": {"cpu": spec.shape.vcpu, "memory": f"{spec.shape.gib:g}Gi"},
                "volumeMounts": [
                    {"volumeName": "run", "mountPath": RUN_MOUNT, "subPath": f"runs/{spec.run_id}"},
                    {"volumeName": "fixed", "mountPath": ENGINE_MOUNT, "subPath": f"engine/{spec.engine}"},
                    {"volumeName": "fixed", "mountPath": MODELS_MOUNT, "subPath": "models"},
                    {"volumeName": "secrets", "mountPath": SECRETS_MOUNT},
                ],
            }],
            "volumes": [
                {"name": "run", "storageType": "AzureFile", "storageName": READ_WRITE, "mountOptions": "nobrl"},
                {"name": "fixed", "storageType": "AzureFile", "storageName": READ_ONLY, "mountOptions": "nobrl"},
                {"name": "secrets", "storageType": "Secret", "secrets": [{"secretRef": name, "path": name} for name in spec.secrets]},
            ],
        },
    }
    digest = hashlib.sha256(json.dumps([properties, list(spec.secrets)], sort_keys=True).encode()).hexdigest()[:32]
    properties["configuration"]["secrets"] = [
        {"name": name, "value": values[name].reveal() if values else ""} for name in spec.secrets]
    return {"location": place.region, "tags": tags(workspace, run=spec.run_id, expires=spec.expires, spec=digest), "properties": properties}


class Jobs:
    """The jobs of one place. Every method raises AzureTrouble, and so does making one where another subscription is in use."""

    def __init__(self, azure: Azure, place: CloudPlace) -> None:
        azure.check_subscription(place.subscription, f"The jobs in {place.region} were not looked at")
        self._azure, self._place, self._group = azure, place, place.group

    def name(self, run_id: str) -> str:
        """The name of a run's job."""
        return self._azure.names(self._place.subscription, self._group).job(run_id)

    def body(self, spec: JobSpec, values: Mapping[str, Hidden] | None = None) -> dict[str, Any]:
        """As the function of this name."""
        return body(spec, self._place, self._azure.workspace, values)

    def get(self, job: str) -> JobState | None:
        """The job as it is; None when there is none."""
        try:
            found = self._azure.call(f"Look at the job {job}", lambda: self._azure.containers().jobs.get(self._group, job))
        except AzureTrouble as trouble:
            if trouble.trouble == "not_found":
                return None
            raise
        marks = dict(found.tags or {})
        return JobState(job, _text(found.properties and found.properties.provisioning_state), marks.get(SPEC, ""),
                        is_ours(marks, self._azure.workspace))

    def put(self, spec: JobSpec, values: Mapping[str, Hidden]) -> None:
        """Make the job what `spec` says, if it is not that already. `foreign` when a job of this name is not ours."""
        wanted = self.body(spec, values)
        job = self.name(spec.run_id)
        found = self.get(job)
        if found is not None and not found.ours:
            raise AzureTrouble("foreign", f"Make the job {job}", f"a job of this name is in {self._group} and bears other tags.",
                               "Look at it in the portal; Luthier leaves it alone. Start a new run.")
        if found is not None and found.spec == wanted["tags"][SPEC] and found.provisioning == "Succeeded":
            return
        self._azure.wait(f"Make the job {job}", lambda: self._azure.containers().jobs.begin_create_or_update(self._group, job, wanted))

    def start(self, job: str) -> str:
        """Send the start once; the execution's name. StartUnknown unless it certainly began nothing, which is an AzureTrouble."""
        try:
            poller = self._azure.send_once(
                f"Start the job {job}",
                lambda: self._azure.containers().jobs.begin_start(self._group, job, retry_total=0, polling=False).result())
        except AzureTrouble as trouble:
            if is_certain(trouble):
                raise
            raise StartUnknown(str(trouble)) from trouble
        name = getattr(poller, "name", None)
        if not isinstance(name, str) or not name:
            raise StartUnknown("Azure took the start and named no execution.")
        return name

    def executions(self, job: str) -> tuple[Execution, ...]:
        """Every execution that Azure still knows, the oldest first. `not_found` when the job is gone."""
        found = self._azure.call(f"List the executions of {job}",
                                 lambda: list(self._azure.containers().jobs_executions.list(self._group, job)))
        return in_order([execution_of(each) for each in found])

    def stop(self, job: str, execution: str) -> None:
        """Ask an execution to end. One that is gone is stopped."""
        try:
            self._azure.call(f"Stop {execution}", lambda: self._azure.containers().jobs.begin_stop_execution(
                self._group, job, execution, polling=False))
        except AzureTrouble as trouble:
            if trouble.trouble != "not_found":
                raise

    def delete(self, job: str) -> None:
        """Delete a job that is ours; one that is gone is deleted."""
        found = self.get(job)
        if found is None:
            return
        if not found.ours:
            raise AzureTrouble("foreign", f"Delete the job {job}", "it does not bear our tags.", "Luthier leaves it alone.")
        try:
            self._azure.wait(f"Delete the job {job}", lambda: self._azure.containers().jobs.begin_delete(self._group, job))
        except AzureTrouble as trouble:
            if trouble.trouble != "not_found":
                raise

    def managed(self) -> tuple[ManagedJob, ...]:
        """Every job of the group that bears our tags."""
        found = self._azure.call(f"List the jobs of {self._group}",
                                 lambda: list(self._azure.containers().jobs.list_by_resource_group(self._group)))
        return tuple(_managed(each) for each in found if is_ours(dict(each.tags or {}), self._azure.workspace))


def is_certain(trouble: AzureTrouble) -> bool:
    """Whether what was sent certainly had no effect: a 4xx other than 408 and 429, or it never left this machine."""
    known = 400 <= trouble.status < 500 and trouble.status not in {408, 429}
    return known or trouble.trouble in {"signin", "not_installed", "refused_host", "foreign"}


def in_order(found: Sequence[Execution]) -> tuple[Execution, ...]:
    """Oldest first; Azure gives no order, and times have a resolution of one second."""
    return tuple(sorted(found, key=lambda each: (each.started_at or datetime.max.replace(tzinfo=UTC), each.name)))


def execution_of(found: Any) -> Execution:
    """An execution out of the client's model. What is missing is empty."""
    told = found.properties or {}
    env: dict[str, str] = {}
    template = told.get("template") or {}
    for container in template.get("containers") or ():
        env.update({each["name"]: str(each.get("value") or "") for each in container.get("env") or () if each.get("name")})
    codes = [one.get("code") for replica in (told.get("detailedStatus") or {}).get("replicas") or ()
             for one in replica.get("containers") or ()]
    attempt = env.get("LUTHIER_ATTEMPT", "")
    return Execution(
        str(found.name or ""), _text(told.get("status")), _moment(told.get("startTime")), _moment(told.get("endTime")),
        env.get("LUTHIER_RUN_ID", ""), int(attempt) if attempt.isdecimal() else 0,
        next((code for code in codes if isinstance(code, int)), None), "".join(c for c in _text(told.get("reason")) if c.isalnum())[:60],
    )


def _managed(found: Any) -> ManagedJob:
    marks = dict(found.tags or {})
    properties = found.properties or {}
    made = found.system_data.created_at if found.system_data else None
    return ManagedJob(str(found.name), marks.get(RUN, ""), str(properties.get("workloadProfileName") or ""), marks.get(EXPIRES, ""),
                      _moment(made), _text(properties.get("provisioningState")))


def _text(value: Any) -> str:
    return str(getattr(value, "value", value) or "")


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
