"""Container apps: create, change, stop, start, revisions, replicas, secrets."""

import copy
import hashlib
import json
from typing import Any

from tests.azure.arm_calls import Call, Refused, Reply, Route, found, group_path, need_group, need_provider, rid_of, route
from tests.azure.arm_executions import auth_token
from tests.azure.arm_jobs import check_name, keep, list_secrets, merged
from tests.azure.arm_operations import begin, read, remove, set_state
from tests.azure.arm_replicas import AppSide, Revision
from tests.azure.world import World

KIND = "Microsoft.App/containerApps"


def put_app(world: World, call: Call) -> Reply:
    """Create or change: 201 and an operation; a changed template makes a revision."""
    need_provider(world, "Microsoft.App")
    need_group(world, call)
    check_name(call.ids["app"])
    rid = rid_of(call, KIND, call.ids["app"])
    old = world.resources.get(rid.lower())
    _keep(world, rid, call.ids["app"], copy.deepcopy(call.body))
    return begin(world, call, "app", rid, style="async", done=_ready(world, rid), failed=set_state(world, rid, "Failed"),
                 status=201 if old is None else 200)


def patch_app(world: World, call: Call) -> Reply:
    """Change parts: 202 and a Location."""
    rid = rid_of(call, KIND, call.ids["app"])
    _keep(world, rid, call.ids["app"], merged(found(world, rid), call.body))
    return begin(world, call, "app", rid, style="location", done=_ready(world, rid), failed=set_state(world, rid, "Failed"),
                 body=lambda: world.resources.get(rid.lower()))


def _keep(world: World, rid: str, name: str, body: dict[str, Any]) -> None:
    before = world.resources.get(rid.lower())
    ready = (before or {}).get("properties", {}).get("latestReadyRevisionName")
    rules = (body["properties"]["configuration"].get("ingress") or {}).get("ipSecurityRestrictions") or []
    if len({each["action"] for each in rules}) > 1:
        raise Refused(400, "IpSecurityRestrictionsInvalid", "All rules must be Allow, or all Deny.")
    keep(world, rid, name, KIND, body)
    app = world.resources[rid.lower()]
    properties, template = app["properties"], app["properties"]["template"]
    template["scale"] = {"minReplicas": None, "maxReplicas": 10, "cooldownPeriod": 300, "pollingInterval": 30,
                         **(template.get("scale") or {})}
    suffix = template.get("revisionSuffix") or hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:7]
    side = world.apps.get(rid.lower())
    if side is None:
        side = world.apps[rid.lower()] = AppSide(world, rid)
    revision, old = f"{name}--{suffix}", {each.name: each for each in side.revisions}
    if revision in old and old[revision].template != template:
        world.resources[rid.lower()] = before or app
        raise Refused(400, "ContainerAppInvalidRevisionSuffix", f"The revision '{revision}' exists already with another template.")
    ingress = properties["configuration"].get("ingress")
    if ingress:
        ingress.update(fqdn=f"127.0.0.1:{side.port}", transport=str(ingress.get("transport", "Auto")).capitalize(), customDomains=None)
    mode = properties["configuration"].setdefault("activeRevisionsMode", "Single")
    properties.update(managedEnvironmentId=properties["environmentId"], latestRevisionName=revision, latestReadyRevisionName=ready,
                      latestRevisionFqdn=f"127.0.0.1:{side.port}", runningStatus="Stopped" if side.stopped else "Running",
                      outboundIpAddresses=["203.0.113.4"], patchingMode="Automatic")
    side.add(revision, template, mode == "Single")


def _ready(world: World, rid: str) -> Any:
    def change() -> None:
        set_state(world, rid, "Succeeded")()
        properties = world.resources[rid.lower()]["properties"]
        properties["latestReadyRevisionName"] = properties["latestRevisionName"]

    return change


def get_app(world: World, call: Call) -> Reply:
    """One app."""
    return Reply(200, found(world, rid_of(call, KIND, call.ids["app"])))


def delete_app(world: World, call: Call) -> Reply:
    """202, then 204; its replicas end."""
    rid = rid_of(call, KIND, call.ids["app"])
    found(world, rid)

    def gone() -> None:
        _side(world, rid).scale_to_zero()
        remove(world, rid)()
        _side(world, rid).revisions.clear()

    set_state(world, rid, "Deleting")()
    return begin(world, call, "app", rid, style="location", done=gone)


def apps(world: World, call: Call) -> Reply:
    """Of a group or of the subscription."""
    start = f"/subscriptions/{call.ids['sub']}" + (f"/resourceGroups/{call.ids['group']}/" if "group" in call.ids else "/")
    return Reply(200, {"value": [each for each in world.of_type(KIND) if each["id"].lower().startswith(start.lower())]})


def stop_app(world: World, call: Call) -> Reply:
    """No replica, no answer, until it is started again."""
    return _switch(world, call, stopped=True)


def start_app(world: World, call: Call) -> Reply:
    """It answers again."""
    return _switch(world, call, stopped=False)


