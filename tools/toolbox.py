"""The one list of tools, and what a workshop needs beside them: defaults, reconciling, views, watching."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from policies.book import Book
from policies.people import Caller
from policies.policy import Policy
from policies.tool import Tool
from tools.azure.checkup import Checkup
from tools.azure.choice import AzureChoice
from tools.azure.list_orphans import ListOrphans
from tools.azure.stop_orphan import StopOrphan
from tools.catalogue import Catalogue
from tools.cloud_toolbox import CloudParts, Secret, build_cloud
from tools.datasets.add import AddDataset
from tools.datasets.prepare import prepare
from tools.datasets.preview import PreviewDataset
from tools.datasets.refs import Refs
from tools.datasets.store import DataStore
from tools.datasets.validate import ValidateDataset
from tools.environments import environments
from tools.estimate import EstimateCost
from tools.gpus import GpuUse, NvidiaMl
from tools.hardware import Hardware, InspectHardware, Machine
from tools.list_models import ListModels
from tools.models import ModelFolder
from tools.outlook import DatasetFacts
from tools.places import Accelerator, Places
from tools.policy_tools import ExplainPolicy, Rulebook, TestPolicy
from tools.prove.compare import CompareRuns
from tools.prove.evaluate import EvaluateModel
from tools.recommend import RecommendModel
from tools.runs.adopt import AdoptRun
from tools.runs.cloud_leaving import LeavingRuns
from tools.runs.cloud_view import CloudViews
from tools.runs.curve import Point
from tools.runs.early_log import EarlyLog
from tools.runs.facts import CountedData
from tools.runs.fetch import FetchResults
from tools.runs.line import Line
from tools.runs.local import LocalRuns
from tools.runs.logs import LogNews
from tools.runs.look import ListRuns, RunStatus, TailLogs
from tools.runs.reconcile import Reconciler, RunNews
from tools.runs.report import Reports
from tools.runs.resume import ResumeRun
from tools.runs.rid import is_rid
from tools.runs.start import StartFinetune
from tools.runs.state import RunState, RunView
from tools.runs.stop import CancelRun
from tools.runs.store import RunStore
from tools.runs.views import Views
from tools.runs.watch import LogPage
from tools.serve.answerer import Answerer
from tools.serve.ask import AskModel
from tools.serve.children import EngineChildren
from tools.serve.deploy import DeployInference, Deploying, Redeploy
from tools.serve.deploy_ask import DeployedModels
from tools.serve.deploy_azure_meter import ServingMeter
from tools.serve.deploy_azure_parts import teardown_tool, with_azure
from tools.serve.deploy_local import LocalDeployments
from tools.serve.deploy_look import ListDeployments, StopDeployment
from tools.serve.deploy_plan import DeployPlans
from tools.serve.deploy_reconcile import DeployReconciler
from tools.serve.deploy_store import DeploymentStore
from tools.serve.export import ExportModel
from tools.serve.files import ServedFiles
from tools.serve.preview import PreviewChild
from tools.settlement import Settlement
from tools.spend_report import SpendReport

LATEST = frozenset({"run_status", "tail_logs", "cancel_run", "resume_run", "fetch_results"})
"""Tools that mean the latest run when none is named."""
LATEST_FINISHED = frozenset({"fetch_results", "evaluate_model", "export_model", "ask_model", "deploy_inference"})
"""Tools that mean the latest finished run, and the latest one only when none has finished."""


class _Planning:
    """The toolbox's parts as `start_finetune` and its neighbours need them."""

    def __init__(self, places: Places, catalogue: Catalogue, hardware: Hardware, refs: Refs, data: CountedData, files: ServedFiles,
                 engine: EngineChildren, policy: Callable[[], Policy]) -> None:
        self._places, self._catalogue, self._hardware, self._policy = places, catalogue, hardware, policy
        self._refs, self._data, self._files, self._engine = refs, data, files, engine

    def model(self, model: str) -> ModelFolder:
        return self._catalogue.folder(model)

    def facts(self, dataset: str, model: str) -> DatasetFacts:
        return self._data.rows_of(dataset, model)

    def prepare(self, dataset: str, out: Path, seed: int) -> str:
        return prepare(self._refs, dataset, out, seed).digest

    def machine(self) -> Machine:
        return self._hardware.machine()

    def base_served(self, model: ModelFolder) -> Path:
        return self._files.base_dir(model)

    def longest_hours(self) -> int:
        return self._policy().limits.hours.local_run

    def check_engine(self) -> None:
        self._engine.command("train")

    @property
    def accelerator(self) -> Accelerator:
        return self._places.accelerator


