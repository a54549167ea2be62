"""Who is signed in, and which subscription is worked in: chosen from what Azure lists, never guessed."""

from typing import Any

import pytest

from tests.azure.cloud import Cloud
from tests.azure.told import trouble_of
from tools.azure.account import account_of
from tools.azure.client import Azure

SAID = {"upn": "ada@example.com", "tid": "tenant"}
ONE, TWO = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"


def listed(ident: str, state: str = "Enabled", name: str = "Research") -> dict[str, Any]:
    """One row of Azure's list."""
    return {"subscriptionId": ident, "displayName": name, "state": state, "tenantId": "tenant"}


@pytest.mark.parametrize(("rows", "chosen", "kind", "found", "remedy"), [
    pytest.param([], "", "denied", "can use none", "Ask the owner of a subscription", id="none"),
    pytest.param([listed(ONE, "Disabled")], "", "denied", f"not in use: Research ({ONE}, disabled)", "enable it again", id="disabled"),
    pytest.param([listed(ONE, "Disabled"), listed(TWO)], ONE, "denied", "calls it disabled", f"({TWO})", id="chosen and disabled"),
    pytest.param([listed(ONE), listed(TWO)], "", "signin", f"Research ({ONE}), Research ({TWO})", "LUTHIER_AZURE_SUBSCRIPTION",
                 id="several with one name"),
    pytest.param([listed(ONE)], TWO, "signin", f"Research ({ONE})", "Correct LUTHIER_AZURE_SUBSCRIPTION", id="chosen and not listed"),
])
def test_what_cannot_be_worked_in_is_said(rows: list[dict[str, Any]], chosen: str, kind: str, found: str, remedy: str) -> None:
    trouble = trouble_of(lambda: account_of(SAID, rows, chosen))
    assert (trouble.trouble, found in trouble.because, remedy in trouble.try_next) == (kind, True, True), str(trouble)


@pytest.mark.parametrize(("rows", "chosen", "mine"), [
    pytest.param([listed(ONE), listed(TWO, "Disabled")], "", ONE, id="the only one in use"),
    pytest.param([listed(ONE), listed(TWO, "Warned")], TWO.upper(), TWO, id="the chosen one, whatever its case"),
])
def test_the_only_one_or_the_chosen_one_is_worked_in(rows: list[dict[str, Any]], chosen: str, mine: str) -> None:
    assert account_of(SAID, rows, chosen).subscription == mine


def test_a_sign_in_as_another_is_seen_and_its_clients_are_made_anew(azure: Azure, cloud: Cloud) -> None:
    first, clients = azure.account(), azure.containers()
    cloud.world.user = "bob@example.com"
    azure._made.pop("credential")
    assert azure.account() == first and azure.account(fresh=True).user == "bob@example.com"
    assert azure.containers() is not clients and azure.account().digest != first.digest
    trouble = trouble_of(lambda: azure.check_account("ada@example.com", first.tenant, "It was not started"))
    assert "approved for ada@example.com" in trouble.because and "Sign in as ada@example.com again" in trouble.try_next


def test_a_sign_in_that_ended_keeps_what_is_known_and_gives_no_new_yes(azure: Azure, cloud: Cloud) -> None:
    known = azure.account()
    cloud.world.signed_in = False
    azure._made.pop("credential")
    azure._looked = -1e9
    assert azure.account() == known
    assert trouble_of(lambda: azure.account(fresh=True)).trouble == "signin"


def test_a_place_of_another_subscription_is_not_looked_for_here(azure: Azure) -> None:
    azure.check_subscription(azure.account().subscription.upper(), "It was not looked at")
    trouble = trouble_of(lambda: azure.check_subscription(TWO, "It was not looked at"))
    assert trouble.trouble == "denied" and f"Set LUTHIER_AZURE_SUBSCRIPTION to {TWO}" in trouble.try_next
