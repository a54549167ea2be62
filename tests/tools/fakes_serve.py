"""The real serving program on the bundled model, started in a folder of a test's own."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tools.fakes_runs import ROOT, wait_until
from tools.places import Places

KEY = "lk-only-for-tests-0123456789"
BUNDLED = Places(ROOT, ROOT / "nowhere").bundled_served


class Program:
    """One serving program; `spec` replaces fields of its serve.json."""

    def __init__(self, folder: Path, **spec: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        key = folder / "key"
        key.write_text(KEY)
        key.chmod(0o600)
        model = {"name": "bundled", "folder": str(BUNDLED), "precision": "int8"}
        whole = {"deployment_id": "0123456789", "key_path": str(key), "threads": 2, "models": [model], **spec}
        (folder / "serve.json").write_text(json.dumps(whole))
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> "Program":
        """Start it and wait until it answers."""
        self.spawn()
        self.wait(lambda: self.told("serving.json").get("state") == "running", "the models to be loaded")
        return self

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Start it."""
        command = [str(Places(ROOT, self.folder).engine_python), "-m", "tools.engine", "serve", str(self.folder)]
        with (self.folder / "log.txt").open("ab") as log:
            self.child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)})
        return self.child

    def wait(self, true: Callable[[], bool], what: str) -> None:
        """Until it is true; AssertionError with the log when the program has ended before."""
        child = self.child
        assert child is not None
        wait_until(lambda: true() or child.poll() is not None, what, timeout_s=60)
        assert true(), f"{what}: it ended with {child.poll()}: {(self.folder / 'log.txt').read_text()[-2000:]} {self.told('exit.json')}"

    def told(self, name: str) -> dict[str, Any]:
        """One of its files; empty when it is not there."""
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.told("serving.json")["port"])

    @property
    def url(self) -> str:
        """For OpenAI's client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def metric(self, name: str) -> float:
        """One figure of /metrics, summed over its labels."""
        import httpx

        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((name + " ", name + "{")))

    def end(self, signum: int = signal.SIGTERM) -> int:
        """Signal it and wait; its exit status."""
        assert self.child is not None
        self.child.send_signal(signum)
        return self.child.wait(30)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens, as hexadecimal address:port, IPv4 and IPv6."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                found.add(parts[1])
    return found


def loopback(port: int) -> str:
    """127.0.0.1 and a port as the kernel writes them."""
    return f"{socket.ntohl(int.from_bytes(socket.inet_aton('127.0.0.1'))):08X}:{port:04X}"


def until_free(port: int, timeout_s: float = 10.0) -> None:
    """Until nobody answers on a port of this machine."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    raise AssertionError(f"somebody still answers on port {port}")
