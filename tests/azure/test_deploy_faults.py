"""A deployment on Azure whose server dies between two steps, or whose answers get lost: the next look goes on to one app."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policies import fault
from policies.tool import Call
from tests.azure.cloud import Cloud
from tests.azure.deploy_home import HERE, CloudHome
from tests.azure.faults import Fault
from tests.azure.test_teardown import Cut, cut_at
from tests.tools.fakes_runs import wait_until
from tools.runs.rid import rid_of
from tools.serve.deploy import DeployArgs

pytestmark = pytest.mark.engine
ARGS = DeployArgs(model="bundled", provider="azure", allow_ips=tuple(HERE), max_hours=2)


@pytest.fixture
def home(tmp_path: Path, cloud: Cloud) -> Iterator[CloudHome]:
    """A home whose watch begins only when a test lets the toolbox reconcile."""
    found = CloudHome(tmp_path / "home", cloud)
    yield found
    found.close()


def begun(home: CloudHome) -> Callable[[], object]:
    """The deploying call as the gateway performs it."""
    tool = home.toolbox.tools["deploy_inference"]
    return lambda: tool.perform(ARGS, Call("the call", "owner"))


@pytest.mark.parametrize("at", ["upload.file:1", "upload.file:9", "deploy.spec", "deploy.send", "deploy.sent"])
def test_cut_off_anywhere_the_next_server_ends_with_one_app_and_one_revision(
        home: CloudHome, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fault, "point", cut_at(f"cloud.{at}"))
        with pytest.raises(Cut):
            begun(home)()
    home.reopen()
    ident = rid_of("the call deployment")
    wait_until(lambda: home.state(ident) == "running", "the watch goes on with it")
    apps = home.cloud.world.of_type("Microsoft.App/containerApps")
    assert len(apps) == 1 and len(home.cloud.app(f"luthier-app-{ident}").revisions) == 1


def test_a_stop_that_was_cut_off_is_carried_out_by_the_next_server(home: CloudHome, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(home)()
    ident, tool = rid_of("the call deployment"), home.toolbox.tools["stop_deployment"]
    with monkeypatch.context() as patch:
        patch.setattr(fault, "point", cut_at("cloud.deploy.stop"))
        with pytest.raises(Cut):
            tool.perform(tool.Args(deployment_id=ident), Call("a stop", "owner"))  # type: ignore[call-arg]
    home.reopen()
    wait_until(lambda: home.state(ident) == "stopped", "the wish outlives the server")
    assert home.cloud.app(f"luthier-app-{ident}").stopped


@pytest.mark.parametrize("what", [Fault.ACCEPTED_503, Fault.TRUNCATED_JSON, Fault.RESOURCE_FAILED], ids=lambda each: each.name.lower())
def test_an_answer_that_got_lost_makes_no_second_app(home: CloudHome, what: Fault) -> None:
    home.cloud.faults.at("PUT", "/containerApps/", what)
    begun(home)()
    ident = rid_of("the call deployment")
    wait_until(lambda: home.state(ident) == "running", "it comes up all the same")
    assert len(home.cloud.app(f"luthier-app-{ident}").revisions) == 1


def test_the_stop_of_one_that_is_still_uploaded_ends_it_unsent(home: CloudHome, monkeypatch: pytest.MonkeyPatch) -> None:
    ident, store = rid_of("the call deployment"), home.toolbox.deploying.store

    def asked(name: str) -> None:
        if name == "cloud.upload.file":
            store.ask_to_stop(store.wanted(ident), "owner")

    with monkeypatch.context() as patch:
        patch.setattr(fault, "point", asked)
        begun(home)()
    assert home.state(ident) == "stopped" and not home.cloud.world.of_type("Microsoft.App/containerApps")
    assert [each.micros for each in home.toolbox.settlements()] == [0]
