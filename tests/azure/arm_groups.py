"""Subscriptions, tenants, providers, resource groups, permissions and lists of resources."""

import re
from typing import Any

from tests.azure.arm_calls import Call, Refused, Reply, Route, found, route
from tests.azure.arm_operations import begin, remove
from tests.azure.world import DISPLAY, World


def subscriptions(world: World, call: Call) -> Reply:
    """Every subscription of the sign-in."""
    return Reply(200, {"value": [_subscription(world, each) for each in world.subscriptions]})


def subscription(world: World, call: Call) -> Reply:
    """One of them."""
    return Reply(200, _subscription(world, call.ids["sub"]))


def _subscription(world: World, sub: str) -> dict[str, Any]:
    return {"id": f"/subscriptions/{sub}", "subscriptionId": sub, "tenantId": world.tenant, "displayName": world.subscriptions[sub],
            "state": "Enabled", "authorizationSource": "RoleBased"}


def tenants(world: World, call: Call) -> Reply:
    """The tenant."""
    return Reply(200, {"value": [{"id": f"/tenants/{world.tenant}", "tenantId": world.tenant, "displayName": "Example",
                                  "defaultDomain": "example.com", "tenantCategory": "Home"}]})


def locations(world: World, call: Call) -> Reply:
    """The regions of a subscription."""
    return Reply(200, {"value": [{"id": f"/subscriptions/{call.ids['sub']}/locations/{name}", "name": name, "displayName": shown}
                                 for name, shown in DISPLAY.items()]})


def provider(world: World, call: Call) -> Reply:
    """Whether a namespace is registered, and where its types live."""
    return Reply(200, _provider(world, call))


def providers(world: World, call: Call) -> Reply:
    """Each namespace the product needs."""
    return Reply(200, {"value": [_provider(world, call, each) for each in world.registered]})


def _provider(world: World, call: Call, namespace: str = "") -> dict[str, Any]:
    name = namespace or call.ids["namespace"]
    state = "Registered" if world.registered.get(name.lower(), True) else "NotRegistered"
    types = ("managedEnvironments", "jobs", "containerApps")
    return {"id": f"/subscriptions/{call.ids['sub']}/providers/{name}", "namespace": name, "registrationState": state,
            "registrationPolicy": "RegistrationRequired",
            "resourceTypes": [{"resourceType": each, "locations": list(DISPLAY.values()), "apiVersions": ["2026-07-01"]} for each in types]}


def register(world: World, call: Call) -> Reply:
    """Register a namespace; it is done when somebody looks again."""
    body = {**_provider(world, call), "registrationState": "Registering"}
    world.registered[call.ids["namespace"].lower()] = True
    return Reply(200, body)


def put_group(world: World, call: Call) -> Reply:
    """Create or change a resource group."""
    rid = f"/subscriptions/{call.ids['sub']}/resourceGroups/{call.ids['group']}"
    new = rid.lower() not in world.resources
    if not new and world.resources[rid.lower()]["location"] != call.body["location"]:
        raise Refused(409, "InvalidResourceGroupLocation", f"Invalid resource group location '{call.body['location']}'. "
                      f"The Resource group already exists in location '{world.resources[rid.lower()]['location']}'.")
    world.resources[rid.lower()] = {
        "id": rid, "name": call.ids["group"], "type": "Microsoft.Resources/resourceGroups", "location": call.body["location"],
        "tags": call.body.get("tags") or {}, "properties": {"provisioningState": "Succeeded"},
    }
    return Reply(201 if new else 200, world.resources[rid.lower()])


def get_group(world: World, call: Call) -> Reply:
    """One group."""
    return Reply(200, found(world, call.path.rstrip("/"), "ResourceGroupNotFound"))


def head_group(world: World, call: Call) -> Reply:
    """Whether it exists."""
    return Reply(204 if call.path.rstrip("/").lower() in world.resources else 404)


def groups(world: World, call: Call) -> Reply:
    """All groups of a subscription."""
    return Reply(200, {"value": _filtered(call, [each for each in world.of_type("Microsoft.Resources/resourceGroups")
                                                 if each["id"].lower().startswith(f"/subscriptions/{call.ids['sub']}/".lower())])})


def delete_group(world: World, call: Call) -> Reply:
    """With everything in it."""
    rid = found(world, call.path.rstrip("/"), "ResourceGroupNotFound")["id"]
    return begin(world, call, "group", rid, style="location", done=remove(world, rid), body={})


def resources(world: World, call: Call) -> Reply:
    """Top-level resources of a subscription or a group, by tag or type where a filter says so."""
    scope = f"/subscriptions/{call.ids['sub']}/resourceGroups/{call.ids.get('group', '')}".lower().rstrip("/")
    rows = [each for rid, each in world.resources.items() if rid.startswith(scope + "/") and rid.count("/") == 8]
    picked = [{key: each.get(key) for key in ("id", "name", "type", "location", "tags")} for each in _filtered(call, rows)]
    return Reply(200, {"value": picked})


def _filtered(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = call.query.get("$filter", "")
    key, value = re.search(r"tagName eq '([^']*)'", wanted), re.search(r"tagValue eq '([^']*)'", wanted)
    kind = re.search(r"resourceType eq '([^']*)'", wanted)
    for pattern in (key, value, kind):
        wanted = wanted.replace(pattern.group(0), "") if pattern else wanted
    if wanted.replace("and", "").strip():
        raise Refused(400, "InvalidFilterInQueryString", f"The filter '{wanted}' is not supported.")
    return [
        each for each in rows
        if (not key or key.group(1) in (each.get("tags") or {}))
        and (not key or not value or (each.get("tags") or {})[key.group(1)] == value.group(1))
        and (not kind or str(each["type"]).lower() == kind.group(1).lower())
    ]


def permissions(world: World, call: Call) -> Reply:
    """What the signed-in user may do in a group."""
    return Reply(200, {"value": [{"actions": world.permissions, "notActions": [], "dataActions": [], "notDataActions": []}]})


_GROUP = "/subscriptions/{sub}/resourcegroups/{group}"
ROUTES: tuple[Route, ...] = (
    route("GET", "/subscriptions", subscriptions), route("GET", "/tenants", tenants), route("GET", "/subscriptions/{sub}", subscription),
    route("GET", "/subscriptions/{sub}/locations", locations), route("GET", "/subscriptions/{sub}/providers", providers),
    route("GET", "/subscriptions/{sub}/providers/{namespace}", provider),
    route("POST", "/subscriptions/{sub}/providers/{namespace}/register", register),
    route("GET", "/subscriptions/{sub}/resourcegroups", groups), route("PUT", _GROUP, put_group, "group"), route("GET", _GROUP, get_group),
    route("HEAD", _GROUP, head_group), route("DELETE", _GROUP, delete_group),
    route("GET", "/subscriptions/{sub}/resources", resources), route("GET", _GROUP + "/resources", resources),
    route("GET", "/subscriptions/{sub}/providers/Microsoft.Authorization/permissions", permissions),
    route("GET", _GROUP + "/providers/Microsoft.Authorization/permissions", permissions),
)
