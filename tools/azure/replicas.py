"""What Azure shows of an execution's replicas; the client library has no method for it."""

from typing import Any

from tools.azure.client import Azure
from tools.azure.place import CloudPlace

API = "2023-11-02-preview"
"""The version that is known to answer; it is what the command line client uses."""


def replicas(azure: Azure, place: CloudPlace, job: str, execution: str) -> list[dict[str, Any]]:
    """The replicas of an execution, each as Azure gives it; empty while there is none. Raises AzureTrouble."""
    from azure.core.rest import HttpRequest

    path = (f"/subscriptions/{place.subscription}/resourceGroups/{place.group}/providers/Microsoft.App/jobs/{job}/executions/"
            f"{execution}/replicas?api-version={API}")

    def ask() -> list[dict[str, Any]]:
        answer = azure.containers().send_request(HttpRequest("GET", path))
        answer.raise_for_status()
        found = answer.json().get("value", [])
        return [each for each in found if isinstance(each, dict)]

    return azure.call("Look at the replica", ask)
