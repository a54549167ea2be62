"""`python -m bench.server`: how soon the page is ready after `python -m ui`, and what the idle server holds in memory."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.figure import ROOT, Figure, median, show

STARTS = 3
READY_S, IDLE_MB = 8.0, 280.0
QUIET_S = 5.0
GIVE_UP_S = 120.0


@contextmanager
def server(home: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """A server on a home of its own: the process, the sign-in link it printed, and the seconds until the page answered."""
    env = {**os.environ, "LUTHIER_HOME": str(home), "LUTHIER_PORT": str(port), "LUTHIER_BRAIN": ""}
    started = time.monotonic()
    command = [sys.executable, "-m", "ui"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        try:
            link = read_link(child)
            wait_for_page(link.partition("/enter")[0], started)
            yield child, link, time.monotonic() - started
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def read_link(child: subprocess.Popen[str]) -> str:
    """The one-time link among the lines that the server prints."""
    assert child.stdout is not None
    said = []
    for line in child.stdout:
        said.append(line)
        for word in line.split():
            if "/enter?t=" in word:
                return word
    raise RuntimeError("The server ended without a sign-in link:\n" + "".join(said))


def wait_for_page(url: str, started: float) -> None:
    """Until the chat's page answers (signed in or not)."""
    while time.monotonic() - started < GIVE_UP_S:
        try:
            with urllib.request.urlopen(f"{url}/chat/", timeout=5) as answer:
                if answer.status == 200:
                    return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {GIVE_UP_S:.0f} s")


def idle_megabytes(pid: int) -> float:
    """Resident memory of the server and its children when it has not changed by 1 MB for five seconds."""
    process = psutil.Process(pid)
    last, since, give_up = 0.0, time.monotonic(), time.monotonic() + GIVE_UP_S
    while time.monotonic() < give_up:
        family = [process, *process.children(recursive=True)]
        now = sum(each.memory_info().rss for each in family) / 1e6
        if abs(now - last) > 1:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= QUIET_S:
            break
        time.sleep(0.25)
    return last


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def measure() -> list[Figure]:
    """Three starts; the first makes the home."""
    ready, idle = [], []
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as folder:
        for _ in range(STARTS):
            with server(Path(folder, "home"), free_port()) as (child, _, seconds):
                ready.append(seconds)
                idle.append(idle_megabytes(child.pid))
    note = f"median of {STARTS}: " + ", ".join(f"{seconds:.1f}" for seconds in ready)
    return [Figure("page ready after start", median(ready), "s", READY_S, note=note),
            Figure("idle server, resident", median(idle), "MB", IDLE_MB, note="no change by 1 MB for 5 s; nobody signed in")]


if __name__ == "__main__":
    show(measure())
