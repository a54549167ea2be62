"""What the person sees while the set-up works: one line that moves on a terminal, a line every ten seconds elsewhere."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

QUIET_S = 10.0


class Progress:
    """Prints lines, and a moving line with the elapsed time."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.out = sys.stdout if out is None else out
        self.clock = clock
        self.started = clock()
        self.moving = self.out.isatty()
        self.last = float("-inf")
        self.dirty = False

    def elapsed(self) -> str:
        """Minutes and seconds since the start."""
        seconds = int(self.clock() - self.started)
        return f"{seconds // 60:2d}:{seconds % 60:02d}"

    def line(self, text: str = "") -> None:
        """Print a line that stays."""
        self._wipe()
        print(text, file=self.out, flush=True)

    def step(self, text: str) -> None:
        """Print a line that stays, with the elapsed time in front."""
        self.line(f"[{self.elapsed()}] {text}")

    def update(self, text: str) -> None:
        """Show how far it is: overwritten on a terminal, seldom elsewhere."""
        now = self.clock()
        if self.moving:
            width = shutil.get_terminal_size().columns - 1
            self.out.write("\r\x1b[K" + f"[{self.elapsed()}] {text}"[:width])
            self.out.flush()
            self.dirty = True
        elif now - self.last >= QUIET_S:
            print(f"[{self.elapsed()}] {text}", file=self.out, flush=True)
            self.last = now

    def _wipe(self) -> None:
        if self.dirty:
            self.out.write("\r\x1b[K")
            self.dirty = False


def size(count: float | None) -> str:
    """A number of bytes in words: `190 MB`, `2.9 GB`; `size unknown` for None."""
    if count is None:
        return "size unknown"
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{max(1, round(count / 1e6))} MB"
