"""A home whose engine is a small script, a planning that needs no model, and short graces: runs in a test's time."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from policies.book import Book
from policies.tool import Call
from tools.hardware import Cpu, Machine, Memory
from tools.models import ModelFolder, ModelShape
from tools.outlook import DatasetFacts
from tools.places import Accelerator, Places
from tools.runs.line import Line
from tools.runs.local import LocalRuns
from tools.runs.reconcile import Reconciler
from tools.runs.resume import ResumeRun
from tools.runs.start import StartFinetune
from tools.runs.state import RunState
from tools.runs.stop import CancelRun
from tools.runs.store import NewRun, RunStore
from tools.runs.views import Views
from tools.serve.children import EngineChildren

ROOT = Path(__file__).resolve().parent.parent.parent
SHAPE = ModelShape(layers=4, hidden=64, intermediate=128, vocab=512, heads=4, kv_heads=2, head_dim=16, context=512, parameters=200_000)
MACHINE = Machine(
    cpu=Cpu("a processor", 2, ("avx2",)), memory=Memory(8 << 30, 6 << 30), gpus=(), npu=None, disk_free_bytes=50 << 30, os="Linux",
    python="3.11", wsl=False, load=0.0, notes=(),
)
ROWS = DatasetFacts(rows=40, train_rows=30, p50=50, p95=80, max=100, digest="d" * 64)


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Look often until it is true; AssertionError with `what` when it never is."""
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, f"waited in vain for: {what}"
        time.sleep(0.02)


def engine_script(folder: Path) -> Path:
    """An interpreter's stand-in that starts the fake engine, whatever it is told."""
    path = folder / "engine" / "bin" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/tools/fake_engine.py"} "$@"\n')
    path.chmod(0o755)
    return path


@dataclass
class FakePlanning:
    """Implements `tools.runs.start.Planning` with facts a test may change."""

    folder: Path
    rows: DatasetFacts = ROWS
    model_digest: str = "a" * 64
    now: Machine = MACHINE
    mode: str = "finishes"
    system: str = "Answer briefly."
    accelerator: Accelerator = "cpu"
    prepared: list[str] = field(default_factory=list)

    def model(self, model: str) -> ModelFolder:
        return ModelFolder(
            id=model, path=self.folder, digest=self.model_digest, shape=SHAPE, architecture="llama", dtype="F32", bytes=800_000,
            chat_template=True, license="Apache-2.0", revision="", warnings=(),
        )

    def facts(self, dataset: str, model: str) -> DatasetFacts:
        return self.rows

    def prepare(self, dataset: str, out: Path, seed: int) -> str:
        said = (("system", self.system), ("user", "q"), ("assistant", "a"))
        row = {"messages": [{"role": role, "content": content} for role, content in said]}
        for side in ("train", "validation", "test"):
            (out / f"{side}.jsonl").write_text(json.dumps(row) + "\n")
        (out.parent / "mode.txt").write_text(self.mode)
        self.prepared.append(dataset)
        return self.rows.digest

    def machine(self) -> Machine:
        return self.now

    def base_served(self, model: ModelFolder) -> Path:
        return self.folder / "base-served"

    def longest_hours(self) -> int:
        return 72

    def check_engine(self) -> None:
        """Always there: tests of a missing one take it away later."""


class RunWorld:
    """One home."""

    def __init__(self, home: Path, grace_s: float = 0.5, machine_lock: Path | None = None) -> None:
        self.places = Places(ROOT, home, engine_python=engine_script(home), machine_lock=machine_lock or home / "runs" / ".machine.lock")
        self.book = Book.open(home / "book.sqlite")
        self.engine = EngineChildren(self.places, {**os.environ, "OPENAI_API_KEY": "not for children"})
        (home / "config.json").touch()  # the folder is the model's, too
        self.store, self.line = RunStore(self.book), Line(self.book)
        self.local = LocalRuns(self.places, self.engine.environment, home_id=self.book.home_id(), grace_s=grace_s, beat_s=0.05)
        self.reconciler, self.views = Reconciler(self.store, self.local, self.line), Views(self.local, self.line)
        self.planning = FakePlanning(home)
        self.start = StartFinetune(self.planning, self.store, self.local, self.reconciler)
        self.cancel = CancelRun(self.store, self.local, self.reconciler)
        self.resume = ResumeRun(self.planning, self.store, self.local, self.reconciler)

    def begin(self, mode: str, call_id: str = "call-1", person: str = "owner", thread: str | None = "thread-1") -> str:
        """Start a run whose engine behaves as `mode` says."""
        self.planning.mode = mode
        args = self.start.Args.model_validate({"model": "bundled", "dataset": "samples/helpdesk.jsonl"})
        plan = self.start.propose(args).plan  # type: ignore[arg-type]
        done = self.start.perform(args, Call(call_id, person, thread, plan=plan))  # type: ignore[arg-type]
        return str(done.result["run_id"])

    def state(self, run_id: str) -> RunState:
        """The book's word after a pass."""
        self.reconciler.pass_()
        return self.store.wanted(run_id).state

    def until(self, run_id: str, *states: RunState) -> None:
        """Reconcile until the run is in one of the states."""
        wait_until(lambda: self.state(run_id) in states, f"{run_id} {states}, it is {self.store.wanted(run_id).state}")

    def row(self, run_id: str = "0123456789", owner: str = "owner", thread: str | None = None, state: RunState | None = None) -> str:
        """Only a row of the book, with an empty folder; it has the machine if nobody else has."""
        self.store.create(NewRun(run_id, owner, thread, f"call of {run_id}", "", "bundled", "samples/a.jsonl", "qlora", {}, None))
        (self.places.runs / run_id).mkdir(parents=True)
        self.line.ready((run_id,))
        self.line.take()
        if state is not None:
            self.store.set_state(run_id, state, "as the test wants")
        return run_id

    def close(self) -> None:
        """End what is left of every run, and the book."""
        for row in self.store.alive():
            if row.waits:
                self.line.leave(row, RunState.CANCELLED, "the test is over", {})
        for row in self.store.alive():
            self.local.stop(row.id, row.attempt)
            wait_until(lambda row=row: self.state(row.id) not in {RunState.QUEUED, RunState.RUNNING}, "the end of the run")
        self.engine.close()
        self.book.close()

    def with_rows(self, **changes: int | str) -> None:
        """Another dataset behind the same name."""
        self.planning.rows = replace(self.planning.rows, **changes)
