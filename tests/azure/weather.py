"""What has to hold whatever Azure does: a sentence with a remedy, no money held, nothing that runs, nothing that is not ours."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from policies import ledger
from policies.people import People
from policies.verdict import Answer
from tests.azure.cloud import Cloud
from tests.azure.deploy_home import HERE, CloudHome
from tests.azure.faults import Fault
from tests.azure.prices_server import price_list, rows_of
from tests.azure.run_home import RunHome
from tests.policies.home import Home
from tools.azure.names import is_ours
from tools.azure.rates import row_of

RUN = {"model": "bundled", "dataset": "samples/helpdesk.jsonl", "provider": "azure"}
ASKS: dict[str, dict[str, Any]] = {
    "prepare_cloud": {"region": "westus3"}, "estimate_cost": RUN, "start_finetune": {**RUN, "gpu": "T4"},
    "deploy_inference": {"model": "bundled", "provider": "azure", "allow_ips": HERE, "gpu": "T4", "max_hours": 2},
}
"""What a person would ask of each tool."""
Weather = Callable[[Cloud, CloudHome], object]
T4, A100 = "SubscriptionConsumptionT4Gpus", "SubscriptionConsumptionNCA100Gpus"
NO_TRACE = ("Traceback", 'File "', "Exception", "object at 0x", "<class", "None", "HttpResponseError")


def told(answer: Answer, wanted: str, found: str, remedy: str) -> None:
    """The answer is a sentence that says what was wanted, what was found, and what to do."""
    assert answer.status in ("failed", "refused"), answer
    assert wanted in answer.reason and found in answer.reason, answer.reason
    assert remedy in answer.remedy and answer.remedy.rstrip().endswith((".", ")")), answer.remedy
    assert not [each for each in NO_TRACE if each in answer.reason + answer.remedy], answer


def calm(home: CloudHome | RunHome, cloud: Cloud) -> None:
    """No money is held, no execution runs, no app answers, all that was made is ours, and the record has an outcome for each intent."""
    book = home.book
    assert book.read(ledger.used).reserved == 0
    assert [each.name for each in cloud.executions if each.status == "Running" and not each.gone] == []
    assert [name for name, side in cloud.world.apps.items() if any(each.awake for each in side.revisions)] == []
    made = [each for rid, each in cloud.world.resources.items() if "/fileservices/" not in rid and "/storages/" not in rid]
    assert [each["name"] for each in made if not is_ours(each.get("tags"), book.home_id()) and not each.get("planted")] == []
    assert Home(home.places.home / "book.sqlite", book, People(book)).intact()


def old_prices(cloud: Cloud, home: CloudHome, days: int) -> None:
    """The list was last read some days ago, and cannot be read now."""
    price_list(cloud.world).mode = "page"
    rows = {each: [row.as_json() for row in map(row_of, rows_of(each)) if row is not None] for each in ("westus3", "eastus")}
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    file = home.places.home / "cache" / "azure-prices.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"regions": {region: {"at": at, "rows": some} for region, some in rows.items()}}))


def quota(cloud: Cloud, **named: tuple[int, int] | None) -> None:
    """Used and limit of each quota in every region; None: Azure does not name it."""
    for usages in cloud.world.usages.values():
        for name, value in named.items():
            usages.pop(name, None)
            if value is not None:
                usages[name] = value


def no_gpus(cloud: Cloud, *regions: str) -> None:
    """These offer none."""
    for region in regions:
        cloud.world.profiles[region] = [each for each in cloud.world.profiles[region] if not each["properties"]["gpus"]]


def every(cloud: Cloud, fault: Fault, path: str = ".", **options: Any) -> None:
    """From now on each such request meets it."""
    cloud.faults.at("*", path, fault, times=10_000, **options)
