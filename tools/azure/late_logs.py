"""Logs that Azure copies away: minutes late, often incomplete, and there when a container is long gone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.azure.client import Azure
from tools.azure.log_line import LogLine, Source, made, own_name
from tools.azure.place import CloudPlace
from tools.azure.trouble import AzureTrouble

HOST = "https://api.loganalytics.io"
MOST = 1000
BACK = timedelta(days=2)
"""How far back is looked where nobody says since when."""
_NOT_YET = ("BadArgumentError", "SemanticError", "PathNotFoundError")
"""The table does not exist: its first line makes it."""


class LateLogs:
    """Log Analytics of a place. Every method raises AzureTrouble; a table that does not exist yet has no lines."""

    def __init__(self, azure: Azure, place: CloudPlace) -> None:
        self._azure, self._place = azure, place

    def lines(self, job: str, execution: str, since: datetime | None = None, most: int = MOST) -> tuple[LogLine, ...]:
        """What an execution wrote, the newest `most` lines in their order."""
        names = own_name(job), own_name(execution)
        return self._found("analytics", since, lambda end, mark: (
            f"ContainerAppConsoleLogs{end} | where ContainerJobName{mark} == '{names[0]}' "
            f"and ContainerGroupName{mark} startswith '{names[1]}' "
            f"| top {int(most)} by TimeGenerated desc | project TimeGenerated, Log{mark}"))

    def system(self, job: str, execution: str, since: datetime | None = None, most: int = 100) -> tuple[LogLine, ...]:
        """What the platform says of an execution: `REASON: text`, in its order."""
        names = own_name(job), own_name(execution)
        return self._found("system", since, lambda end, mark: (
            f"ContainerAppSystemLogs{end} | where JobName{mark} == '{names[0]}' and ExecutionName{mark} == '{names[1]}' "
            f"| top {int(most)} by TimeGenerated desc | project TimeGenerated, Log = strcat(Reason{mark}, ': ', Log{mark})"))

    def _found(self, source: Source, since: datetime | None, query: Callable[[str, str], str]) -> tuple[LogLine, ...]:
        """Tables and columns bear endings where an environment was made with the workspace's key, as ours are, and none otherwise."""
        for end, mark in (("_CL", "_s"), ("", "")):
            rows = self._rows(query(end, mark), since)
            if rows is not None:
                return tuple(line for at, text in reversed(rows) for line in made(_text(at), text, source))
        return ()

    def _rows(self, query: str, since: datetime | None) -> list[tuple[Any, Any]] | None:
        """None where the table does not exist."""
        def ask() -> list[tuple[Any, Any]]:
            with self._client() as client:
                span = (since, datetime.now(UTC)) if since else BACK
                answer = client.query_workspace(self._place.log_customer, query, timespan=span, server_timeout=30)
                tables = getattr(answer, "tables", None) or getattr(answer, "partial_data", None) or []
                return [(row[0], row[1]) for table in tables for row in table.rows]

        try:
            return self._azure.call("Log Analytics was not read", ask)
        except AzureTrouble as trouble:
            if trouble.code in _NOT_YET or any(each in trouble.heard for each in _NOT_YET):
                return None
            raise

    def _client(self) -> Any:
        from azure.monitor.query import LogsQueryClient

        choice = self._azure.choice
        verify: dict[str, Any] = {"connection_verify": str(choice.ca)} if choice.ca else {}
        endpoint = f"{choice.endpoint}/loganalytics" if choice.endpoint else HOST
        return LogsQueryClient(self._azure.credential(), endpoint=endpoint, audience=HOST,
                               connection_timeout=10, read_timeout=40, retry_total=0, permit_redirects=False, **verify)


def _text(at: Any) -> str:
    return at.isoformat() if isinstance(at, datetime) else str(at or "")
