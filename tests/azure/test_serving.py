"""What an app's state proves of its deployment, and which approval pays for which replica: pure tables."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from policies.book import Book
from tools.azure.apps import AppSeen, Revision
from tools.serve.deploy_azure import traffic
from tools.serve.deploy_azure_meter import ServingMeter
from tools.serve.deploy_azure_state import START_S, app_became
from tools.serve.deploy_state import DeployState

UP = Revision("app--r1", True, 1, 100, "provisioned", "running", "healthy")
FAILED = replace(UP, name="app--r2", provisioning="failed", running="failed", health="unhealthy", replicas=0)
APP = AppSeen("app", "succeeded", "running", "app.example", "spec", (UP,))
STARTING, RUNNING = DeployState.STARTING, DeployState.RUNNING


@pytest.mark.parametrize(("app", "revision", "state", "stop_by", "waited_s", "becomes"), [
    (APP, 1, STARTING, "", 0, "running"), (None, 1, STARTING, "", 0, "starting"), (None, 1, STARTING, "", START_S + 1, "failed"),
    (replace(APP, provisioning="inprogress"), 1, STARTING, "", 0, "starting"),
    (replace(APP, revisions=(replace(UP, running="scaledtozero", replicas=0),)), 1, STARTING, "", 0, "running"),
    (replace(APP, revisions=(replace(UP, running="activating"),)), 1, STARTING, "", START_S + 1, "failed"),
    (replace(APP, revisions=(replace(UP, active=False),)), 1, STARTING, "", 0, "starting"),
    (replace(APP, revisions=(UP, FAILED)), 2, STARTING, "", 0, "failed"),
    (replace(APP, provisioning="failed", revisions=(UP, FAILED)), 1, RUNNING, "", 0, "running"),
    (replace(APP, provisioning="failed"), 1, STARTING, "", 0, "failed"),
    (replace(APP, revisions=(replace(FAILED, name="app--r1"),)), 1, RUNNING, "", 0, "failed"),
    (replace(APP, revisions=(replace(UP, running="a word of tomorrow"),)), 1, RUNNING, "", START_S + 1, "running"),
    (None, 1, RUNNING, "", 0, "lost"), (None, 1, RUNNING, "ada", 0, "stopped"),
    (APP, 1, RUNNING, "ada", 0, "running"), (replace(APP, running="stopped"), 1, RUNNING, "ada", 0, "running"),
    (replace(APP, running="stopped", revisions=(replace(UP, replicas=0),)), 1, RUNNING, "ada", 0, "stopped"),
    (replace(APP, running="stopped", revisions=(replace(UP, replicas=0),)), 1, RUNNING, "", 0, "stopped"),
], ids=["up", "unsent", "never", "on-its-way", "asleep", "too-long", "inactive", "newer-failed", "older-goes-on", "app-failed", "failed",
        "unknown-word", "gone", "gone-as-asked", "still-stopping", "stopping-and-paid", "stopped", "stopped-outside"])
def test_what_an_app_proves(app: AppSeen | None, revision: int, state: DeployState, stop_by: str, waited_s: float, becomes: str) -> None:
    became = app_became(app, revision, state=state, stop_by=stop_by, waited_s=waited_s)
    assert became.state.value == becomes
    assert became.state in (STARTING, RUNNING) or became.reason


@pytest.mark.parametrize(("plan", "shares"), [
    ({"canary_percent": 0, "canary_of": 0}, ((3, 100),)), ({"canary_percent": 20, "canary_of": 2}, ((2, 80), (3, 20))),
], ids=["whole", "canary"])
def test_the_requests_of_a_plan_are_shared_among_named_revisions(plan: dict[str, int], shares: tuple[tuple[int, int], ...]) -> None:
    assert traffic(plan, 3) == shares and sum(percent for _, percent in shares) == 100


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(tmp_path: Path, clock: Clock) -> Iterator[ServingMeter]:
    """Two approvals: revision 1 answers, revision 2 comes up."""
    book = Book.open(tmp_path / "book.sqlite")
    found = ServingMeter(book, clock)
    for revision, call in ((1, "first"), (2, "second")):
        found.begin(call, "served", revision, "westus3", Decimal("0.001"))
        found.sent(call)
    yield found
    book.close()


def paid(meter: ServingMeter) -> dict[str, int]:
    """Seconds of replicas by call."""
    return {each.call_id: each.replica_ms // 1000 for each in meter.of_deployment("served")}


@pytest.mark.parametrize(("replicas", "seconds"), [
    ({1: 1}, {"first": 60, "second": 0}), ({1: 1, 2: 1}, {"first": 60, "second": 60}), ({2: 1}, {"first": 0, "second": 60}),
    ({}, {"first": 0, "second": 0}), ({0: 1}, {"first": 60, "second": 0}), ({3: 1}, {"first": 0, "second": 60}),
], ids=["old", "both", "new", "none", "a-stranger", "newer"])
def test_each_approval_pays_for_its_own_revision(
        meter: ServingMeter, clock: Clock, replicas: dict[int, int], seconds: dict[str, int]) -> None:
    meter.saw_all("served", replicas)
    clock.now += timedelta(seconds=60)
    meter.saw_all("served", replicas)
    assert paid(meter) == seconds


def test_the_one_that_took_over_pays_for_whatever_is_left_of_the_one_before(meter: ServingMeter, clock: Clock) -> None:
    meter.end_call("first")
    meter.saw_all("served", {1: 1, 2: 1})
    clock.now += timedelta(seconds=60)
    meter.saw_all("served", {1: 1, 2: 1})
    assert paid(meter) == {"first": 0, "second": 120} and [each.call_id for each in meter.open()] == ["second"]


def test_the_one_that_stays_pays_on_when_the_newer_one_has_ended(meter: ServingMeter, clock: Clock) -> None:
    meter.end_call("second")
    meter.saw_all("served", {1: 1})
    clock.now += timedelta(seconds=30)
    meter.saw_all("served", {1: 0})
    assert paid(meter) == {"first": 30, "second": 0}
