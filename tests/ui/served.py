"""A real server process over a temporary home, for tests that speak to it from outside."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from queue import Empty, Queue

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"https?://\S+/enter\?t=\S+")
FAKE = ("-m", "tests.browser.fake_server")
REAL = ("-m", "ui")
START_S = 90


class Served:
    """Starts, kills and restarts one server; `link` is the newest sign-in link that it printed."""

    def __init__(self, home: Path, program: tuple[str, ...] = FAKE, env: Mapping[str, str] | None = None) -> None:
        self.home, self.program = home, program
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LUTHIER_", "CHAINLIT_"))},
            "LUTHIER_HOME": str(home), "LUTHIER_RUNTIME": str(home), "LUTHIER_PORT": "0", "PYTHONUNBUFFERED": "1", **(env or {}),
        }
        self.log = home.parent / f"{home.name}.log"
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.link = ""

    @property
    def url(self) -> str:
        """The server's address."""
        return self.link.split("/enter")[0]

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> "Served":
        """Start and wait for the sign-in link. The port stays the same over restarts."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program], cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        lines: Queue[str] = Queue()
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=_read, args=(self.process.stdout, lines), daemon=True)
        self._reader.start()
        while True:
            try:
                line = lines.get(timeout=START_S)
            except Empty:
                line = ""
            if not line:
                raise AssertionError(f"The server said no link.\n{self.errors()}")
            if found := LINK.search(line):
                self.link = found.group()
                self.env["LUTHIER_PORT"] = self.url.rsplit(":", 1)[1]
                return self

    def new_link(self) -> str:
        """A fresh sign-in link, through the control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.home / "control.sock"))
            control.sendall(b'{"op": "link"}\n')
            found = json.loads(control.makefile().readline())["end"]
        return f"{self.url}/enter?t={found['token']}"

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """Ask it to end, and wait until it has."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        assert self.process is not None and self._reader is not None
        status = self.process.wait(30)
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def errors(self) -> str:
        """What the server wrote to its error output."""
        return self.log.read_text("utf-8") if self.log.exists() else ""


def _read(stream: Iterable[str], lines: "Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")
