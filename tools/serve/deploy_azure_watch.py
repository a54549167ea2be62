"""Looks after the deployments on Azure from a thread of its own, as long as there are any that are not at rest."""

import threading

from policies.trouble import report_bug
from tools.runs.reconcile import RunNews
from tools.serve.deploy_azure import AzureDeployments
from tools.serve.deploy_state import DeployState
from tools.serve.deploy_store import DeploymentStore

QUICK_POLLS, CALM_POLLS = 2, 6
"""Pauses between looks, in poll intervals of the client (5 s): while something changes, and otherwise."""


class AzureDeployWatch:
    """Begun by the first `pass_` that finds something to look after; `close` ends it."""

    def __init__(self, cloud: AzureDeployments, store: DeploymentStore) -> None:
        self._cloud, self._store = cloud, store
        self._lock, self._wish, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def pass_(self) -> list[RunNews]:
        """What has changed since the last pass. Quick: it asks Azure nothing itself."""
        if not self._closed.is_set() and self._cloud.due():
            self._begin()
        return self._cloud.news()

    def wake(self) -> None:
        """Look now, not at the end of the pause."""
        self._wish.set()

    def close(self) -> None:
        """End the thread; deployments go on."""
        self._closed.set()
        self._wish.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(10)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, daemon=True, name="azure-deployments")
                self._thread.start()

    def _loop(self) -> None:
        while not self._closed.is_set():
            due = self._cloud.due()
            if not due:
                return
            moving = False
            for ident in due:
                if self._closed.is_set():
                    return
                try:
                    row = self._cloud.advance(ident)
                except Exception as error:
                    self._cloud.troubles[ident] = " ".join(report_bug(f"the look at the deployment {ident}", error))
                    continue
                moving = moving or row.state is DeployState.STARTING or bool(row.stop_by)
            self._wish.wait(self._cloud.azure.poll_s * (QUICK_POLLS if moving else CALM_POLLS))
            self._wish.clear()
