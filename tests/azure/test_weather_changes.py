"""What changes between a quote, a yes and the start of a run in the cloud: people, sign-ins, prices, quota, budgets and clocks."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from policies import fault
from policies.gateway import Gateway
from policies.ledger import used
from policies.people import Caller
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.faults import Fault
from tests.azure.prices_server import T4, price_list
from tests.azure.run_home import OWNER, RunHome, reports, trains, works
from tests.azure.weather import ASKS, calm
from tests.azure.world import Execution
from tests.faults.proof import proves
from tools.runs.cloud_row import Phase

BOB = Caller("bob", "web", "link", "t-bob")
OTHER = "6f1c1bd0-0000-4000-8000-0000000000ff"
START = ASKS["start_finetune"]


@pytest.fixture
def home(tmp_path: Path, cloud: Cloud) -> Iterator[RunHome]:
    """Runs in a test's time."""
    made = RunHome(tmp_path / "home", cloud)
    made.prepare()
    yield made
    made.close()


async def yes(home: RunHome, cloud: Cloud, meanwhile: Callable[[Cloud, RunHome], object]) -> str:
    """Ask, let something happen, say yes: what is said then."""
    view = home.view(await home.ask(gpu="T4"))
    meanwhile(cloud, home)
    decision = await home.gateway.decide(view.id, "approve", OWNER)
    assert decision.answer is None or decision.answer.status != "done", decision
    return decision.message if decision.answer is None else f"{decision.answer.reason} {decision.answer.remedy}"


def as_bob(cloud: Cloud, home: RunHome) -> None:
    """Somebody else signs in on this machine."""
    cloud.world.user = "bob@example.com"
    sign_in_again(home)


def other_tenant(cloud: Cloud, home: RunHome) -> None:
    """The same person, in another tenant."""
    cloud.world.tenant = OTHER
    sign_in_again(home)


def sign_in_again(home: RunHome) -> None:
    """What a command line tool does that signs in anew: the next token is another one."""
    home.azure._made.pop("credential")
    home.azure._looked = -1e9


def dearer(cloud: Cloud, home: RunHome) -> None:
    """The list is read again, and the price has risen."""
    price_list(cloud.world).set_price(T4, "0.009")
    (home.home / "cache" / "prices.json").unlink()


def too_old(cloud: Cloud, home: RunHome) -> None:
    """The list becomes older than the limit and cannot be read again."""
    price_list(cloud.world).mode = "page"
    file = home.home / "cache" / "prices.json"
    kept = json.loads(file.read_text())
    for each in kept["regions"].values():
        each["at"] = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    file.write_text(json.dumps(kept))


@proves("F33", "the price rises between approval and start",
        "a ceiling above the approved one is refused, the yes is void and unused; ask again")
@pytest.mark.parametrize(("meanwhile", "found"), [
    pytest.param(as_bob, "the cloud account digest", id="another user signs in"),
    pytest.param(other_tenant, "the cloud account digest", id="another tenant"),
    pytest.param(dearer, "its ceiling, which rose", id="the price rose"),
    pytest.param(too_old, "older than 30 days start nothing", id="the price became too old"),
    pytest.param(lambda cloud, home: cloud.world.usages["westus3"].update({"SubscriptionConsumptionT4Gpus": (0, 0)}),
                 "no quota for it (0)", id="the quota was taken away"),
    pytest.param(lambda cloud, home: setattr(cloud.world, "permissions", ["*/read"]), "lacks the permission", id="the role was taken away"),
    pytest.param(lambda cloud, home: home.prepared.forget("westus3"), "nothing is prepared", id="the place was torn down"),
])
async def test_what_changed_between_the_quote_and_the_yes_is_refused(
    home: RunHome, cloud: Cloud, meanwhile: Callable[[Cloud, RunHome], object], found: str,
) -> None:
    said = await yes(home, cloud, meanwhile)
    assert found in said, said
    assert home.store.rows() == [] and cloud.executions == []
    calm(home, cloud)


@pytest.mark.parametrize("meanwhile", [as_bob, other_tenant], ids=["another user signs in", "another tenant"])
async def test_a_sign_in_that_changes_between_the_yes_and_the_start_starts_nothing(
    home: RunHome, cloud: Cloud, meanwhile: Callable[[Cloud, RunHome], object],
) -> None:
    run = await home.begin(gpu="T4")
    meanwhile(cloud, home)
    row = await home.until_over(run)
    assert row.phase is Phase.FAILED and "it was approved for ada@example.com" in row.seen.end["reason"]
    assert "Sign in as ada@example.com again, or ask anew" in row.seen.end["reason"] and cloud.executions == []
    calm(home, cloud)


async def test_the_image_that_was_approved_runs_whatever_the_place_is_prepared_with_since(home: RunHome, cloud: Cloud) -> None:
    cloud.script(works())
    run = await home.begin(gpu="T4")
    place = home.prepared.get("westus3")
    assert place is not None
    home.prepared.put(replace(place, image="docker.io/another/image@sha256:" + "ab" * 32))
    await home.until_over(run)
    (body,) = cloud.bodies("PUT", "/jobs/")
    assert body["properties"]["template"]["containers"][0]["image"] == place.image
    calm(home, cloud)


