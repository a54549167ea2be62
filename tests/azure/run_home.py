"""A home whose runs go to the stand-in: a real book and gateway, the real tools of runs, and executions that a test scripts."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.settling import Settling
from policies.book import Book
from policies.gateway import Gateway
from policies.ledger import used
from policies.people import Caller, People
from policies.policy import Policy
from policies.verdict import Answer, ApprovalView
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.world import Execution
from tests.tools.fakes_runs import ROOT, FakePlanning
from tools.azure.client import Azure
from tools.azure.place import PlaceStore
from tools.azure.prices import Prices
from tools.places import Places
from tools.runs.azure import AzureRuns
from tools.runs.cloud_look import Waits
from tools.runs.cloud_project import Projection
from tools.runs.cloud_reconcile import CloudReconciler
from tools.runs.cloud_row import CloudRow
from tools.runs.cloud_store import CloudStore
from tools.runs.cloud_view import CloudViews
from tools.runs.line import Line
from tools.runs.local import LocalRuns
from tools.runs.look import ListRuns, RunStatus
from tools.runs.reconcile import Reconciler
from tools.runs.resume import ResumeRun
from tools.runs.resume_cloud import CloudResume
from tools.runs.start import StartFinetune
from tools.runs.start_cloud import CloudStart
from tools.runs.stop import CancelRun
from tools.runs.store import RunStore
from tools.runs.views import Views
from tools.settlement import Settlement

OWNER = Caller("owner", "cli", "peer uid", "terminal")
ENGINE = "e" * 64
QUICK = Waits(in_flight=0.3, settle=0.2, grace=0.5, no_start=2, warn=1, silence=2, lost=2, stop_again=0.2, infra=60, infra_pause=0.1,
              pause=0.02)
"""Everything that is waited for, in a test's time."""


@dataclass
class Fetched:
    """What was downloaded."""

    files: tuple[str, ...] = ()
    verified: bool = True


class FolderCargo:
    """Puts a run's folder on the share, and takes its adapter back, without the share's own protocol."""

    def __init__(self, share: Path) -> None:
        self._share = share

    def upload(self, share: Any, root: Path, spec: Any, folder: Path, say: Callable[[str, float | None], None],
               engine: str) -> None:
        """Spec and data; the folders that a job mounts."""
        for each in (f"engine/{engine}", "models", f"runs/{spec.run_id}/data"):
            (self._share / each).mkdir(parents=True, exist_ok=True)
        for each in ("train", "validation", "test"):
            shutil.copyfile(folder / "data" / f"{each}.jsonl", self._share / f"runs/{spec.run_id}/data/{each}.jsonl")
        say("uploading", 0.5)
        (self._share / f"runs/{spec.run_id}/spec.json").write_text(spec.model_dump_json())

    def fetch(self, share: Any, run_id: str, folder: Path, say: Callable[[str, float | None], None]) -> Fetched:
        """The adapter."""
        found = self._share / "runs" / run_id / "adapter"
        if found.is_dir():
            shutil.copytree(found, folder / "adapter", dirs_exist_ok=True)
        return Fetched(("adapter",))


