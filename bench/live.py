"""`python -m bench.live`: how soon the screen shows what the engine writes, how fast a log is read, how long a long curve takes to draw."""

import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.figure import ROOT, Figure, median, show
from bench.runs import Yard, until
from bench.server import free_port, server

SAMPLES = 120
STEPS = 100_000
LOG_MB = 64
LINE = "{'loss': '1.2345', 'grad_norm': '0.8712', 'learning_rate': '0.0002', 'epoch': '0.41'} step %07d of the run\n"


@contextmanager
def running(home: Path) -> Iterator[str]:
    """A run of the owner that trains for ever without doing anything; its id."""
    from tools.runs import runner
    from tools.runs.runner import write_atomically
    from tools.runs.state import RunState

    yard = Yard(home)
    run = yard.queue(1, "owner")
    folder = yard.local.folder(run)
    command = [sys.executable, "-I", "-S", runner.__file__, str(folder), "--engine", str(yard.places.engine_python)]
    child = subprocess.Popen([*command, "--root", str(ROOT), "--attempt", "1", "--owner", "owner"], cwd=folder, stdin=subprocess.DEVNULL)
    yard.store.set_state(run, RunState.RUNNING, "")
    until((folder / "engine.json").exists, "the engine")
    yard.book.close()
    try:
        yield run
    finally:
        write_atomically(folder / "stop-1.json", {"by": "bench"})
        child.terminate()
        child.wait(60)


def write(folder: Path, times: dict[int, float], stop: threading.Event) -> None:
    """Append a line to the log and an event, at odd moments, and note when each was written."""
    chance, number = random.Random(5), 10_000
    while not stop.wait(chance.uniform(0.05, 0.3)):
        number += 1
        event = {"t": time.time(), "kind": "step", "step": number, "steps": 99_999, "loss": 1 / number}
        with (folder / "log.txt").open("a") as log, (folder / "events.jsonl").open("a") as events:
            log.write(f"written {number}\n")
            events.write(json.dumps(event) + "\n")
        times[number] = time.monotonic()


def to_the_screen(home: Path) -> list[Figure]:
    """From a write in the run folder to the frame that a signed-in client of the real server receives."""
    lines, points, frames = dict[int, float](), dict[int, float](), 0
    with running(home) as run, server(home, free_port()) as (_, link, _seconds), httpx.Client(timeout=60) as client:
        client.get(link)
        stop, times = threading.Event(), dict[int, float]()
        writer = threading.Thread(target=write, args=(home / "runs" / run, times, stop), daemon=True)
        base = link.partition("/enter")[0]
        began = 0.0
        with client.stream("GET", f"{base}/runs/{run}/events") as stream:
            for text in stream.iter_lines():
                if not text.startswith("data: {"):
                    continue
                now, news = time.monotonic(), json.loads(text[6:])
                if not began:
                    began = now
                    writer.start()
                    continue
                frames += 1
                for line in (news.get("log") or {}).get("lines", ()):
                    if found := re.fullmatch(r"written (\d+)", line):
                        lines[int(found[1])] = now
                points.update((step, now) for step, _ in news.get("train") or ())
                if len(points) >= SAMPLES and len(lines) >= SAMPLES:
                    break
        stop.set()
        writer.join()
        rate = frames / (time.monotonic() - began)
    log = sorted(lines[number] - times[number] for number in lines if number in times)
    event = sorted(points[number] - times[number] for number in points if number in times)
    note = f"{SAMPLES} lines through the real server; median {median(log):.2f} s, worst {log[-1]:.2f} s"
    return [
        Figure("log line written → on the stream, p95", log[int(len(log) * 0.95)], "s", 1, note=note),
        Figure("step written → on the stream, p95", event[int(len(event) * 0.95)], "s", 1, note=f"median {median(event):.2f} s"),
        Figure("frames a second while it trains", rate, "/s", 4.1, note="at most four, however fast the trainer"),
    ]