def _switch(world: World, call: Call, *, stopped: bool) -> Reply:
    rid = rid_of(call, KIND, call.ids["app"])
    app = found(world, rid)

    def change() -> None:
        _side(world, rid).stopped = stopped
        if stopped:
            _side(world, rid).scale_to_zero()
        app["properties"]["runningStatus"] = "Stopped" if stopped else "Running"

    app["properties"]["runningStatus"] = "Progressing"
    return begin(world, call, "app", rid, style="location", done=change, body=lambda: world.resources.get(rid.lower()))


def revisions(world: World, call: Call) -> Reply:
    """Active ones and old ones."""
    rid = rid_of(call, KIND, call.ids["app"])
    found(world, rid)
    return Reply(200, {"value": [_shown(world, rid, each) for each in _side(world, rid).revisions]})


def revision(world: World, call: Call) -> Reply:
    """One of them."""
    rid = rid_of(call, KIND, call.ids["app"])
    return Reply(200, _shown(world, rid, _revision(world, call)))


def restart(world: World, call: Call) -> Reply:
    """Its replica ends; the next request starts another."""
    _side(world, rid_of(call, KIND, call.ids["app"])).sleep(_revision(world, call))
    return Reply(200)


def activate(world: World, call: Call) -> Reply:
    """It may take requests."""
    _revision(world, call).active = True
    return Reply(200)


def deactivate(world: World, call: Call) -> Reply:
    """It takes no requests and has no replica."""
    chosen = _revision(world, call)
    _side(world, rid_of(call, KIND, call.ids["app"])).sleep(chosen)
    chosen.active = False
    return Reply(200)


def replicas(world: World, call: Call) -> Reply:
    """None or one."""
    chosen = _revision(world, call)
    name = f"{chosen.name}-{chosen.starts}"
    container = {"name": chosen.template["containers"][0]["name"], "ready": True, "started": True, "restartCount": 0,
                 "runningState": "Running",
                 "logStreamEndpoint": f"{world.addresses['arm']}/logstream/apps/{call.ids['app']}/replicas/{name}/containers/main"}
    rows = [{"id": f"{call.path}/{name}", "name": name, "type": f"{KIND}/revisions/replicas",
             "properties": {"createdTime": chosen.created.isoformat(), "runningState": "Running", "containers": [container]}}]
    return Reply(200, {"value": rows if chosen.awake else []})


def put_auth(world: World, call: Call) -> Reply:
    """Built-in sign-in of an app."""
    rid = rid_of(call, KIND, call.ids["app"])
    found(world, rid)
    name = f"{rid}/authConfigs/{call.ids['auth']}"
    world.resources[name.lower()] = {"id": name, "name": call.ids["auth"], "type": f"{KIND}/authConfigs",
                                     "properties": call.body["properties"]}
    return Reply(200, world.resources[name.lower()])


def _side(world: World, rid: str) -> AppSide:
    return world.apps[rid.lower()]


def _revision(world: World, call: Call) -> Revision:
    rid = rid_of(call, KIND, call.ids["app"])
    found(world, rid)
    for each in _side(world, rid).revisions:
        if each.name == call.ids["revision"]:
            return each
    raise Refused(404, "RevisionNotFound", f"The revision '{call.ids['revision']}' was not found.")


def _shown(world: World, rid: str, each: Revision) -> dict[str, Any]:
    side = _side(world, rid)
    state = "Failed" if each.failed else "Stopped" if not each.active or side.stopped else "Running" if each.awake else "ScaledToZero"
    return {"id": f"{rid}/revisions/{each.name}", "name": each.name, "type": f"{KIND}/revisions", "properties": {
        "createdTime": each.created.isoformat(), "fqdn": f"127.0.0.1:{side.port}", "template": each.template, "active": each.active,
        "replicas": int(each.awake), "trafficWeight": side.weight(each), "healthState": "Unhealthy" if each.failed else "Healthy",
        "provisioningState": "Failed" if each.failed else "Provisioned", "runningState": state,
        **({"provisioningError": each.failed} if each.failed else {}),
    }}


_APP = group_path("Microsoft.App/containerApps/{app}")
_REVISION = _APP + "/revisions/{revision}"
ROUTES: tuple[Route, ...] = (
    route("PUT", _APP, put_app, "app"), route("GET", _APP, get_app), route("PATCH", _APP, patch_app, "app-change"),
    route("DELETE", _APP, delete_app),
    route("GET", group_path("Microsoft.App/containerApps"), apps),
    route("GET", "/subscriptions/{sub}/providers/Microsoft.App/containerApps", apps),
    route("POST", _APP + "/stop", stop_app), route("POST", _APP + "/start", start_app), route("POST", _APP + "/listSecrets", list_secrets),
    route("POST", _APP + "/getAuthtoken", auth_token), route("GET", _APP + "/revisions", revisions), route("GET", _REVISION, revision),
    route("POST", _REVISION + "/restart", restart), route("POST", _REVISION + "/activate", activate),
    route("POST", _REVISION + "/deactivate", deactivate), route("GET", _REVISION + "/replicas", replicas),
    route("PUT", _APP + "/authConfigs/{auth}", put_auth, "auth"), route("GET", _APP + "/authConfigs/{auth}", read),
)
