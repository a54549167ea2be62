"""What `doctor` says of Azure: nothing is asked unless it is told to, and nothing raises."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies.book import Book
from tests.azure.cloud import Cloud
from tools.azure.checkup import Checkup
from tools.azure.client import Azure
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.prices import Prices
from tools.azure.trouble import AzureTrouble

PLACE = CloudPlace("sub", "tenant", "luthier-eastus", "eastus", "env", "id", "d", "a", "https://a/", "luthier", "log", "c", "r/i@sha256:0")
DOWN = AzureTrouble("transient", "The jobs were not listed", "Azure did not answer.", "Try again.")


@pytest.fixture
def prepared(tmp_path: Path) -> PlaceStore:
    """A book in which nothing is prepared."""
    return PlaceStore(Book.open(tmp_path / "book.sqlite"))


def checkup(azure: Azure, prepared: PlaceStore, folder: Path, count: int = 0, trouble: AzureTrouble | None = None) -> Checkup:
    return Checkup(azure, prepared, Prices(azure, folder / "prices.json"), lambda: (count, trouble),
                   lambda: datetime.now(UTC) + timedelta(days=3))


def test_unless_it_is_told_to_it_asks_azure_nothing(cloud: Cloud, azure: Azure, prepared: PlaceStore, tmp_path: Path) -> None:
    before = len(cloud.requests)
    facts, problems = checkup(azure, prepared, tmp_path).facts(False)
    assert problems == [] and facts["installed"] and facts["prepared"] == [] and facts["prices"] == "never read"
    assert len(cloud.requests) == before


def test_it_says_who_is_signed_in_and_what_is_prepared(azure: Azure, prepared: PlaceStore, tmp_path: Path) -> None:
    prepared.put(PLACE)
    facts, problems = checkup(azure, prepared, tmp_path).facts(True)
    account = azure.account()
    assert (facts["signed_in"], facts["tenant"]) == (account.user, account.tenant) and account.subscription in str(facts["subscription"])
    assert facts["prepared"] == ["eastus in luthier-eastus"] and facts["images"] == ["r/i@sha256:0"]
    assert facts["orphans"] == 0 and problems == []


def test_orphans_are_a_problem_with_a_remedy(azure: Azure, prepared: PlaceStore, tmp_path: Path) -> None:
    prepared.put(PLACE)
    _, problems = checkup(azure, prepared, tmp_path, 2).facts(True)
    assert "2 in Azure" in problems[0]["what"] and "adopt" in problems[0]["remedy"]


def test_an_azure_that_does_not_answer_is_a_problem_and_no_error(azure: Azure, prepared: PlaceStore, tmp_path: Path) -> None:
    prepared.put(PLACE)
    facts, problems = checkup(azure, prepared, tmp_path, trouble=DOWN).facts(True)
    assert "orphans" not in facts and problems == [{"what": "The jobs were not listed: Azure did not answer", "remedy": "Try again."}]


def test_nobody_signed_in_is_a_problem_and_no_error(cloud: Cloud, prepared: PlaceStore, tmp_path: Path) -> None:
    azure = Azure(cloud.choice(sign_in="workload"), "w")
    facts, problems = checkup(azure, prepared, tmp_path).facts(True)
    azure.close()
    assert facts["signed_in"] == "" and problems and problems[0]["remedy"]
