"""Puts together what deployments on Azure are made of."""

from collections.abc import Callable
from pathlib import Path

from policies.book import Book
from tools.azure.client import Azure
from tools.azure.orphans import Orphans
from tools.azure.place import PlaceStore
from tools.azure.prices import Prices
from tools.azure.teardown_tool import Runs, TeardownCloud
from tools.serve.deploy import Deploying, brain_facts
from tools.serve.deploy_azure import AzureDeployments
from tools.serve.deploy_azure_meter import ServingMeter
from tools.serve.deploy_azure_plan import AzureDeployPlans
from tools.serve.deploy_azure_tool import AzureDeploying
from tools.serve.deploy_azure_watch import AzureDeployWatch
from tools.serve.deploy_leaving import LeavingDeployments


def teardown_tool(book: Book, azure: Azure, places: PlaceStore, runs: Runs, deploying: AzureDeploying) -> TeardownCloud:
    """The tool that takes everything away."""
    return TeardownCloud(azure, places, runs, LeavingDeployments(book, deploying.store, deploying.cloud))


def with_azure(deploying: Deploying, book: Book, azure: Azure, places: PlaceStore, prices: Prices, root: Path,
               run_folder: Callable[[str], Path], knows_run: Callable[[str], bool],
               caller_address: Callable[[], str] | None = None) -> AzureDeploying:
    """Give the deployment tools their cloud's half. Nobody signs in, and no thread begins, before something needs it."""
    store, local = deploying.store, deploying.local
    plans = AzureDeployPlans(deploying.plans, azure, places, prices, caller_address)
    cloud = AzureDeployments(azure, places, plans, store, ServingMeter(book), local, root, run_folder)
    orphans = Orphans(azure, places, prices, knows_run, lambda ident: store.get(ident) is not None)
    deploying.cloud = AzureDeploying(cloud, AzureDeployWatch(cloud, store), store, local, orphans, brain_facts, deploying.system_of)
    return deploying.cloud
