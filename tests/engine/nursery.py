"""`python -m tests.engine.nursery`: imports the training libraries once, then forks a real engine process for every line it reads.

A line is `{"folder": …, "fault": …}`; the answers are `{"pid": …}` at once and `{"rc": …}` when that process has ended.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.engine import environment, fault

HEAVY = (
    "olive.workflows", "olive.passes.pytorch.lora", "olive.model", "peft", "bitsandbytes", "accelerate", "datasets", "tools.engine.trainer",
    "tools.engine.olive_run", "tools.engine.score",
)  # fmt: skip


def main() -> None:
    """Fork until the input ends."""
    environment.settle(threads=1)
    for name in HEAVY:
        importlib.import_module(name)
    from tools.engine.train import train

    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.chdir(asked["folder"])
                if asked["fault"]:
                    fault.point = fault.planted(asked["fault"])
                code = train(Path(asked["folder"]))
            finally:
                os._exit(code)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"rc": os.waitstatus_to_exitcode(status)}), flush=True)


class Nursery:
    """The test's end of it: starts engine processes one after the other."""

    def __init__(self, environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.engine.nursery"]
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def _told(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, "the nursery has died"
        return json.loads(line)

    def start(self, folder: Path, wish: str = "") -> int:
        """Start the engine on a run folder, with what LUTHIER_FAULT would hold; its pid. Wait for it before the next."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"folder": str(folder), "fault": wish}) + "\n")
        self._child.stdin.flush()
        return int(self._told()["pid"])

    def wait(self) -> int:
        """The exit status of the process that was started last; negative for a signal."""
        return int(self._told()["rc"])

    def run(self, folder: Path, wish: str = "") -> int:
        """Start and wait."""
        self.start(folder, wish)
        return self.wait()

    def close(self) -> None:
        """End it."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(timeout=20)


if __name__ == "__main__":
    main()
