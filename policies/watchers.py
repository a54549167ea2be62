"""Who wants to know: listeners of approvals, and reporters of one call's progress."""

import asyncio
import logging
from collections.abc import Callable

from policies.redact import redact
from policies.verdict import Answer, ApprovalView

Listener = Callable[[ApprovalView, Answer | None], None]
Report = Callable[[str, float | None], None]
log = logging.getLogger("luthier")


class Watchers:
    """Listeners that hear of every change of an approval; one that fails never disturbs the others or the call."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def add(self, listener: Listener) -> Callable[[], None]:
        """Hear of every change from now on; returns what ends it."""
        self._listeners.append(listener)

        def leave() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return leave

    def tell(self, view: ApprovalView | None, answer: Answer | None = None) -> None:
        """Tell everybody, in the event loop."""
        for listener in tuple(self._listeners) if view is not None else ():
            try:
                listener(view, answer)  # pyright: ignore[reportArgumentType]
            except Exception as error:
                log.error("a listener of approvals failed: %s", redact(repr(error)))


class Reporters:
    """Everybody who waits for one call; a tool's thread reports, the event loop tells."""

    def __init__(self) -> None:
        self._reports: list[Report] = []
        self._loop = asyncio.get_running_loop()

    def add(self, report: Report | None) -> None:
        """Attach one more waiting caller."""
        if report is not None:
            self._reports.append(report)

    def report(self, text: str, fraction: float | None = None) -> None:
        """Pass progress on; safe from any thread, harmless when nobody listens."""
        if self._reports and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, redact(text), fraction)

    def _tell(self, text: str, fraction: float | None) -> None:
        for one in tuple(self._reports):
            try:
                one(text, fraction)
            except Exception as error:
                self._reports.remove(one)
                log.error("a progress listener failed: %s", redact(repr(error)))
