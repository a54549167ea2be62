"""Starting, listing and stopping executions, their replicas and the token for their logs."""

import random
import string
import time
from datetime import UTC, timedelta
from typing import Any

from tests.azure import arm_identity
from tests.azure.arm_calls import Call, Refused, Reply, Route, found, group_path, rid_of, route
from tests.azure.arm_operations import begin
from tests.azure.executions import RunnerExecution
from tests.azure.faults import Fault
from tests.azure.world import Execution, World


def start(world: World, call: Call) -> Reply:
    """Start one execution: 200 with its id and name, at once."""
    rid = _job(call)
    job = found(world, rid)
    if job["properties"]["provisioningState"] != "Succeeded":
        raise Refused(409, "JobNotReady", f"The job '{job['name']}' is {job['properties']['provisioningState']}.")
    begun = [_begin(world, job, call) for _ in range(2 if call.meets(Fault.TWICE) else 1)]
    return Reply(200, {"id": f"{job['id']}/executions/{begun[0].name}", "name": begun[0].name})


def _begin(world: World, job: dict[str, Any], call: Call) -> Execution:
    name = f"{job['name']}-{''.join(random.choices(string.ascii_lowercase + string.digits, k=7))}"
    template = (call.body or None) or job["properties"]["template"]
    limit = job["properties"]["configuration"]["replicaTimeout"]
    execution = Execution(name, job["id"].lower(), template, limit, world.now().replace(microsecond=0))
    if call.meets(Fault.LATE):
        execution.visible_at = time.monotonic() + call.option("seconds", 1)
    execution.gone = call.meets(Fault.GONE)
    world.executions.setdefault(job["id"].lower(), []).append(execution)
    execution.behaviour = world.scripts.pop(0) if world.scripts else RunnerExecution()
    execution.behaviour.start(world, execution)
    return execution


def executions(world: World, call: Call) -> Reply:
    """Of a job, in no particular order."""
    rid = _job(call)
    found(world, rid)
    rows = [_shown(rid, each) for each in world.executions.get(rid.lower(), []) if _visible(each)]
    random.shuffle(rows)
    return Reply(200, {"value": rows, "nextLink": None})


def execution(world: World, call: Call) -> Reply:
    """One of them."""
    return Reply(200, _shown(_job(call), _find(world, call)))


def stop(world: World, call: Call) -> Reply:
    """End one: it gets SIGTERM; 202, and 200 with a JSON string at the next look."""
    each = _find(world, call)
    if not each.ended.is_set() and each.behaviour is not None:
        each.behaviour.stop("stopped")
    return begin(world, call, "job", "", style="location", done=lambda: None, body="Success")


def stop_all(world: World, call: Call) -> Reply:
    """End every running one."""
    rid = _job(call)
    found(world, rid)
    running = [each for each in world.executions.get(rid.lower(), []) if not each.ended.is_set()]
    for each in running:
        if each.behaviour is not None:
            each.behaviour.stop("stopped")
    return Reply(200, {"value": [_shown(rid, each) for each in running]})


def replicas(world: World, call: Call) -> Reply:
    """Of one execution; none once it has ended, no container before it has a state to show."""
    each = _find(world, call)
    if each.ended.is_set():
        return Reply(200, {"value": []})
    stream = f"{world.addresses['arm']}/logstream/jobs/{call.ids['job']}/executions/{each.name}/replicas/{each.name}-0/containers/main"
    container = {"name": each.template["containers"][0].get("name", "main"), "containerId": "", "ready": each.running_state == "Running",
                 "started": each.running_state == "Running", "restartCount": 0, "runningState": each.running_state,
                 "runningStateDetails": each.detail, "logStreamEndpoint": stream, "execEndpoint": ""}
    return Reply(200, {"value": [{
        "id": f"{_job(call)}/executions/{each.name}/replicas/{each.name}-0", "name": f"{each.name}-0",
        "type": "Microsoft.App/jobs/executions/replicas",
        "properties": {"createdTime": each.started_at.isoformat(), "runningState": each.running_state, "runningStateDetails": each.detail,
                       "containers": [container] if each.running_state != "Waiting" or each.detail else []},
    }]})


def auth_token(world: World, call: Call) -> Reply:
    """A token for the log host, good for an hour, that ARM itself does not take."""
    rid = call.path.rstrip("/").rpartition("/")[0]
    kept = found(world, rid)
    expires = world.now() + timedelta(hours=1)
    value = arm_identity.token(world, "log-host-of-the-stand-in", 3600)
    return Reply(200, {"id": kept["id"], "name": kept["name"], "type": kept["type"], "location": kept["location"],
                       "properties": {"token": value, "expires": expires.astimezone(UTC).isoformat()}})


def _job(call: Call) -> str:
    return rid_of(call, "Microsoft.App/jobs", call.ids["job"])


def _visible(each: Execution) -> bool:
    return not each.gone and time.monotonic() >= each.visible_at


def _find(world: World, call: Call) -> Execution:
    rid = _job(call)
    found(world, rid)
    for each in world.executions.get(rid.lower(), []):
        if each.name == call.ids["execution"] and _visible(each):
            return each
    raise Refused(404, "JobExecutionNotFound", f"The job execution '{call.ids['execution']}' was not found.")


def _shown(rid: str, each: Execution) -> dict[str, Any]:
    template = {"containers": [{key: value for key, value in container.items() if key != "volumeMounts"}
                               for container in each.template["containers"]], "initContainers": None}
    job = rid.rpartition("/")[2]
    added = {"CONTAINER_APP_JOB_NAME": job, "CONTAINER_APP_JOB_EXECUTION_NAME": each.name, "CONTAINER_APP_REPLICA_NAME": f"{each.name}-0"}
    first = template["containers"][0]
    more = [{"name": key, "value": value} for key, value in added.items()]
    template["containers"][0] = {**first, "env": [*(first.get("env") or []), *more]}
    properties: dict[str, Any] = {"status": each.status, "startTime": each.started_at.isoformat(), "template": template}
    if each.ended_at is not None:
        properties["endTime"] = each.ended_at.replace(microsecond=0).isoformat()
    if each.reason:
        properties.update(reason=each.reason, message=each.message)
    if each.ended.is_set():
        container = {"name": first.get("name", "main"), "code": each.code, "status": each.status, "additionalInformation": each.reason}
        properties["detailedStatus"] = {"replicas": [{"name": f"{each.name}-0", "containers": [container]}]}
    return {"id": f"{rid}/executions/{each.name}", "name": each.name, "type": "Microsoft.App/jobs/executions", "properties": properties}


_JOB = group_path("Microsoft.App/jobs/{job}")
_EXECUTION = _JOB + "/executions/{execution}"
ROUTES: tuple[Route, ...] = (
    route("POST", _JOB + "/start", start, "start"), route("GET", _JOB + "/executions", executions), route("GET", _EXECUTION, execution),
    route("POST", _EXECUTION + "/stop", stop), route("POST", _JOB + "/stop", stop_all), route("GET", _EXECUTION + "/replicas", replicas),
    route("POST", _JOB + "/getAuthToken", auth_token),
)
