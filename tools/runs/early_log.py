"""Lines of a run in the cloud whose own log has not begun (or never did): what Azure itself heard of its container."""

from tools.azure.client import Azure
from tools.azure.logs import early_lines
from tools.azure.place import PlaceStore
from tools.azure.trouble import AzureTrouble
from tools.runs.cloud_store import CloudStore


class EarlyLog:
    """Asks the log stream, then Log Analytics. Never raises."""

    def __init__(self, azure: Azure, prepared: PlaceStore, runs: CloudStore) -> None:
        self._azure, self._prepared, self._runs = azure, prepared, runs

    def of(self, run_id: str) -> tuple[str, tuple[str, ...]]:
        """The source (`stream`, `analytics`, `system`; `none` without lines) and its lines, redacted."""
        row = self._runs.get(run_id)
        place = self._prepared.get(row.region) if row is not None else None
        if row is None or place is None or not row.execution:
            return "none", ()
        try:
            job = self._azure.names(place.subscription, place.group).job(run_id)
        except AzureTrouble:
            return "none", ()
        return early_lines(self._azure, place, job, row.execution)
