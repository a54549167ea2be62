"""What a teardown asks of the deployments in a region."""

from policies import ledger
from policies.book import Book
from tools.azure.trouble import AzureTrouble
from tools.serve.deploy_azure import AzureDeployments, is_cloud
from tools.serve.deploy_store import DeploymentRow, DeploymentStore

ENDED_S = 600.0
"""How long Azure may take to stop an app."""


class LeavingDeployments:
    """The deployments of a home in one region."""

    def __init__(self, book: Book, store: DeploymentStore, cloud: AzureDeployments) -> None:
        self._book, self._store, self._cloud = book, store, cloud

    def of_region(self, region: str) -> list[str]:
        """Ids of those that are not deleted."""
        return [row.id for row in self._rows(region)]

    def alive(self, region: str) -> list[str]:
        """Ids of those that may answer or start."""
        return [row.id for row in self._rows(region) if row.alive]

    def _rows(self, region: str) -> list[DeploymentRow]:
        return [row for row in self._store.rows() if is_cloud(row) and row.plan.get("region") == region]

    def stop(self, ident: str, by: str) -> None:
        """Stop one. AzureTrouble when it is not stopped in time."""
        row = self._store.wanted(ident)
        if row.alive:
            self._store.ask_to_stop(row, by)
            if self._cloud.wait_for_end(row, ENDED_S).alive:
                raise AzureTrouble("unknown", "The teardown stopped before it deleted anything", f"the deployment {ident} still runs.",
                                   "Ask again in a few minutes: it goes on from there.", heard=self._cloud.troubles.get(ident, ""))

    def settled_micros(self, ident: str) -> int:
        """What is settled of it: it stands still while somebody reads a card."""
        calls = [each.call_id for each in self._cloud.meter.of_deployment(ident)]
        return self._book.read(lambda db: sum(ledger.used(db, call_id=call).settled for call in calls))

    def forget(self, ident: str, by: str) -> None:
        """Its app is gone: say so in the book. One that the book does not know is nothing to it."""
        row = self._store.get(ident)
        if row is not None:
            self._cloud.forget(row, f"Torn down by {by}.")
