"""What a change of a deployment says to faces and to the brain."""

from pydantic import JsonValue

from tools.runs.reconcile import RunNews
from tools.serve.deploy_state import ALIVE, Became, DeployState
from tools.serve.deploy_store import DeploymentRow


def tell(row: DeploymentRow, became: Became) -> RunNews:
    """What a change says; `run_id` is empty, since no run has changed. Reasons stay out of `for_brain`."""
    said = f"Deployment {row.id} is {became.state.value}." if became.state is not DeployState.FAILED else f"Deployment {row.id} has failed."
    facts: dict[str, JsonValue] = {"deployment_id": row.id, "state": became.state.value, "kind": became.kind}
    # An end that a person asked for was answered when it was asked; only the others are worth a message.
    unasked = became.state not in ALIVE and not (became.kind == "stop" and row.stop_by not in ("", "system"))
    return RunNews("", row.thread, row.owner, row.state.value, became.state.value, f"{said} {became.reason}".strip(), facts, unasked)
