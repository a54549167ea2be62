"""`python -m bench.runs`: what the supervisor costs: a start, a stop, twenty idle runs, a look at the queue, a fault point."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from bench.figure import ROOT, Figure, median, show

IDLE_RUNS = 20
IDLE_S = 20.0
PASS_EVERY_S = 5.0
ENGINE = """#!{python} -S
import json, os, signal, sys, time
def stop(*_):
    with open("result.json", "w") as file:
        json.dump(dict(outcome="cancelled"), file)
    os._exit(75)
signal.signal(signal.SIGTERM, stop)
with open("events.jsonl", "a") as file:
    for step in range(1, 2001):
        file.write(json.dumps(dict(t=time.time(), kind="step", step=step, steps=9999, loss=1 / step)) + "\\n")
while True:
    signal.pause()
"""


def until(true: Callable[[], bool], what: str) -> None:
    """Look often until it is true."""
    end = time.monotonic() + 60
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.002)


class Yard:
    """A home whose engine does nothing, and the parts of a toolbox that runs need."""

    def __init__(self, home: Path) -> None:
        from policies.book import Book
        from tools.places import Places
        from tools.runs.line import Line
        from tools.runs.local import LocalRuns
        from tools.runs.reconcile import Reconciler
        from tools.runs.store import RunStore
        from tools.runs.views import Views
        from tools.serve.children import EngineChildren

        engine = home / "engine"
        engine.write_text(ENGINE.format(python=sys.executable))
        engine.chmod(0o755)
        (home / "config.json").touch()
        self.places, self.book = Places(ROOT, home, engine_python=engine), Book.open(home / "book.sqlite")
        self.store, self.line = RunStore(self.book), Line(self.book)
        self.local = LocalRuns(self.places, EngineChildren(self.places).environment, home_id=self.book.home_id())
        self.reconciler, self.views = Reconciler(self.store, self.local, self.line), Views(self.local, self.line)

    def queue(self, number: int, owner: str = "ana") -> str:
        """A prepared run in the line."""
        from tools.engine.spec import TrainSpec
        from tools.runs.rid import rid_of
        from tools.runs.store import NewRun

        run = rid_of(f"call {number}")
        plan = {"time": {"likely_s": 600, "train_s": 400}}
        self.store.create(NewRun(run, owner, None, f"call {number}", "", "bundled", "data", "qlora", plan, None))  # type: ignore[arg-type]
        home = str(self.places.home)
        spec = self.local.make(run, lambda _part, _final: TrainSpec(
            run_id=run, model_id="bundled", model_dir=home, model_digest="m", data_dir=home, data_digest="d", max_steps=9, epochs=1,
            learning_rate=0.001))
        self.store.set_spec(run, spec.model_dump(mode="json"))
        self.line.ready((run,))
        return run

    def lock(self, run: str) -> str:
        """Whether the attempt's lock is held."""
        from tools.runs.identity import lock_state

        return lock_state(self.local.folder(run) / "attempt-1.lock")

    def state(self, run: str) -> str:
        """The book's word after a pass."""
        self.reconciler.pass_()
        return self.store.wanted(run).state.value


def starts_and_stops(yard: Yard, times: int = 7) -> tuple[list[float], list[float]]:
    """Milliseconds from a prepared run to its engine's process, and from the stop to the free lock, with an engine that does nothing."""
    begun, ended = [], []
    for number in range(times):
        run = yard.queue(number)
        started = time.perf_counter()
        yard.reconciler.advance()
        begun.append((time.perf_counter() - started) * 1000)
        until((yard.local.folder(run) / "events.jsonl").exists, "the engine")
        stopped = time.perf_counter()
        yard.local.stop(run, 1, "ana")
        until(lambda run=run: yard.lock(run) == "free", "the end")
        ended.append((time.perf_counter() - stopped) * 1000)
        until(lambda run=run: yard.state(run) == "cancelled", "the book")
    return begun, ended


def cpu_of(pids: list[int]) -> float:
    """Cpu-seconds that some processes have used so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / ticks


def idle(yard: Yard) -> tuple[float, float]:
    """Cpu-seconds a second of twenty runners, and of a reconciler that passes every five seconds over twenty running runs."""
    from tools.runs import runner
    from tools.runs.runner import write_atomically
    from tools.runs.state import RunState

    children, runs = [], [yard.queue(1000 + number) for number in range(IDLE_RUNS)]
    environment = {"PATH": os.environ.get("PATH", "")}
    for run in runs:  # past the line: it would let one train
        folder = yard.local.folder(run)
        command = [sys.executable, "-I", "-S", runner.__file__, str(folder), "--engine", str(yard.places.engine_python)]
        command += ["--root", str(ROOT), "--attempt", "1", "--owner", "ana"]
        children.append(subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        yard.store.set_state(run, RunState.RUNNING, "")
    try:
        until(lambda: all((yard.local.folder(run) / "engine.json").exists() for run in runs), "the engines")
        for run in runs:
            yard.views.of(yard.store.wanted(run))
        yard.reconciler.pass_()
        time.sleep(1.0)
        pids, ours, began = [child.pid for child in children], time.process_time(), time.monotonic()
        theirs = cpu_of(pids)
        passes = 0
        while time.monotonic() - began < IDLE_S:
            if time.monotonic() - began >= passes * PASS_EVERY_S:
                yard.reconciler.pass_()
                passes += 1
            time.sleep(0.25)
        wall = time.monotonic() - began
        return (cpu_of(pids) - theirs) / wall, (time.process_time() - ours) / wall
    finally:
        for run, child in zip(runs, children, strict=True):
            write_atomically(yard.local.folder(run) / "stop-1.json", {"by": "bench"})
            child.terminate()
        for child in children:
            child.wait(60)
        yard.reconciler.pass_()


def queue_look(yard: Yard) -> float:
    """Milliseconds of a look at the last of twenty waiting runs."""
    runs = [yard.queue(2000 + number, f"person {number % 5}") for number in range(IDLE_RUNS)]
    times = []
    for _ in range(9):
        started = time.perf_counter()
        assert yard.views.of(yard.store.wanted(runs[-1])).place
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


def main() -> None:
    """Print the figures."""
    from policies import fault

    point = fault.point
    passing = min(timeit.repeat(lambda: point("bench"), number=200_000, repeat=5)) / 200_000 * 1e9
    empty = min(timeit.repeat(lambda: None, number=200_000, repeat=5)) / 200_000 * 1e9
    home = Path(tempfile.mkdtemp(prefix="luthier-bench-runs-"))
    try:
        yard = Yard(home)
        begun, ended = starts_and_stops(yard)
        runners, reconciler = idle(yard)
        look = queue_look(yard)
        yard.book.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    show([
        Figure("start of a prepared run until its runner holds the lock", median(begun), "ms", 1000, note=f"worst {max(begun):.0f} ms"),
        Figure("stop until nothing of the run lives, idle engine", median(ended), "ms", 10_000, note=f"worst {max(ended):.0f} ms"),
        Figure("supervisor CPU while 20 runs idle", 100 * (runners + reconciler), "% of a core", 1.0,
               note=f"20 runners {100 * runners:.2f} %, a pass each {PASS_EVERY_S:g} s {100 * reconciler:.2f} %, {IDLE_S:g} s"),
        Figure("a look at the last of 20 waiting runs", look, "ms", 50),
        Figure("fault.point where nobody tests", max(0.0, passing - empty), "ns", 100),
    ])


if __name__ == "__main__":
    main()
