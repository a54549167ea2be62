"""`deploy_inference` and `redeploy`: a tuned or an untuned model answers over HTTP, on this machine or on Azure."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.runs.look import RUN_ID
from tools.runs.rid import PATTERN, rid_of
from tools.serve.deploy_azure import is_cloud
from tools.serve.deploy_azure_tool import AzureDeploying
from tools.serve.deploy_local import GRACE_S, LocalDeployments, curl_line
from tools.serve.deploy_plan import DeployPlans, Source, card, expiry_order
from tools.serve.deploy_reconcile import DeployReconciler
from tools.serve.deploy_state import DeployState
from tools.serve.deploy_store import DeploymentRow, DeploymentStore, Planned
from tools.serve.files import system_message

READY_S = 120.0
"""How long a deploying call waits for the models to be loaded; it goes on loading afterwards."""
LOOK_S = 0.1
HOURS = Field(default=None, ge=1, le=8760, description="Stop it after so many hours; left out, the limit of this home.")
REGION = Field(default="", max_length=40, description="Azure: a prepared region; left out, the one prepared last.")
GPU = Field(default="", max_length=64, description="Azure: cpu, T4, A100 or a profile's name; left out, the smallest that holds the model.")
ALLOW = Field(default=(), max_length=20, description="Azure: addresses that may reach it; left out, the one you are signed in from.")
BASE = Field(default=True, description="Serve the untuned model beside the tuned one, when its files are here.")


class DeployArgs(ToolArgs):
    """Arguments of deploy_inference."""

    run_id: str = RUN_ID
    model: str = Field(default="", max_length=200, description="An untuned model's id instead of a run.")
    provider: Literal["local", "azure"] = Field(default="local", description="Where it runs: this machine, or a prepared region of Azure.")
    port: int = Field(default=0, ge=0, le=65535, description="On this machine; left out, a free one.")
    max_hours: int | None = HOURS
    with_base: bool = BASE
    region: str = REGION
    gpu: str = GPU
    allow_ips: tuple[str, ...] = ALLOW


class RedeployArgs(ToolArgs):
    """Arguments of redeploy."""

    deployment_id: str = Field(pattern=PATTERN, max_length=10, description="The deployment.")
    run_id: str = Field(default="", max_length=10, pattern=rf"^$|{PATTERN}", description="The run to serve now; left out, the same again.")
    max_hours: int | None = HOURS
    with_base: bool = BASE
    region: str = REGION
    gpu: str = GPU
    allow_ips: tuple[str, ...] = ALLOW
    canary_percent: int = Field(default=0, ge=0, le=99, description="Azure: only so many percent of the requests go to the new revision.")
    restart: bool = Field(default=False, description="Azure: only start its program anew, under the approval that it has.")


class Deploying:
    """What both tools do once a plan stands: the process, and what is said of it."""

    def __init__(self, plans: DeployPlans, store: DeploymentStore, local: LocalDeployments, reconciler: DeployReconciler,
                 run_folder: Callable[[str], Path]) -> None:
        self.plans, self.store, self.local, self.reconciler, self._run_folder = plans, store, local, reconciler, run_folder
        self.cloud: AzureDeploying | None = None
        """What is done on Azure; None in a home that has none."""

    @property
    def azure(self) -> AzureDeploying:
        """The cloud's half. ToolFailed where there is none."""
        if self.cloud is None:
            raise ToolFailed("Deploy on Azure", "This home was opened without Azure.", "Start Luthier again.", kind="not_installed")
        return self.cloud

    def settle(self, row: DeploymentRow) -> DeploymentRow:
        """The row as it is now, wherever it is."""
        return self.azure.look(row) if is_cloud(row) else self.reconciler.settle(row)

    def begin(self, row: DeploymentRow, source: Source, call: Call) -> Result:
        """Start the revision's process and wait until it answers, has failed, or takes long. The same call starts nothing twice."""
        try:
            call.report("Starting the serving program", None)
            self.local.begin(self.plans.spec(dict(row.plan), source, row.id, row.revision, self.local.key_file(row.id)))
        except ToolFailed as error:
            self.store.set_state(row, DeployState.FAILED, f"{error.because} {error.try_next}")
            raise
        call.report("Loading the model", None)
        until = time.monotonic() + READY_S
        now = self.reconciler.settle(row)
        while now.state is DeployState.STARTING and now.revision == row.revision and time.monotonic() < until:
            time.sleep(LOOK_S)
            now = self.reconciler.settle(now)
        return self.said(now)

    def said(self, row: DeploymentRow) -> Result:
        """The result of a deploying call. ToolFailed when it failed."""
        if row.state is DeployState.FAILED:
            raise ToolFailed(f"Deploy {row.id}", "The serving program has failed.",
                             f"Its log is {self.local.folder(row.id, row.revision) / 'log.txt'}.", kind="deploy", heard=row.reason)
        facts, key_file = brain_facts(row), self.local.key_file(row.id)
        told = self.local.serving(row.id, row.revision)
        names = row.plan["names"]
        result: dict[str, JsonValue] = {
            **facts, "key_file": str(key_file), "models": names, "memory_bytes": told.get("memory_bytes"), "tuned_by": row.run_id,
        }
        if row.url:
            result["curl"] = curl_line(row.url, key_file, str(names[0]), self.system_of(row))
        return Result(result, facts)

    def system_of(self, row: DeploymentRow) -> str | None:
        """The system message that the tuned model's training rows shared; its clients send it themselves."""
        return system_message(self._run_folder(row.run_id)) if row.run_id else None

    def recall(self, call_id: str) -> Result | Recall:
        """What became of a call: the deployment whose revision it asked for."""
        row = self.store.of_call(call_id)
        if row is None:
            return Recall.NOT_STARTED
        if is_cloud(row):
            return self.azure.recall(row, call_id)
        if row.state is DeployState.STARTING and self.local.traces(row.id, row.revision).lock == "absent":
            return Recall.NOT_STARTED
        return self.said(self.reconciler.settle(row))


