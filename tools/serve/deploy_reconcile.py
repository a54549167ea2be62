"""The pass that compares the book's deployments with their processes, and writes what it finds."""

import time
from collections import deque
from datetime import datetime

from tools.runs.reconcile import RunNews
from tools.serve.deploy_azure import is_cloud
from tools.serve.deploy_local import LocalDeployments
from tools.serve.deploy_news import tell
from tools.serve.deploy_state import DeployState, what_became
from tools.serve.deploy_store import DeploymentRow, DeploymentStore


class DeployReconciler:
    """Level-triggered: any number of passes ends in the same state. Thread-safe, since each change is a compare-and-set in the book."""

    def __init__(self, store: DeploymentStore, local: LocalDeployments) -> None:
        self._store, self._local = store, local
        self._untold: deque[RunNews] = deque()

    def settle(self, row: DeploymentRow) -> DeploymentRow:
        """Bring one row up to date; the row as it is then. What changed is told by the next pass. One on Azure has a watch of its own."""
        if not row.alive or is_cloud(row):
            return row
        ran = row.state is DeployState.RUNNING
        traces = self._local.traces(row.id, row.revision, row.stop_by, self._waited_s(row), ran)
        if traces.lock == "held" and traces.stop_by:
            self._local.press(row.id, row.revision)
        became = what_became(traces)
        if became.state is row.state:
            return row
        after = self._store.set_state(row, became.state, became.reason, self._url(row) if became.state is DeployState.RUNNING else "")
        if after is not None:
            self._untold.append(tell(row, became))
        return after or self._store.wanted(row.id)

    def _url(self, row: DeploymentRow) -> str:
        port = self._local.serving(row.id, row.revision).get("port")
        return f"http://{row.plan['host']}:{port}/v1" if isinstance(port, int) else ""

    def _waited_s(self, row: DeploymentRow) -> float:
        at = datetime.fromisoformat(self._store.changed_at(row.id).replace("Z", "+00:00"))
        return max(0.0, time.time() - at.timestamp())

    def pass_(self) -> list[RunNews]:
        """Settle every deployment that is there; all news since the last pass."""
        for row in self._store.rows(alive=True):
            self.settle(row)
        news: list[RunNews] = []
        while self._untold:
            news.append(self._untold.popleft())
        return news