@dataclass(frozen=True)
class Toolbox:
    """All tools of one home. Every method is synchronous, quick and thread-safe."""

    places: Places
    tools: dict[str, Tool]
    store: RunStore
    data: DataStore
    catalogue: Catalogue
    views: Views
    reconciler: Reconciler
    engine: EngineChildren
    answerer: Answerer
    previews: PreviewChild
    reports: Reports
    deploying: Deploying
    cloud: CloudParts

    def defaults(self, tool: str, raw: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """What a call leaves out: the run that the thread last had, else the person's last one; and the only deployment."""
        return self.deploying.store.with_only(tool, with_latest(self.store, tool, raw, caller), caller.person)

    def reconcile(self) -> list[RunNews]:
        """Bring the book up to date with the run folders; the runs whose state changed. Call at start and every few seconds."""
        self.previews.tidy()
        self.cloud.costs.pass_()
        return [*self.reconciler.pass_(), *self.deploying.reconciler.pass_(), *self.cloud.reconciler.pass_(), *self.deploying.azure.pass_()]

    def settlements(self) -> list[Settlement]:
        """What has ended and cost money that the ledger does not have yet. Give each to the gateway, which settles a call once."""
        return [*self.cloud.store.settlements(), *self.cloud.prepare.settlements(), *self.deploying.azure.settlements()]

    def run_ends(self, after: int) -> tuple[list[RunNews], int]:
        """The ends of runs beyond entry `after` of the list of changes, and the newest entry's number."""
        return self.reconciler.ends(after)

    def run_view(self, run_id: str) -> RunView | None:
        """One run; None when there is none. Whose it is stands in it: the caller checks."""
        row = self.store.get(run_id) if is_rid(run_id) else None
        return None if row is None else self.views.of(row)

    def runs(self, person: str) -> list[RunView]:
        """A person's runs, newest first."""
        return [self.views.of(row) for row in self.store.rows(person)]

    def report(self, run_id: str) -> dict[str, JsonValue] | None:
        """Everything known of one run, for its page; None when there is none. It reads files and may take a second: not for a loop."""
        row = self.store.get(run_id) if is_rid(run_id) else None
        return None if row is None else self.reports.of(row)

    def watch(self, run_id: str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """New events of a run from a byte offset, and the next offset."""
        if not is_rid(run_id):
            return [], offset
        self.cloud.reconciler.follow(run_id)
        return self.views.events(run_id, offset)

    def log(self, run_id: str, offset: int | None = None, lines: int | None = None) -> LogPage:
        """A page of a run's log, redacted."""
        return self.views.log(run_id, offset, lines) if is_rid(run_id) else LogPage((), 0)

    def curves(self, run_id: str) -> tuple[list[Point], list[Point], int]:
        """A run's losses by step, training and held-out, thinned for a chart, and the byte offset of the events after them."""
        row = self.store.get(run_id) if is_rid(run_id) else None
        return ([], [], 0) if row is None else self.views.curves(row)

    def follow_log(self, run_id: str, mark: str = "") -> LogNews:
        """What a run's log has beyond a mark, redacted."""
        if not is_rid(run_id):
            return LogNews((), "")
        self.cloud.reconciler.follow(run_id)
        self.cloud.early.want(run_id)
        return self.views.follow_log(run_id, mark)

    def environments(self) -> list[dict[str, JsonValue]]:
        """Each training environment: whether it is there, how big, what is wrong, and the command that makes it."""
        return [each.as_json() for each in environments(self.places)]

    def cloud_facts(self, look: bool) -> tuple[dict[str, JsonValue], list[dict[str, str]]]:
        """What this machine knows of Azure, and with `look` what Azure says; beside it what is wrong, each with a remedy. Never raises."""
        cloud = self.cloud
        return Checkup(cloud.azure, cloud.prepared, cloud.prices, self.deploying.azure.count_orphans).facts(look)

    def close(self) -> None:
        """End the children that answer, preview, export and score. Runs and deployments go on, here and in the cloud."""
        self.cloud.azure.leave()
        self.deploying.azure.close()
        self.cloud.close()
        self.engine.close()
        self.answerer.close()
        self.previews.close()


def with_latest(store: RunStore, tool: str, raw: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """The arguments with the run that is meant where none is named."""
    if tool not in LATEST | LATEST_FINISHED or raw.get("run_id"):
        return dict(raw)
    if tool in {"ask_model", "deploy_inference"} and (raw.get("model") or raw.get("deployment_id")):
        return dict(raw)
    row = None
    if tool in LATEST_FINISHED:
        row = store.latest(caller.thread, caller.person, frozenset({RunState.FINISHED}))
    row = row or store.latest(caller.thread, caller.person)
    return {**raw, "run_id": row.id} if row is not None else dict(raw)


def build_toolbox(places: Places, book: Book, policy: Callable[[], Policy], *, azure: AzureChoice = AzureChoice(),
                  secret: Secret = lambda name: None) -> Toolbox:
    """Every tool of this version, sharing one of each part; `policy` gives the one in force, `secret` a stored secret by its name."""
    catalogue, hardware, refs = Catalogue(places, book), Hardware(places), Refs(places, book)
    data, counted, store = DataStore(places, book), CountedData(refs, catalogue), RunStore(book)
    engine = EngineChildren(places)
    local, line = LocalRuns(places, engine.environment, home_id=book.home_id()), Line(book)
    cloud = build_cloud(places, book, policy, store, local, azure, secret)
    reconciler, views = Reconciler(store, local, line), Views(local, line, GpuUse(NvidiaMl()), CloudViews(cloud.store))
    files = ServedFiles(places, local, engine)
    cores, children = hardware.cores(), places.home / "children"
    answerer, previews = Answerer(engine, children, cores), PreviewChild(engine, children)
    deployments, serving = DeploymentStore(book), LocalDeployments(places, engine)
    plans = DeployPlans(store, catalogue, files, hardware.machine, policy, cores)
    deploying = Deploying(plans, deployments, serving, DeployReconciler(deployments, serving), local.folder)
    serving_there = with_azure(deploying, book, cloud.azure, cloud.prepared, cloud.prices, places.root, local.folder,
                               lambda run_id: store.get(run_id) is not None)
    leaving = LeavingRuns(book, cloud.store, local.folder, lambda run_id, by: cloud.reconciler.stop(run_id, "person", by) and None)
    teardown = teardown_tool(book, cloud.azure, cloud.prepared, leaving, serving_there)
    planning = _Planning(places, catalogue, hardware, refs, counted, files, engine, policy)
    known: dict[str, Tool] = {}
    rulebook = Rulebook(book, policy, places.home / "policy", known, partial(with_latest, store))
    # Any: a protocol's ClassVar is invariant to pyright, so that `Args` of a narrower type would need a cast each.
    tools: tuple[Any, ...] = (
        InspectHardware(hardware), ListModels(catalogue), RecommendModel(catalogue, hardware, counted, places.accelerator),
        AddDataset(places, data), ValidateDataset(refs, catalogue), PreviewDataset(refs, catalogue, previews),
        EstimateCost(catalogue, hardware, counted, places.accelerator, cloud.offers),
        StartFinetune(planning, store, local, reconciler, cloud.start), ListRuns(store, views, reconciler, cloud.reconciler),
        RunStatus(store, views, reconciler, cloud.reconciler),
        TailLogs(store, views, EarlyLog(cloud.azure, cloud.prepared, cloud.store)),
        CancelRun(store, local, reconciler, cloud.reconciler), ResumeRun(planning, store, local, reconciler, cloud.resume),
        cloud.prepare, StopOrphan(cloud.azure, cloud.prepared, serving_there.orphans),
        FetchResults(cloud.azure, cloud.prepared, store, cloud.store, local),
        AdoptRun(cloud.azure, cloud.prepared, cloud.prices, store, cloud.reconciler, local),
        teardown, ListOrphans(serving_there.orphans, teardown.expired),
        CompareRuns(store, local, views), EvaluateModel(planning, store, local, engine, files), ExportModel(store, local, files),
        AskModel(store, catalogue, files, answerer, DeployedModels(deploying), cores),
        DeployInference(deploying), Redeploy(deploying), ListDeployments(deploying), StopDeployment(deploying),
        ExplainPolicy(rulebook), TestPolicy(rulebook), SpendReport(
            book, lambda: policy().limits, accruing=lambda now: [*cloud.store.accruing(now), *ServingMeter(book).accruing()]),
    )
    known.update((tool.name, tool) for tool in tools)
    reports = Reports(places, book, store, local, views, cloud.store)
    return Toolbox(places, known, store, data, catalogue, views, reconciler, engine, answerer, previews, reports, deploying, cloud)