def brain_facts(row: DeploymentRow) -> dict[str, JsonValue]:
    """A deployment for the brain: ids, states and numbers of our own making."""
    return {
        "deployment_id": row.id, "state": row.state.value, "url": row.url or None, "api_key_hint": f"…{row.key_hint}",
        "revision": row.revision, "model": row.model_id, "tuned": row.run_id is not None, "precision": row.plan.get("precision"),
        "expires_at": row.expires_at, "where": row.where,
    }


class DeployInference:
    """The tool."""

    name: ClassVar[str] = "deploy_inference"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Serve a tuned model (run_id, by default the latest finished run) or an untuned one (model) as an OpenAI-compatible address with "
        "an API key: on this machine, reachable from it only, or with provider=azure in a prepared region, reachable from allow_ips only, "
        "asleep while nobody asks. A person must approve it first; it stops by itself when its time is over."
    )
    Args: ClassVar[type[ToolArgs]] = DeployArgs

    def __init__(self, deploying: Deploying) -> None:
        self._deploying = deploying

    def propose(self, args: DeployArgs, /) -> Proposal:
        """The plan. Nothing is written."""
        if args.provider == "azure":
            return self._deploying.azure.propose(self._deploying.plans.source(args.run_id, args.model), args)
        source, plan = self._plan(args, None)
        return proposal(source, plan, source.run.owner if source.run is not None else None, f"deploy:{source.target}")

    def _plan(self, args: DeployArgs, person: str | None) -> tuple[Source, dict[str, Any]]:
        plans = self._deploying.plans
        source = plans.source(args.run_id, args.model, person)
        return source, plans.make(source, plans.hours(args.max_hours), args.port, args.with_base)

    def perform(self, args: DeployArgs, call: Call, /) -> Result:
        """Make the key, the row and the process; the same call finds what it started."""
        ident = rid_of(f"{call.call_id} deployment")
        source = self._deploying.plans.source(args.run_id, args.model, call.person)
        if args.provider == "azure":
            return self._deploying.azure.deploy(source, args, call)
        plan = dict(call.plan) if call.plan.get("names") else self._plan(args, call.person)[1]
        self._deploying.plans.build(source, lambda text: call.report(text, None))  # before the row: it may take half an hour
        hint = self._deploying.local.make_key(ident)
        row = self._deploying.store.create(ident, call.person, call.thread, call.call_id, planned(source, plan), hint)
        return self._deploying.begin(row, source, call)

    def recall(self, call_id: str, /) -> Result | Recall:
        """The deployment that the call made."""
        return self._deploying.recall(call_id)