def log_pace(folder: Path) -> Figure:
    """Read, made readable and redacted, look by look as the stream does it."""
    from tools.runs.logs import CHUNK, follow

    path, count = folder / "log.txt", LOG_MB * 1_000_000 // len(LINE % 0)
    path.write_text("")
    mark, read, spent, number = follow(path).mark, 0, 0.0, 0
    with path.open("a") as file:
        while number < count and spent < 5:
            some = [LINE % (number + each) for each in range(400)]
            number += 400
            file.writelines(some)
            file.flush()
            began = time.perf_counter()
            news = follow(path, mark)
            spent += time.perf_counter() - began
            mark, read = news.mark, read + sum(len(line) + 1 for line in news.lines)
    return Figure("log read and redacted", read / spent / 1e6, "MB/s", None, "higher", f"400 lines a look, at most {CHUNK // 1024} KiB")


def long_curve(folder: Path) -> tuple[list[Figure], Mapping[str, object]]:
    """The curve of a run of 100,000 steps, as a reader gets it who comes late."""
    from tools.runs.watch import RunWatch

    chance = random.Random(7)
    with (folder / "events.jsonl").open("w") as file:
        for step in range(1, STEPS + 1):
            loss = 3 * 0.99997**step + chance.random() / 5
            file.write(json.dumps({"t": step / 10, "kind": "step", "step": step, "steps": STEPS, "loss": round(loss, 5)}) + "\n")
            if step % 500 == 0:
                file.write(json.dumps({"t": step / 10, "kind": "eval", "step": step, "eval_loss": round(loss, 5)}) + "\n")
    watch = RunWatch(folder)
    began = time.perf_counter()
    train, held_out, _ = watch.curves()
    first = time.perf_counter() - began
    began = time.perf_counter()
    train, held_out, _ = watch.curves()
    again = (time.perf_counter() - began) * 1000
    curves = {"train": train, "eval": held_out}
    size = len(json.dumps(curves)) / 1000
    return [
        Figure("curve of 100,000 steps, first look", first, "s", None, note="every event parsed once, off the server's loop"),
        Figure("the same, each later look", again, "ms", 50, note=f"{len(train)} + {len(held_out)} points, {size:.0f} kB"),
    ], curves


def drawn(curves: Mapping[str, object]) -> list[Figure]:
    """How long the browser takes to draw it, in place."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import FLAGS, browser_path
    from ui.routes import PLOTLY

    program = (ROOT / "public" / "run-chart.js").read_text(encoding="utf-8")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(playwright.chromium.executable_path), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.set_content("<body><div id='at' style='width:640px'></div></body>")
        page.add_script_tag(content=PLOTLY.read_text(encoding="utf-8"))
        page.add_script_tag(content=program)
        page.evaluate("(curves) => { window.chart = LuthierRunChart.mount(document.getElementById('at'), {steps: 100000});"
                      " window.chart.update({curves}); }", curves)
        page.wait_for_function("+document.querySelector('.lu-plot').dataset.points > 100")
        times = []
        for turn in range(9):
            page.evaluate("(step) => { delete document.querySelector('.lu-plot').dataset.drawMs;"
                          " window.chart.update({train: [[step, 0.4]]}); }", STEPS + 1 + turn)
            page.wait_for_function("document.querySelector('.lu-plot').dataset.drawMs")
            times.append(float(page.locator(".lu-plot").get_attribute("data-draw-ms") or "nan"))
        browser.close()
    note = f"median of {len(times)}, in place; worst {max(times):.0f}"
    return [Figure("that curve drawn in the browser", median(times), "ms", 50, note=note)]


def measure() -> list[Figure]:
    """All of them."""
    with tempfile.TemporaryDirectory(prefix="luthier-bench-live-") as scratch:
        home, folder = Path(scratch, "home"), Path(scratch, "long")
        home.mkdir()
        folder.mkdir()
        found, curves = long_curve(folder)
        return [*to_the_screen(home), *found, *drawn(curves), log_pace(folder)]


if __name__ == "__main__":
    show(measure())
