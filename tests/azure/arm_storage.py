"""Storage accounts, their keys and shares, and log workspaces."""

import uuid

from tests.azure.arm_calls import Call, Refused, Reply, Route, found, group_path, need_group, need_provider, rid_of, route
from tests.azure.arm_operations import begin, read, remove, set_state
from tests.azure.world import World, new_key

ACCOUNTS, WORKSPACES = "Microsoft.Storage/storageAccounts", "Microsoft.OperationalInsights/workspaces"


def check_name(world: World, call: Call) -> Reply:
    """Whether an account name is free in all of Azure."""
    name = call.body["name"]
    taken = name in world.taken_names or any(each["name"] == name for each in world.of_type(ACCOUNTS))
    if taken:
        return Reply(200, {"nameAvailable": False, "reason": "AlreadyExists",
                           "message": f"The storage account named {name} is already taken."})
    return Reply(200, {"nameAvailable": True})


def put_account(world: World, call: Call) -> Reply:
    """Create an account; its properties lie beside `properties` in the SDK's words, inside it on the wire."""
    need_provider(world, "Microsoft.Storage")
    need_group(world, call)
    name = call.ids["account"]
    rid = rid_of(call, ACCOUNTS, name)
    old = world.resources.get(rid.lower())
    if name in world.taken_names or any(each["name"] == name and each["id"].lower() != rid.lower() for each in world.of_type(ACCOUNTS)):
        raise Refused(409, "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken.")
    sent = call.body.get("properties") or {}
    if world.policy_no_shared_keys and sent.get("allowSharedKeyAccess", True):
        raise Refused(403, "RequestDisallowedByPolicy", f"Resource '{name}' was disallowed by policy. Policy: Storage accounts should "
                      "prevent shared key access.")
    files = world.addresses["files"] + "/"
    world.resources[rid.lower()] = {
        "id": rid, "name": name, "type": ACCOUNTS, "location": call.body["location"], "tags": call.body.get("tags") or {},
        "sku": {"name": call.body["sku"]["name"], "tier": "Standard"}, "kind": call.body["kind"],
        "properties": {**sent, "provisioningState": "Creating" if old is None else "Succeeded", "statusOfPrimary": "available",
                       "primaryEndpoints": {"file": files}, "primaryLocation": call.body["location"]},
    }
    world.hidden.setdefault(rid.lower(), [new_key(), new_key()])
    if old is not None:
        return Reply(200, world.resources[rid.lower()])
    return begin(world, call, "account", rid, style="location", done=set_state(world, rid, "Succeeded"), failed=remove(world, rid),
                 body=lambda: world.resources.get(rid.lower()))


def list_keys(world: World, call: Call) -> Reply:
    """Both keys, unless a policy forbids keys."""
    rid = rid_of(call, ACCOUNTS, call.ids["account"])
    account = found(world, rid)
    if account["properties"].get("allowSharedKeyAccess") is False:
        raise Refused(403, "KeyBasedAuthenticationNotPermitted", "Key based authentication is not permitted on this storage account.")
    made = account["properties"].get("keyCreationTime") or {}
    return Reply(200, {"keys": [{"keyName": f"key{n}", "value": key, "permissions": "FULL", "creationTime": made.get(f"key{n}")}
                                for n, key in enumerate(world.hidden[rid.lower()], 1)]})


def delete_account(world: World, call: Call) -> Reply:
    """At once, as Azure does it; 204 when it is not there."""
    rid = rid_of(call, ACCOUNTS, call.ids["account"])
    there = rid.lower() in world.resources
    remove(world, rid)()
    return Reply(200 if there else 204)


def accounts(world: World, call: Call) -> Reply:
    """Of a group."""
    start = rid_of(call, ACCOUNTS, "").lower()
    return Reply(200, {"value": [each for each in world.of_type(ACCOUNTS) if each["id"].lower().startswith(start)]})