async def test_another_subscription_loses_no_run_from_view(home: RunHome, cloud: Cloud) -> None:
    cloud.script(trains())
    run = await home.begin(gpu="T4")
    await home.until(lambda: home.row(run).phase is Phase.RUNNING)
    cloud.world.subscriptions[OTHER] = "Other"
    home.azure.choice = replace(home.azure.choice, subscription=OTHER)
    home.azure._account = None
    for _ in range(3):
        await home.sweep()
    row = home.row(run)
    assert not row.ended and f"Set LUTHIER_AZURE_SUBSCRIPTION to {cloud.world.subscription}" in row.seen.trouble
    home.azure.choice = replace(home.azure.choice, subscription=cloud.world.subscription)
    home.azure._account = None
    await home.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await home.until_over(run)
    calm(home, cloud)


async def test_an_approval_that_expires_while_the_quota_is_asked_for_starts_nothing(home: RunHome, cloud: Cloud) -> None:
    ahead = [timedelta()]
    gateway = Gateway(home.tools, home.book, home.policy, home.people, clock=lambda: datetime.now(UTC) + ahead[0])
    answer = await gateway.call("start_finetune", START, OWNER)
    cloud.faults.at("GET", "/usages", Fault.CALL, call=lambda world: ahead.__setitem__(0, timedelta(minutes=11)))
    decision = await gateway.decide(home.view(answer).id, "approve", OWNER)
    assert decision.answer is None and not decision.ok and "Approved, but not started" in decision.message, decision
    assert home.store.rows() == [] and home.book.read(used).reserved == 0
    gateway.close()


class Killed(BaseException):
    """The process is gone at this point."""


@proves("F5", "killed between the reservation and the paid call", "outcome not_started; the reservation is released when its lease is over")
async def test_killed_between_the_reservation_and_the_first_request_its_money_is_free_after_the_lease(
    home: RunHome, cloud: Cloud, monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(name: str, /) -> None:
        if name == "gateway.perform.before":
            raise Killed

    view = home.view(await home.ask(gpu="T4"))
    with monkeypatch.context() as patched:
        patched.setattr(fault, "point", die)
        with pytest.raises(Killed):
            await home.gateway.decide(view.id, "approve", OWNER)
    sent = len(cloud.bodies("PUT", "")) + len(cloud.bodies("POST", ""))
    home.close()
    home.open()
    await home.gateway.recover()
    assert home.book.read(used).reserved > 0, "the lease is not over"
    later = Gateway(home.tools, home.book, home.policy, home.people, clock=lambda: datetime.now(UTC) + timedelta(minutes=3))
    await later.recover()
    assert len(cloud.bodies("PUT", "")) + len(cloud.bodies("POST", "")) == sent and home.store.rows() == []
    calm(home, cloud)
    later.close()


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_off_by_an_hour_neither_starts_twice_nor_stops_early(home: RunHome, cloud: Cloud, hours: int) -> None:
    cloud.world.skew = timedelta(hours=hours)

    def began(each: Execution) -> None:
        reports(each)
        each.ended_at = cloud.world.now()
        for path in each.run_folder.rglob("*"):  # the share has Azure's clock, too
            os.utime(path, (cloud.world.now().timestamp(), cloud.world.now().timestamp()))

    cloud.script(ScriptedExecution(began), works())
    row = await home.until_over(await home.begin(gpu="T4"))
    assert row.phase is Phase.SUCCEEDED and len(cloud.executions) == 1
    calm(home, cloud)


async def test_of_two_people_the_one_who_asked_does_not_count(home: RunHome, cloud: Cloud) -> None:
    home.people.add("bob", "Bob", "approver")
    view = home.view(await home.ask(gpu="T4"))
    own = await home.gateway.decide(view.id, "approve", OWNER)
    assert own.answer is None and home.store.rows() == [] and home.book.read(used).reserved == 0
    cloud.script(works())
    done = await home.gateway.decide(view.id, "approve", BOB)
    assert done.answer is not None and done.answer.status == "done", done
    await home.until_over(str(done.answer.result["run_id"]))
    calm(home, cloud)


async def test_a_budget_that_another_run_took_between_quote_and_yes_refuses_and_starts_nothing(home: RunHome, cloud: Cloud) -> None:
    first, second = [home.view(await home.ask(gpu="T4", name=name)) for name in ("one", "two")]
    budget = home.policy.limits.budget.model_copy(update={"per_person_day_usd": str(Decimal(first.ceiling) * Decimal("1.5"))})
    tight = replace(home.policy, limits=home.policy.limits.model_copy(update={"budget": budget}))
    gateway = Gateway(home.tools, home.book, tight, home.people)
    views = [home.view(await gateway.call("start_finetune", {**START, "name": name}, OWNER)) for name in ("three", "four")]
    done = [await gateway.decide(each.id, "approve", OWNER) for each in views]
    assert [each.ok for each in done] == [True, False] and "USD" in done[1].message, (first, second, done)
    (row,) = home.store.rows()
    cloud.script(works())
    await home.until_over(row.run_id)
    assert len(cloud.executions) == 1
    calm(home, cloud)
