"""Jobs: what is sent, how it is read back, and their secrets."""

import copy
import re
from typing import Any

from tests.azure.arm_calls import Call, Refused, Reply, Route, found, group_path, need_group, need_provider, rid_of, route
from tests.azure.arm_operations import begin, read, remove, set_state
from tests.azure.world import DISPLAY, World

KIND = "Microsoft.App/jobs"


def put_job(world: World, call: Call) -> Reply:
    """Create or change: 201 or 200 and an operation."""
    need_provider(world, "Microsoft.App")
    need_group(world, call)
    rid = rid_of(call, KIND, call.ids["job"])
    check_name(call.ids["job"])
    old = world.resources.get(rid.lower())
    keep(world, rid, call.ids["job"], KIND, copy.deepcopy(call.body))
    configuration = world.resources[rid.lower()]["properties"]["configuration"]
    configuration["triggerType"] = configuration.get("triggerType", "Manual").capitalize()
    return begin(world, call, "job", rid, style="async", done=set_state(world, rid, "Succeeded"), failed=set_state(world, rid, "Failed"),
                 status=201 if old is None else 200)


def patch_job(world: World, call: Call) -> Reply:
    """Change parts: 202 and a Location."""
    rid = rid_of(call, KIND, call.ids["job"])
    keep(world, rid, call.ids["job"], KIND, merged(found(world, rid), call.body))
    return begin(world, call, "job", rid, style="location", done=set_state(world, rid, "Succeeded"), failed=set_state(world, rid, "Failed"),
                 body=lambda: world.resources.get(rid.lower()))


