"""`python -m tests.faults.nursery`: imports the program once, then forks a whole one for every line it reads, and says how it ended."""

import asyncio
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.faults.breaker import plant
from tests.faults.plays import play
from tests.tools.fakes_runs import ROOT

Play = Callable[[str, Path, Path, dict[str, Any]], Coroutine[Any, Any, None]]


def main(play: Play = play) -> None:
    """Fork until the input ends; the answers are `{"pid": …}` at once and `{"rc": …}` at the end of each."""
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_child(asked, play))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"rc": os.waitstatus_to_exitcode(status)}), flush=True)


def _child(asked: dict[str, Any], play: Play) -> int:
    home, said = Path(asked["home"]), Path(asked["said"])

    def told(what: str) -> None:
        with said.open("a") as file:
            file.write(json.dumps({"broke": what}) + "\n")

    try:
        plant(asked["wish"], home / "runs", told)
        asyncio.run(play(asked["play"], home, said, asked["facts"]))
    except BaseException:
        Path(f"{said}.txt").write_text(traceback.format_exc())
        return 1
    return 0


class Nursery:
    """The test's end of it: one program at a time."""

    def __init__(self, module: str = "tests.faults.nursery") -> None:
        """`module` is one that calls `main`."""
        pipe = subprocess.PIPE
        self._child = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def start(self, play: str, home: Path, said: Path, wish: str = "", **facts: object) -> int:
        """Start a program; its pid."""
        assert self._child.stdin is not None
        asked = {"play": play, "home": str(home), "said": str(said), "wish": wish, "facts": facts}
        self._child.stdin.write(json.dumps(asked) + "\n")
        self._child.stdin.flush()
        return int(self._told()["pid"])

    def wait(self) -> int:
        """The status of the program that was started last; negative for a signal."""
        return int(self._told()["rc"])

    def _told(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, "the nursery has died"
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait(timeout=20)
        self._child.stdout.close()


if __name__ == "__main__":
    main()