class Redeploy:
    """The tool."""

    name: ClassVar[str] = "redeploy"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Let a deployment serve another run, or the same again after it stopped, at the same address with the same key. A person must "
        "approve it first. On this machine it does not answer for the moment of the change; on Azure the new revision takes over when it "
        "is up, or gets canary_percent of the requests; if it never is, the old one goes on. restart=true only starts its program anew."
    )
    Args: ClassVar[type[ToolArgs]] = RedeployArgs

    def __init__(self, deploying: Deploying) -> None:
        self._deploying = deploying

    def propose(self, args: RedeployArgs, /) -> Proposal:
        """The plan of the next revision."""
        row = self._deploying.store.wanted(args.deployment_id)
        if is_cloud(row):
            if args.restart:
                return self._deploying.azure.restarting(row)
            return self._deploying.azure.propose_again(self._source(args, row, None), row, args, args.canary_percent)
        if args.restart or args.canary_percent:
            raise ToolFailed(f"Redeploy {row.id}", "It runs on this machine, where neither restart nor canary_percent has a meaning.",
                             "Leave them out.", kind="usage")
        source, plan = self._plan(args, row, None)
        return proposal(source, plan, row.owner, f"redeploy:{row.id}", deployment=row.id)

    def _plan(self, args: RedeployArgs, row: DeploymentRow, person: str | None) -> tuple[Source, dict[str, Any]]:
        plans, source = self._deploying.plans, self._source(args, row, person)
        told = self._deploying.local.serving(row.id, row.revision)
        port, held = told.get("port"), told.get("memory_bytes")
        return source, plans.make(
            source, plans.hours(args.max_hours), port if isinstance(port, int) else int(row.plan.get("port") or 0), args.with_base,
            held if isinstance(held, int) and row.alive else 0,
        )

    def _source(self, args: RedeployArgs, row: DeploymentRow, person: str | None) -> Source:
        if row.state is DeployState.DELETED:
            raise ToolFailed(f"Redeploy {row.id}", "It is deleted.", "Deploy anew with deploy_inference.", kind="state")
        run = args.run_id or row.run_id or ""
        return self._deploying.plans.source(run, "" if run else row.model_id, person)

    def perform(self, args: RedeployArgs, call: Call, /) -> Result:
        """End the old process, then begin the new one on its port; the same call does it once. On Azure a new revision takes over."""
        store, local = self._deploying.store, self._deploying.local
        row = store.wanted(args.deployment_id, call.person)
        if is_cloud(row):
            if args.restart:
                return self._deploying.azure.restart(row)
            return self._deploying.azure.redeploy(self._source(args, row, call.person), row, args, args.canary_percent, call)
        if row.revision_call == call.call_id:
            before, after = row.revision - 1, row
            source = self._deploying.plans.source(row.run_id or "", "" if row.run_id else row.model_id)
        else:
            source, made = self._plan(args, row, call.person)
            plan = dict(call.plan) if call.plan.get("names") else made
            self._deploying.plans.build(source, lambda text: call.report(text, None))
            before, after = row.revision, store.next_revision(row.id, row.revision + 1, call.call_id, planned(source, plan))
        call.report("Ending the old process", None)
        end_process(local, after.id, before, call.person)
        return self._deploying.begin(after, source, call)

    def recall(self, call_id: str, /) -> Result | Recall:
        """The revision that the call made."""
        return self._deploying.recall(call_id)


def proposal(source: Source, plan: dict[str, Any], owner: str | None, supersedes: str, deployment: str = "") -> Proposal:
    """The proposal of a deploying call."""
    return Proposal(
        effects=frozenset({Effect.LOCAL}), target=f"deployment:{deployment}" if deployment else source.target, owner=owner,
        traits=frozenset({Trait.OCCUPIES}), supersedes=supersedes, card=card(plan), plan=plan, orders=(expiry_order(int(plan["hours"])),),
    )


def planned(source: Source, plan: dict[str, Any]) -> Planned:
    """A plan as the book keeps it."""
    return Planned(source.run.id if source.run is not None else None, source.model_id, plan, int(plan["hours"]) * 3600)


def end_process(local: LocalDeployments, ident: str, revision: int, by: str) -> bool:
    """Stop a revision's process in order, then by force; whether it is gone."""
    local.ask_to_stop(ident, revision, by)
    if not local.wait_for_end(ident, revision, GRACE_S + 2):
        local.press(ident, revision, force=True)
        return local.wait_for_end(ident, revision, 5)
    return True
