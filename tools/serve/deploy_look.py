"""`list_deployments` and `stop_deployment`: what is served, and its end."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from policies.orders import ENDED
from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs
from tools.runs.rid import PATTERN
from tools.serve.deploy import Deploying, brain_facts, end_process
from tools.serve.deploy_azure import is_cloud
from tools.serve.deploy_state import DeployState
from tools.serve.deploy_store import DeploymentRow


class ListArgs(ToolArgs):
    """Arguments of list_deployments: none."""


class StopArgs(ToolArgs):
    """Arguments of stop_deployment."""

    deployment_id: str = Field(pattern=PATTERN, max_length=10, description="The deployment.")
    delete: bool = Field(default=False, description="Also delete its key, settings and log, or its app on Azure; this needs a yes.")


class ListDeployments:
    """The tool."""

    name: ClassVar[str] = "list_deployments"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "What is deployed: state, address, model, revision and when it ends; unknown processes are shown too."
    Args: ClassVar[type[ToolArgs]] = ListArgs

    def __init__(self, deploying: Deploying) -> None:
        self._deploying = deploying

    def propose(self, args: ListArgs, /) -> Proposal:
        """A look."""
        return Proposal(effects=frozenset({Effect.READ}), target="deployments")

    def perform(self, args: ListArgs, call: Call, /) -> Result:
        """One's own deployments, newest first, as they are now."""
        store, local = self._deploying.store, self._deploying.local
        rows = [self._deploying.settle(row) for row in store.rows(call.person)]
        shown: list[dict[str, JsonValue]] = [{
            **brain_facts(row), "reason": row.reason, "models": row.plan["names"], "key_file": str(local.key_file(row.id)),
            "tuned_by": row.run_id, "memory_bytes": local.serving(row.id, row.revision).get("memory_bytes"), "created_at": row.created_at,
            **(self._deploying.azure.shown(row) if is_cloud(row) else {}),
        } for row in rows]
        strays: list[JsonValue] = [
            {"deployment_id": ident, "revision": revision, "pid": told.get("pid"), "port": told.get("port"),
             "note": f"Not in the book. If it is not wanted, end it with `kill {told.get('pid')}`."}
            for ident, revision, told in local.living() if (row := store.get(ident)) is None or row.revision != revision or not row.alive
        ]
        cloud, trouble = self._deploying.cloud.orphaned() if self._deploying.cloud is not None else ([], "")
        brain: list[JsonValue] = [{**brain_facts(row), **_money(each)} for row, each in zip(rows, shown, strict=True)]
        return Result({"deployments": [*shown], "orphans": [*strays, *cloud], **({"cloud_trouble": trouble} if trouble else {})},
                      {"deployments": brain, "orphans": len(strays) + len(cloud)})

    def recall(self, call_id: str, /) -> Result | Recall:
        """A look leaves nothing behind."""
        return Recall.NOT_STARTED


class StopDeployment:
    """The tool."""

    name: ClassVar[str] = "stop_deployment"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Stop a deployment; it can be started again with redeploy. Never needs a yes, except with delete=true, which also deletes its key, "
        "settings and log, or its app on Azure, for good."
    )
    Args: ClassVar[type[ToolArgs]] = StopArgs

    def __init__(self, deploying: Deploying) -> None:
        self._deploying = deploying

    def propose(self, args: StopArgs, /) -> Proposal:
        """The stop of one deployment, whatever its state, so that a second stop is harmless; or its deletion."""
        row = self._deploying.store.wanted(args.deployment_id)
        if args.delete:
            what = "its app on Azure, its key and settings" if is_cloud(row) else "its key, settings and log"
            lines = (("Deletes", f"the deployment {row.id}: {what}; the model's files stay"), ("State", row.state.value))
            return Proposal(effects=frozenset({Effect.DESTROY}), target=f"deployment:{row.id}", where=row.where, owner=row.owner,
                            supersedes=f"delete:{row.id}", card=lines)
        return Proposal(effects=frozenset({Effect.LOCAL}), target=f"deployment:{row.id}", where=row.where, owner=row.owner,
                        traits=frozenset({Trait.STOPS}), plan={ENDED: not row.alive},
                        evidence=self._deploying.azure.evidence(row) if is_cloud(row) else ())

    def perform(self, args: StopArgs, call: Call, /) -> Result:
        """End the process: what it is answering has ten seconds to be finished. With delete, remove what is left."""
        store, local = self._deploying.store, self._deploying.local
        if is_cloud(row := store.wanted(args.deployment_id, call.person)):
            now = self._deploying.azure.stop(row, call) if row.alive else row
            delete = args.delete and not now.alive and now.state is not DeployState.DELETED
            return _said(self._deploying.azure.delete(now, call) if delete else now)
        row = self._deploying.reconciler.settle(row)
        if row.alive:
            store.ask_to_stop(row, call.person)
            end_process(local, row.id, row.revision, call.person)
        for ident, revision, _ in local.living():  # an older revision, should Luthier have been killed while it was replaced
            if ident == row.id:
                end_process(local, ident, revision, call.person)
        row = self._deploying.reconciler.settle(store.wanted(row.id))
        if args.delete and not row.alive and row.state is not DeployState.DELETED:
            local.delete(row.id)
            row = store.set_state(row, DeployState.DELETED, f"Deleted by {call.person}.") or store.wanted(row.id)
        return _said(row)

    def recall(self, call_id: str, /) -> Result | Recall:
        """A stop may be asked for again at any time."""
        return Recall.NOT_STARTED


def _money(shown: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What one on Azure costs, and whom its card lets in: numbers and addresses of our own plan."""
    if "spent" not in shown:
        return {}
    return {"spent": shown["spent"]["amount"], "ceiling": shown["ceiling"]["amount"], "per_hour": shown["per_hour"],
            "allow_ips": shown["allow_ips"]}


def _said(row: DeploymentRow) -> Result:
    facts: dict[str, JsonValue] = {"deployment_id": row.id, "state": row.state.value}
    return Result({**facts, "reason": row.reason}, facts)
