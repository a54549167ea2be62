"""Managed environments and the storages they may mount."""

import copy
from typing import Any

from tests.azure.arm_calls import Call, Refused, Reply, Route, found, group_path, need_group, need_provider, rid_of, route
from tests.azure.arm_operations import begin, read, remove, set_state
from tests.azure.world import DISPLAY, World

KIND = "Microsoft.App/managedEnvironments"


def put_environment(world: World, call: Call) -> Reply:
    """Create or change: 201 and an operation, Waiting until it ends."""
    need_provider(world, "Microsoft.App")
    need_group(world, call)
    rid = rid_of(call, KIND, call.ids["environment"])
    body = copy.deepcopy(call.body)
    region = body["location"].lower().replace(" ", "")
    properties: dict[str, Any] = body["properties"]
    offered = {each["name"] if each["name"].startswith("Consumption") else each["properties"]["displayName"]
               for each in world.profiles.get(region, [])}
    for each in properties.get("workloadProfiles") or []:
        if each["workloadProfileType"] not in offered:
            raise Refused(400, "WorkloadProfileTypeNotSupported", f"Workload profile type '{each['workloadProfileType']}' is not supported "
                          f"in region '{region}'.")
    logs = ((properties.get("appLogsConfiguration") or {}).get("logAnalyticsConfiguration")) or {}
    key = logs.pop("sharedKey", None)
    if logs:
        _check_logs(world, logs.get("customerId", ""), key)
        logs.update(sharedKey=None, dynamicJsonColumns=False)
    name = call.ids["environment"]
    old = world.resources.get(rid.lower())
    world.resources[rid.lower()] = {
        "id": rid, "name": name, "type": KIND, "location": DISPLAY.get(region, body["location"]), "tags": body.get("tags") or {},
        "systemData": {"createdBy": world.user, "createdByType": "User"},
        "properties": {
            **properties, "provisioningState": "Waiting", "daprAIInstrumentationKey": None, "vnetConfiguration": None,
            "defaultDomain": f"example-00000000.{region}.azurecontainerapps.io", "staticIp": "203.0.113.2",
            "eventStreamEndpoint": f"https://{region}.azurecontainerapps.dev{rid}/eventstream",
            "customDomainConfiguration": {"dnsSuffix": None}, "kedaConfiguration": {"version": "2.12.1"},
            "infrastructureResourceGroup": None,
        },
    }
    return begin(world, call, "environment", rid, style="async", done=set_state(world, rid, "Succeeded"),
                 failed=set_state(world, rid, "Failed"), status=201 if old is None else 200)


def _check_logs(world: World, customer: str, key: str | None) -> None:
    for each in world.of_type("Microsoft.OperationalInsights/workspaces"):
        if each["properties"]["customerId"] == customer:
            if key not in world.hidden[each["id"].lower()]:
                raise Refused(400, "InvalidRequestParameterWithDetails", "LogAnalyticsConfiguration.SharedKey is invalid.")
            return
    raise Refused(400, "InvalidRequestParameterWithDetails", f"LogAnalyticsConfiguration.CustomerId '{customer}' is invalid.")


def patch_environment(world: World, call: Call) -> Reply:
    """Change tags or workload profiles."""
    kept = found(world, rid_of(call, KIND, call.ids["environment"]))
    kept["tags"] = call.body.get("tags", kept["tags"])
    kept["properties"].update(call.body.get("properties") or {})
    return begin(world, call, "environment", kept["id"], style="location", done=set_state(world, kept["id"], "Succeeded"), body=kept)


def delete_environment(world: World, call: Call) -> Reply:
    """Only when nothing runs in it."""
    rid = rid_of(call, KIND, call.ids["environment"])
    found(world, rid)
    inside = [each["name"] for kind in ("jobs", "containerApps") for each in world.of_type(f"Microsoft.App/{kind}")
              if str(each["properties"].get("environmentId", "")).lower() == rid.lower()]
    if inside:
        raise Refused(409, "ManagedEnvironmentNotEmpty", f"The environment still has {', '.join(inside)}.")
    set_state(world, rid, "ScheduledForDelete")()
    return begin(world, call, "environment", rid, style="location", done=remove(world, rid))


def environments(world: World, call: Call) -> Reply:
    """Of a group or of the subscription."""
    start = f"/subscriptions/{call.ids['sub']}" + (f"/resourceGroups/{call.ids['group']}/" if "group" in call.ids else "/")
    return Reply(200, {"value": [each for each in world.of_type(KIND) if each["id"].lower().startswith(start.lower())]})


def put_storage(world: World, call: Call) -> Reply:
    """Name a share for mounting: at once, and the key is not read back."""
    environment = rid_of(call, KIND, call.ids["environment"])
    found(world, environment)
    sent = call.body["properties"]["azureFile"]
    keys = world.account_keys(sent["accountName"])
    if not keys:
        raise Refused(400, "InvalidRequestParameterWithDetails", f"AzureFile.AccountName '{sent['accountName']}' is invalid.")
    if "accountKey" in sent and sent["accountKey"] not in keys:
        raise Refused(400, "InvalidRequestParameterWithDetails", "AzureFile.AccountKey is invalid.")
    rid = f"{environment}/storages/{call.ids['storage']}"
    world.resources[rid.lower()] = {"id": rid, "name": call.ids["storage"], "type": "Microsoft.App/managedenvironments/storages",
                                    "properties": {"azureFile": {key: value for key, value in sent.items() if key != "accountKey"}}}
    return Reply(200, world.resources[rid.lower()])


def get_storage(world: World, call: Call) -> Reply:
    """One of them, with its own code when it is not there."""
    return Reply(200, found(world, call.path.rstrip("/"), "ManagedEnvironmentStorageNotFound"))


def storages(world: World, call: Call) -> Reply:
    """All of an environment."""
    start = rid_of(call, KIND, call.ids["environment"]).lower() + "/storages/"
    return Reply(200, {"value": [each for rid, each in world.resources.items() if rid.startswith(start)]})


def delete_storage(world: World, call: Call) -> Reply:
    """At once."""
    found(world, call.path.rstrip("/"), "ManagedEnvironmentStorageNotFound")
    remove(world, call.path.rstrip("/"))()
    return Reply(200)


_ENVIRONMENT = group_path("Microsoft.App/managedEnvironments/{environment}")
ROUTES: tuple[Route, ...] = (
    route("PUT", _ENVIRONMENT, put_environment, "environment"), route("GET", _ENVIRONMENT, read),
    route("PATCH", _ENVIRONMENT, patch_environment, "environment-change"), route("DELETE", _ENVIRONMENT, delete_environment),
    route("GET", group_path("Microsoft.App/managedEnvironments"), environments),
    route("GET", "/subscriptions/{sub}/providers/Microsoft.App/managedEnvironments", environments),
    route("PUT", _ENVIRONMENT + "/storages/{storage}", put_storage, "storage"),
    route("GET", _ENVIRONMENT + "/storages/{storage}", get_storage),
    route("DELETE", _ENVIRONMENT + "/storages/{storage}", delete_storage), route("GET", _ENVIRONMENT + "/storages", storages),
)
