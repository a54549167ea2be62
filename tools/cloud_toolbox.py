"""What a toolbox has for the cloud: one of each part, made without asking anybody and without Azure's libraries."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from policies.book import Book
from policies.policy import Policy
from tools.azure.choice import AzureChoice
from tools.azure.client import Azure
from tools.azure.costs import CostLooks, CostWatch
from tools.azure.offers import CloudOffers
from tools.azure.place import PlaceStore
from tools.azure.prepare import PrepareCloud
from tools.azure.prices import Prices
from tools.places import Places
from tools.runs.backend import CloudBackend
from tools.runs.cloud_project import Projection
from tools.runs.cloud_reconcile import CloudReconciler
from tools.runs.cloud_store import CloudStore
from tools.runs.early_stream import EarlyStreams
from tools.runs.local import LocalRuns
from tools.runs.resume_cloud import CloudResume
from tools.runs.start_cloud import CloudStart
from tools.runs.store import RunStore

Secret = Callable[[str], str | None]


@dataclass(frozen=True)
class CloudParts:
    """Of one home."""

    azure: Azure
    prepared: PlaceStore
    prices: Prices
    offers: CloudOffers
    store: CloudStore
    reconciler: CloudReconciler
    start: CloudStart
    resume: CloudResume
    prepare: PrepareCloud
    costs: CostLooks
    early: EarlyStreams

    def close(self) -> None:
        """End the threads and the clients. What runs in the cloud goes on."""
        self.early.close()
        self.reconciler.close()
        self.costs.close()
        self.azure.close()


def build_cloud(places: Places, book: Book, policy: Callable[[], Policy], runs: RunStore, local: LocalRuns, choice: AzureChoice,
                secret: Secret) -> CloudParts:
    """Every part, sharing one of each; `secret` gives the value of a stored secret by its name."""
    azure, prepared = Azure(choice, book.home_id()), PlaceStore(book)
    prices = Prices(azure, places.home / "cache" / "azure-prices.json", lambda: policy().limits.places.price_days)
    store = CloudStore(book)
    reconciler = CloudReconciler(store, Projection(runs, local), partial(_backend, azure, prepared, places, local, secret))
    start = CloudStart(azure, prepared, prices, runs, local, reconciler, partial(_package, places), lambda: policy().limits, secret)
    offers = CloudOffers(azure, prices, prepared, lambda: policy().limits)
    prepare = PrepareCloud(azure, book, prepared, lambda: tuple(policy().limits.places.regions),
                           lambda: tuple(policy().limits.places.skus))
    return CloudParts(azure, prepared, prices, offers, store, reconciler, start, CloudResume(start, runs, local), prepare,
                      CostLooks(CostWatch(azure, book)), EarlyStreams(azure, prepared, store, local.folder))


def _backend(azure: Azure, prepared: PlaceStore, places: Places, local: LocalRuns, secret: Secret) -> CloudBackend:
    from tools.runs.azure import AzureRuns  # its parts need the optional libraries

    return AzureRuns(azure, prepared, places, local, secret)


def _package(places: Places) -> str:
    from tools.runs.container import engine_package

    return engine_package(places.root).digest
