"""What a region offers and how much of it a subscription may use."""

from tests.azure.arm_calls import Call, Refused, Reply, Route, found, group_path, rid_of, route
from tests.azure.world import World


def profiles(world: World, call: Call) -> Reply:
    """Workload profiles of a region."""
    return Reply(200, {"value": world.profiles.get(_region(world, call), [])})


def usages(world: World, call: Call) -> Reply:
    """Used and limit of a subscription in a region, as Container Apps tells it."""
    rows = world.usages.get(_region(world, call), {})
    return Reply(200, {"value": [{"unit": "Count", "currentValue": used, "limit": limit, "name": {"value": name, "localizedValue": name}}
                                 for name, (used, limit) in rows.items()]})


def environment_usages(world: World, call: Call) -> Reply:
    """Of one environment."""
    found(world, rid_of(call, "Microsoft.App/managedEnvironments", call.ids["environment"]))
    rows = {"ManagedEnvironmentConsumptionCores": (0, 100), "ManagedEnvironmentGeneralPurposeCores": (0, 100)}
    return Reply(200, {"value": [{"unit": "Count", "currentValue": used, "limit": limit, "name": {"value": name, "localizedValue": name}}
                                 for name, (used, limit) in rows.items()]})


def quota_usages(world: World, call: Call) -> Reply:
    """The second source: usage by the quota service."""
    return Reply(200, {"value": [
        {"id": f"{call.path}/{name}", "name": name, "type": "Microsoft.Quota/usages",
         "properties": {"usages": {"value": used}, "unit": "Count", "name": {"value": name, "localizedValue": name},
                        "isQuotaApplicable": True}}
        for name, (used, _) in world.usages.get(_scope_region(call), {}).items()]})


def quotas(world: World, call: Call) -> Reply:
    """The second source: limits."""
    return Reply(200, {"value": [
        {"id": f"{call.path}/{name}", "name": name, "type": "Microsoft.Quota/quotas",
         "properties": {"limit": {"limitObjectType": "LimitValue", "value": limit}, "unit": "Count",
                        "name": {"value": name, "localizedValue": name}, "isQuotaApplicable": True}}
        for name, (_, limit) in world.usages.get(_scope_region(call), {}).items()]})


def _region(world: World, call: Call) -> str:
    region = call.ids["region"].lower().replace(" ", "")
    if region not in world.profiles:
        raise Refused(400, "LocationNotAvailableForResourceType", f"The provided location '{region}' is not available for resource type "
                      "'Microsoft.App/locations'.")
    return region


def _scope_region(call: Call) -> str:
    return call.ids["scope"].rpartition("/locations/")[2].lower()


_LOCATION = "/subscriptions/{sub}/providers/Microsoft.App/locations/{region}"
ROUTES: tuple[Route, ...] = (
    route("GET", _LOCATION + "/availableManagedEnvironmentsWorkloadProfileTypes", profiles),
    route("GET", _LOCATION + "/usages", usages),
    route("GET", group_path("Microsoft.App/managedEnvironments/{environment}/usages"), environment_usages),
    route("GET", "/{scope*}/providers/Microsoft.Quota/usages", quota_usages),
    route("GET", "/{scope*}/providers/Microsoft.Quota/quotas", quotas),
)
