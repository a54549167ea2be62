"""A person's stop: SIGTERM becomes a checkpoint while training steps run, and an immediate end everywhere else."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tools.engine.failure import Cancelled

GRACE_S = 8.0
"""Seconds that native code outside the training loop may go on before the process is ended around it."""


class Stop:
    """Whether a stop was asked, and what may be interrupted now."""

    def __init__(self, give_up: Callable[[], None], grace_s: float = GRACE_S) -> None:
        """`give_up` ends the process from another thread when native code does not return to Python."""
        self.asked = False
        self._stepping = False
        self._give_up, self._grace_s = give_up, grace_s
        self._timer: threading.Timer | None = None

    def listen(self) -> None:
        """Take SIGTERM and SIGINT. Call from the main thread."""
        signal.signal(signal.SIGTERM, self._heard)
        signal.signal(signal.SIGINT, self._heard)

    def _heard(self, signum: int, _frame: FrameType | None) -> None:
        if self.asked:
            return
        self.asked = True
        if not self._stepping:
            self._end_soon()
            raise Cancelled

    def _end_soon(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._grace_s, self._give_up)
            self._timer.daemon = True
            self._timer.start()

    def rest(self) -> None:
        """Hear no more: the attempt is writing its end."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_IGN)
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        """Raise Cancelled when a stop was asked: an exception raised inside a native callback may have been lost."""
        if self.asked:
            raise Cancelled

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """While this is open a stop only sets the flag; the training loop saves and ends by itself."""
        self.check()
        self._stepping = True
        try:
            yield
        finally:
            self._stepping = False
            if self.asked:
                self._end_soon()
