"""One home of a fault test and the lives that programs lead in it, one after the other."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.evidence import broken, processes
from tests.faults.nursery import Nursery
from tests.tools.fakes_runs import wait_until

SAFE_S = 180.0
"""The second life comes so much later by the clock of the gate: leases are over, nothing else is."""


@dataclass
class Town:
    """A home, and what every program in it has said."""

    nursery: Nursery
    home: Path
    lives: list[Path] = field(default_factory=list)

    def start(self, play: str, wish: str = "", **facts: object) -> int:
        """Start a program; its pid. It must have ended before the next."""
        self.lives.append(self.home.with_name(f"{self.home.name}-life-{len(self.lives)}.jsonl"))
        return self.nursery.start(play, self.home, self.lives[-1], wish, **facts)

    def live(self, play: str, wish: str = "", **facts: object) -> int:
        """Start a program and wait for its end: its status."""
        self.start(play, wish, **facts)
        return self.nursery.wait()

    def kill(self, pid: int) -> None:
        """kill -9, and wait."""
        os.kill(pid, signal.SIGKILL)
        assert self.nursery.wait() == -signal.SIGKILL, self.trouble()

    def said(self, life: int | None = None) -> list[dict[str, Any]]:
        """What was said in one life, or in all."""
        files = self.lives if life is None else [self.lives[life]]
        return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines() if line.endswith("}")]

    def hear(self, key: str) -> Any:
        """Wait until the program that lives now says something under this key: the last such word."""
        wait_until(lambda: any(key in one for one in self.said(-1)) or bool(self.trouble()), key)
        assert not self.trouble(), self.trouble()
        return self.word(key)

    def word(self, key: str, life: int = -1) -> Any:
        """The last thing said under this key in a life; None when it was not said."""
        return next((one[key] for one in reversed(self.said(life)) if key in one), None)

    def trouble(self) -> str:
        """The traceback of the last program; empty when it had none."""
        return "\n".join(file.read_text() for life in self.lives[-1:] if (file := Path(f"{life}.txt")).exists())

    def events(self, run: str, kind: str = "step") -> list[dict[str, Any]]:
        """A run's events of a kind."""
        path = self.home / "runs" / run / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [one for line in lines if (one := json.loads(line))["kind"] == kind]

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Look often until it is true."""
        wait_until(true, f"{what} {self.trouble()}")

    def sound(self) -> None:
        """Live again to the end, as if nothing had happened, and keep every promise."""
        assert self.live("life", tries=4, later_s=SAFE_S) == 0, self.trouble()
        assert self.word("closed"), self.said(-1)
        self.kept()

    def kept(self, *, settled: bool = True) -> None:
        """Every promise is kept now, and nothing is left at work."""
        found = broken(self.home, self.said(), settled=settled)
        assert not found, found
        wait_until(lambda: not processes(self.home / "runs"), "the end of every process")

    def killed_in_runner(self, point: str) -> bool:
        """Whether a runner ended at a point."""
        return any(f"ended by the fault {point}" in log.read_text(errors="replace") for log in self.home.glob("runs/*/log.txt"))