def put_share(world: World, call: Call) -> Reply:
    """Create a share in an account."""
    account = rid_of(call, ACCOUNTS, call.ids["account"])
    found(world, account)
    rid = f"{account}/fileServices/default/shares/{call.ids['share']}"
    new = rid.lower() not in world.resources
    world.resources[rid.lower()] = {
        "id": rid, "name": call.ids["share"], "type": f"{ACCOUNTS}/fileServices/shares",
        "properties": {"shareQuota": 5120, "accessTier": "TransactionOptimized", **((call.body or {}).get("properties") or {})},
    }
    return Reply(201 if new else 200, world.resources[rid.lower()])


def delete_share(world: World, call: Call) -> Reply:
    """At once."""
    there = call.path.rstrip("/").lower() in world.resources
    remove(world, call.path.rstrip("/"))()
    return Reply(200 if there else 204)


def shares(world: World, call: Call) -> Reply:
    """Of an account."""
    start = rid_of(call, ACCOUNTS, call.ids["account"]).lower() + "/"
    return Reply(200, {"value": [each for rid, each in world.resources.items() if rid.startswith(start) and "/shares/" in rid]})


def put_workspace(world: World, call: Call) -> Reply:
    """Create a log workspace: 201 with a Location, ready at the next look."""
    need_provider(world, "Microsoft.OperationalInsights")
    need_group(world, call)
    rid = rid_of(call, WORKSPACES, call.ids["workspace"])
    old = world.resources.get(rid.lower())
    customer = old["properties"]["customerId"] if old else str(uuid.uuid4())
    world.resources[rid.lower()] = {
        "id": rid, "name": call.ids["workspace"], "type": WORKSPACES, "location": call.body["location"],
        "tags": call.body.get("tags") or {},
        "properties": {**(call.body.get("properties") or {}), "customerId": customer,
                       "provisioningState": "Succeeded" if old else "Creating",
                       "features": {"legacy": 0, "searchVersion": 1, "enableLogAccessUsingOnlyResourcePermissions": True}},
    }
    world.hidden.setdefault(rid.lower(), [new_key(), new_key()])
    if old:
        return Reply(200, world.resources[rid.lower()])
    begun = begin(world, call, "account", rid, style="location", done=set_state(world, rid, "Succeeded"),
                  failed=set_state(world, rid, "Failed"), body=lambda: world.resources.get(rid.lower()))
    return Reply(201, world.resources[rid.lower()], begun.headers)


def shared_keys(world: World, call: Call) -> Reply:
    """Keys of a log workspace."""
    rid = rid_of(call, WORKSPACES, call.ids["workspace"])
    found(world, rid)
    first, second = world.hidden[rid.lower()]
    return Reply(200, {"primarySharedKey": first, "secondarySharedKey": second})


def delete_workspace(world: World, call: Call) -> Reply:
    """Forced or soft."""
    rid = rid_of(call, WORKSPACES, call.ids["workspace"])
    if rid.lower() not in world.resources:
        return Reply(204)
    return begin(world, call, "account", rid, style="location", done=remove(world, rid), body={})


_ACCOUNT = group_path("Microsoft.Storage/storageAccounts/{account}")
_WORKSPACE = group_path("Microsoft.OperationalInsights/workspaces/{workspace}")
ROUTES: tuple[Route, ...] = (
    route("POST", "/subscriptions/{sub}/providers/Microsoft.Storage/checkNameAvailability", check_name, "name"),
    route("PUT", _ACCOUNT, put_account, "account"), route("GET", _ACCOUNT, read), route("DELETE", _ACCOUNT, delete_account),
    route("GET", group_path("Microsoft.Storage/storageAccounts"), accounts), route("POST", _ACCOUNT + "/listKeys", list_keys),
    route("PUT", _ACCOUNT + "/fileServices/default/shares/{share}", put_share, "share"),
    route("GET", _ACCOUNT + "/fileServices/default/shares/{share}", read),
    route("DELETE", _ACCOUNT + "/fileServices/default/shares/{share}", delete_share),
    route("GET", _ACCOUNT + "/fileServices/default/shares", shares),
    route("PUT", _WORKSPACE, put_workspace, "workspace"), route("GET", _WORKSPACE, read),
    route("POST", _WORKSPACE + "/sharedKeys", shared_keys), route("DELETE", _WORKSPACE, delete_workspace),
)