class RunHome:
    """One home on one stand-in."""

    def __init__(self, home: Path, cloud: Cloud, *, waits: Waits = QUICK, secrets: dict[str, str] | None = None) -> None:
        self.home, self.cloud, self.waits, self.secrets = home, cloud, waits, secrets or {}
        home.mkdir(exist_ok=True)
        (home / "config.json").touch()
        self.places = Places(ROOT, home)
        self.planning = FakePlanning(home)
        self.open()

    def open(self) -> None:
        """As the program opens a home; once more after a crash."""
        self.book = Book.open(self.home / "book.sqlite")
        self.azure = Azure(self.cloud.choice(), self.book.home_id())
        self.prepared, self.policy = PlaceStore(self.book), Policy.load()
        self.people = People(self.book)
        self.people.ensure_owner()
        self.runs, line = RunStore(self.book), Line(self.book)
        self.local = LocalRuns(self.places, lambda threads: {}, home_id=self.book.home_id())
        self.store = CloudStore(self.book)
        secret = self.secrets.get
        self.reconciler = CloudReconciler(self.store, Projection(self.runs, self.local), self.backend, waits=self.waits)
        prices = Prices(self.azure, self.home / "cache" / "prices.json")
        self.start = CloudStart(self.azure, self.prepared, prices, self.runs, self.local, self.reconciler, self.package,
                                lambda: self.policy.limits, secret)
        here = Reconciler(self.runs, self.local, line)
        self.views = Views(self.local, line, cloud=CloudViews(self.store))
        tools: tuple[Any, ...] = (
            StartFinetune(self.planning, self.runs, self.local, here, self.start),
            CancelRun(self.runs, self.local, here, self.reconciler),
            ResumeRun(self.planning, self.runs, self.local, here, CloudResume(self.start, self.runs, self.local)),
            RunStatus(self.runs, self.views, here, self.reconciler), ListRuns(self.runs, self.views, here, self.reconciler),
        )
        self.tools = {tool.name: tool for tool in tools}
        self.gateway = Gateway(self.tools, self.book, self.policy, self.people)

    def package(self) -> str:
        """The digest of the engine package."""
        return ENGINE

    def backend(self) -> AzureRuns:
        """Azure's own calls to the stand-in."""
        return AzureRuns(self.azure, self.prepared, self.places, self.local, self.secrets.get, cargo=FolderCargo(self.cloud.share_root))

    def prepare(self) -> None:
        """What prepare_cloud would have made."""
        self.prepared.put(self.cloud.prepared(self.book.home_id()))

    # ── a person's part ──────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, **more: Any) -> Answer:
        """Ask for a run on Azure."""
        raw = {"model": "bundled", "dataset": "samples/helpdesk.jsonl", "provider": "azure", **more}
        return await self.gateway.call("start_finetune", raw, OWNER)

    async def begin(self, **more: Any) -> str:
        """Ask for it and say yes; the run's id."""
        answer = await self.ask(**more)
        assert answer.approval is not None, answer
        done = await self.gateway.decide(answer.approval.id, "approve", OWNER)
        assert done.answer is not None and done.answer.status == "done", done
        return str(done.answer.result["run_id"])

    def view(self, answer: Answer) -> ApprovalView:
        """The card of a call that waits."""
        assert answer.approval is not None, answer
        return answer.approval

    async def sweep(self) -> None:
        """What the workshop's loops do: look, stop what is due, settle what has ended."""
        await asyncio.to_thread(self.reconciler.round)
        await self.gateway.stop_due()
        await Settling(self).round()  # type: ignore[arg-type]

    async def until_over(self, run_id: str, timeout_s: float = 40) -> CloudRow:
        """Sweep until the run has ended and its money is settled."""
        until = time.monotonic() + timeout_s
        while True:
            await self.sweep()
            row = self.row(run_id)
            if row.ended and not self.settlements():
                return row
            assert time.monotonic() < until, f"{row.phase} {row.seen}: {self.story(run_id)}"
            await asyncio.sleep(0.02)

    async def until(self, what: Callable[[], bool], timeout_s: float = 30) -> None:
        """Sweep until it is true."""
        until = time.monotonic() + timeout_s
        while not what():
            await self.sweep()
            assert time.monotonic() < until, [(row.phase, row.seen) for row in self.store.rows()]
            await asyncio.sleep(0.02)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def door(self) -> "RunHome":
        """As a door, for what settles."""
        return self

    @property
    def toolbox(self) -> "RunHome":
        """As a toolbox, for what settles."""
        return self

    def settlements(self) -> list[Settlement]:
        """As the toolbox gives them."""
        return self.store.settlements()

    def row(self, run_id: str) -> CloudRow:
        """The run in the cloud."""
        found = self.store.get(run_id)
        assert found is not None
        return found

    def story(self, run_id: str) -> list[str]:
        """Its phases."""
        return [to for _, _, _, to, _ in self.store.events(run_id)]

    def money(self, run_id: str) -> tuple[int, int]:
        """Reserved and settled micro-units of the call that began it."""
        found = self.book.read(lambda db: used(db, call_id=self.row(run_id).call_id))
        return found.reserved, found.settled

    def close(self) -> None:
        """As the program closes."""
        self.reconciler.close()
        self.azure.close()
        self.gateway.close()
        self.book.close()


def reports(execution: Execution, *, result: dict[str, Any] | None = None, end: bool = True) -> None:
    """What a run that works leaves on the share, and then the end of its execution."""
    folder = execution.run_folder
    attempt = int(execution.environment["LUTHIER_ATTEMPT"])
    (folder / f"attempt-{attempt}.lock").write_text(execution.name)
    (folder / "heartbeat").touch()
    (folder / "started.json").write_text(json.dumps({"gpu": "T4", "attempts": [{"at": time.time()}]}))
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "stage", "stage": "train", "t": time.time()}) + "\n")
    with (folder / "log.txt").open("a") as file:
        file.write("training\n")
    if end:
        (folder / "adapter").mkdir(exist_ok=True)
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
        (folder / "result.json").write_text(json.dumps(result or {"outcome": "finished", "step": 4, "steps": 4}))
        (folder / "exit.json").write_text(json.dumps({"attempt": attempt, "rc": 0, "signal": None}))
        execution.end("Succeeded", 0, at=datetime.now(UTC))


def works() -> ScriptedExecution:
    """A run that finishes at once."""
    return ScriptedExecution(reports)


def trains() -> ScriptedExecution:
    """A run that reports, and goes on until it is stopped."""
    return ScriptedExecution(lambda each: reports(each, end=False))