def merged(kept: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """A job or an app with the parts of a change in place of its own."""
    made = copy.deepcopy({**kept, "tags": sent.get("tags", kept["tags"])})
    for part in ("configuration", "template"):
        made["properties"][part].update(copy.deepcopy((sent.get("properties") or {}).get(part) or {}))
    return made


def delete_job(world: World, call: Call) -> Reply:
    """202, then 202 … 204. Its running executions end with it."""
    rid = rid_of(call, KIND, call.ids["job"])
    found(world, rid)

    def gone() -> None:
        for each in world.executions.get(rid.lower(), []):
            if each.behaviour is not None and not each.ended.is_set():
                each.behaviour.stop("stopped")
        remove(world, rid)()

    set_state(world, rid, "Deleting")()
    return begin(world, call, "job", rid, style="location", done=gone)


def jobs(world: World, call: Call) -> Reply:
    """Of a group or of the subscription, in two pages when there are many."""
    start = f"/subscriptions/{call.ids['sub']}" + (f"/resourceGroups/{call.ids['group']}/" if "group" in call.ids else "/")
    rows = [each for each in world.of_type(KIND) if each["id"].lower().startswith(start.lower())]
    first = int(call.query.get("$skiptoken", 0))
    page: dict[str, Any] = {"value": rows[first:first + 20]}
    if len(rows) > first + 20:
        page["nextLink"] = f"{call.base}{call.path}?api-version={call.query.get('api-version', '')}&$skiptoken={first + 20}"
    return Reply(200, page)


def list_secrets(world: World, call: Call) -> Reply:
    """With their values."""
    rid = call.path.rstrip("/").rpartition("/")[0]
    found(world, rid)
    return Reply(200, {"value": [{"name": name, "value": value} for name, value in world.hidden.get(rid.lower(), {}).items()]})


def check_name(name: str) -> None:
    """The rule of names. Raises Refused 400."""
    if not re.fullmatch(r"[a-z](?:[a-z0-9]|-(?!-)){0,30}[a-z0-9]", name):
        raise Refused(400, "ContainerAppInvalidName",
                      f"Invalid name '{name}': lower case letters, digits and single '-', 2 to 32 characters.")


def keep(world: World, rid: str, name: str, kind: str, body: dict[str, Any]) -> None:
    """Check what a job or an app refers to and keep it as it is read back. Raises Refused 400."""
    properties = body["properties"]
    environment = world.resources.get(str(properties.get("environmentId", "")).lower())
    if environment is None or environment["properties"]["provisioningState"] != "Succeeded":
        raise Refused(400, "ManagedEnvironmentInvalid",
                      f"The environment '{properties.get('environmentId')}' does not exist or is not ready.")
    profile = properties.get("workloadProfileName") or "Consumption"
    if profile not in [each["name"] for each in environment["properties"].get("workloadProfiles") or []]:
        raise Refused(400, "InvalidWorkloadProfileName", f"The workload profile '{profile}' does not exist in the environment.")
    configuration, template = properties.setdefault("configuration", {}), properties["template"]
    known = dict(world.hidden.get(rid.lower()) or {})
    world.hidden[rid.lower()] = {
        each["name"]: each.get("value") or known.get(each["name"], "") for each in configuration.get("secrets") or []}
    _check_volumes(world, environment["id"], template, set(world.hidden[rid.lower()]))
    world.resources[rid.lower()] = {
        "id": rid, "name": name, "type": kind, "tags": body.get("tags") or {},
        "location": DISPLAY.get(body["location"].lower().replace(" ", ""), body["location"]),
        "systemData": {"createdBy": world.user, "createdByType": "User", "createdAt": world.now().isoformat()},
        "identity": body.get("identity") or {"type": "None"},
        "properties": {
            **properties, "provisioningState": "InProgress", "workloadProfileName": profile,
            "configuration": {**configuration, "secrets": [{"name": each} for each in world.hidden[rid.lower()]] or None,
                              "registries": configuration.get("registries"),
                              "identitySettings": configuration.get("identitySettings") or [],
                              "dapr": None},
            "template": {**template, "containers": [_container(each) for each in template["containers"]],
                         "initContainers": template.get("initContainers"), "volumes": template.get("volumes") or None},
            "eventStreamEndpoint": f"https://westus3.azurecontainerapps.dev{rid}/eventstream",
        },
    }


def _container(sent: dict[str, Any]) -> dict[str, Any]:
    resources = sent.get("resources") or {"cpu": 0.5, "memory": "1Gi"}
    memory = re.sub(r"\.0+(?=Gi)", "", str(resources["memory"]))
    return {**sent, "imageType": "ContainerImage", "resources": {**resources, "memory": memory, "ephemeralStorage": ""}}


def _check_volumes(world: World, environment: str, template: dict[str, Any], secrets: set[str]) -> None:
    volumes = {each["name"]: each for each in template.get("volumes") or []}
    for each in volumes.values():
        if each["storageType"] == "AzureFile" and f"{environment}/storages/{each['storageName']}".lower() not in world.resources:
            raise Refused(400, "ContainerAppInvalidVolumeStorageName", f"The storage '{each['storageName']}' is not in the environment.")
        missing = {ref["secretRef"] for ref in each.get("secrets") or []} - secrets
        if missing:
            raise Refused(400, "ContainerAppSecretRefNotFound", f"The secret '{min(missing)}' is not among the secrets.")
    for container in template["containers"]:
        for mount in container.get("volumeMounts") or []:
            if mount["volumeName"] not in volumes:
                raise Refused(400, "ContainerAppInvalidVolumeMount", f"The volume '{mount['volumeName']}' is not among the volumes.")
        missing = {each["secretRef"] for each in container.get("env") or [] if "secretRef" in each} - secrets
        if missing:
            raise Refused(400, "ContainerAppSecretRefNotFound", f"The secret '{min(missing)}' is not among the secrets.")


_JOB = group_path("Microsoft.App/jobs/{job}")
ROUTES: tuple[Route, ...] = (
    route("PUT", _JOB, put_job, "job"), route("GET", _JOB, read), route("PATCH", _JOB, patch_job, "job-change"),
    route("DELETE", _JOB, delete_job),
    route("GET", group_path("Microsoft.App/jobs"), jobs), route("GET", "/subscriptions/{sub}/providers/Microsoft.App/jobs", jobs),
    route("POST", _JOB + "/listSecrets", list_secrets),
)
