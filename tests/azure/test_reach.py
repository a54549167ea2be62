"""Who may reach a deployment on Azure, and how it is woken: what comes in the way is said, and an open door is closed."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from policies.tool import ToolFailed
from tests.azure.cloud import Cloud
from tests.azure.deploy_home import CloudHome, signed_in
from tests.tools.fakes_runs import wait_until
from tools.azure.trouble import AzureTrouble

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with signed_in(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cloud: Cloud) -> Iterator[CloudHome]:
    found = CloudHome(tmp_path_factory.mktemp("reaching"), cloud)
    yield found
    found.close()


@pytest.fixture(scope="module")
def told(home: CloudHome) -> Mapping[str, Any]:
    return home.deploy()


def saying(*answers: int | Exception) -> httpx.Client:
    """A client that meets these one after the other, and the last one for ever."""
    left = list(answers)

    def handle(_: httpx.Request) -> httpx.Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)

    return httpx.Client(transport=httpx.MockTransport(handle))


def wake(home: CloudHome, told: Mapping[str, Any], client: httpx.Client) -> str:
    """Wake it; its address."""
    deploying = home.toolbox.deploying
    with client:
        return deploying.azure.awake(client, deploying.store.wanted(str(told["deployment_id"])), lambda text, fraction: None)


@pytest.mark.parametrize("answers", [
    (503, 504, 200), (429, 200), (404, 404, 200), (httpx.ReadTimeout("held"), 200), (httpx.ConnectError("for a moment"), 200),
    (502, httpx.RemoteProtocolError("closed"), 200),
], ids=["waking", "busy", "being-made", "held", "network", "closed"])
def test_one_that_is_waking_up_is_waited_for(home: CloudHome, told: Mapping[str, Any], answers: tuple[Any, ...]) -> None:
    assert wake(home, told, saying(*answers)) == told["url"]


@pytest.mark.parametrize(("answers", "words"), [
    ((403,), "public address"), ((404,), "Nothing answers"), ((401,), "key"), ((302,), "elsewhere"),
    ((httpx.ConnectError("no route"),), "cannot be reached"),
], ids=["address", "stopped", "sign-in", "redirect", "network"])
def test_one_that_will_never_let_us_in_is_not_waited_for(
        home: CloudHome, told: Mapping[str, Any], answers: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ToolFailed, match=words):
        wake(home, told, saying(*answers))


def test_a_certificate_that_nobody_trusts_gets_no_question(home: CloudHome, told: Mapping[str, Any]) -> None:
    before = len([each for each in home.cloud.requests if "healthz" in each[1]])
    with pytest.raises(ToolFailed, match="certificate"):
        wake(home, told, httpx.Client(verify=ssl.create_default_context(), trust_env=False))
    assert len([each for each in home.cloud.requests if "healthz" in each[1]]) == before


def test_an_address_outside_of_azure_gets_no_question(home: CloudHome, told: Mapping[str, Any]) -> None:
    from dataclasses import replace

    row = replace(home.toolbox.deploying.store.wanted(str(told["deployment_id"])), url="https://app.azurecontainerapps.io.example.com/v1")
    with saying(200) as client, pytest.raises(AzureTrouble, match="is not used"):
        home.toolbox.deploying.azure.awake(client, row, lambda text, fraction: None)


def test_the_changed_address_of_this_machine_is_named_with_what_to_do(home: CloudHome) -> None:
    made = home.deploy(allow_ips=["203.0.113.7"])
    answer: Any = home.ask("ask_model", prompt="Hello", deployment_id=made["deployment_id"])
    assert answer.status == "failed" and "public address" in answer.reason and "allow_ips" in answer.remedy
    home.call("stop_deployment", deployment_id=made["deployment_id"])


def rules(*ranges: str, action: str = "Allow") -> list[dict[str, str]]:
    return [{"name": f"r{at}", "ipAddressRange": each, "action": action} for at, each in enumerate(ranges)]


@pytest.mark.parametrize("spoil", [
    lambda ingress: ingress.update(ipSecurityRestrictions=None), lambda ingress: ingress.update(ipSecurityRestrictions=[]),
    lambda ingress: ingress.update(ipSecurityRestrictions=rules("0.0.0.0/0")),
    lambda ingress: ingress.update(ipSecurityRestrictions=rules("127.0.0.1/32", "128.0.0.0/1")),
    lambda ingress: ingress.update(ipSecurityRestrictions=rules("203.0.113.0/24", action="Deny")),
    lambda ingress: ingress.update(allowInsecure=True),
], ids=["null", "empty", "world", "half", "deny", "insecure"])
def test_one_whose_rules_were_taken_away_is_stopped_at_the_next_look(
        home: CloudHome, cloud: Cloud, spoil: Callable[[dict[str, Any]], None]) -> None:
    made = home.deploy()
    ident = str(made["deployment_id"])
    app, = [each for each in cloud.world.of_type("Microsoft.App/containerApps") if each["name"] == f"luthier-app-{ident}"]
    spoil(app["properties"]["configuration"]["ingress"])
    side = cloud.app(f"luthier-app-{ident}")
    wait_until(lambda: home.toolbox.reconcile() is not None and side.stopped and home.state(ident) == "failed", "it to be closed")
    row = home.toolbox.deploying.store.wanted(ident)
    assert "open to the world" in row.reason and home.toolbox.deploying.azure.cloud.troubles.get(ident, "") == ""
    home.settle()
