"""Which brain thinks: the one that was named, each provider spoken to for a real turn, or the command assistant, said aloud."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.brain.brain import Brain
from agent.brain.choose import choose_brain, offers
from agent.events import Problem, TextDone, ToolEnded, ToolStarted, TurnEnded
from agent.secrets import SecretStore
from agent.settings import Settings
from tests.agent.home import Home, only, said
from tests.agent.stand_ins import KEY, StandIn, serve

PROVIDERS = ("openai", "azure_openai", "anthropic", "ollama")
ADDRESS = {
    "openai": "OPENAI_BASE_URL",
    "azure_openai": "AZURE_OPENAI_ENDPOINT",
    "anthropic": "ANTHROPIC_BASE_URL",
    "ollama": "OLLAMA_HOST",
}
SECRET = {"openai": "OPENAI_API_KEY", "azure_openai": "AZURE_OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def named(provider: str, url: str, folder: Path, key: str = KEY, *, request_s: float = 20) -> Brain:
    """The brain that a person gets who names this provider and has stored this key."""
    address = f"{url}/v1" if provider == "openai" else url
    settings = Settings.from_env({"LUTHIER_BRAIN": f"{provider}:test-model", "LUTHIER_HOME": str(folder), ADDRESS[provider]: address})
    secrets = SecretStore(folder / "secrets", use_keyring=False)
    if provider in SECRET:
        secrets.set(SECRET[provider], key)
    return choose_brain(settings, secrets, request_s=request_s)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_hosted_brain_calls_a_tool_and_answers(home: Home, provider: str) -> None:
    async with serve(provider, StandIn()) as server:
        brain = named(provider, server.url, home.path)
        assert brain.hosted and brain.name == f"{provider}:test-model" and not brain.problem
        async with home.workshop(brain) as shop:
            events = await said(shop, "look at the kitchen")
    assert not only(events, Problem)
    assert only(events, ToolStarted)[0].args == {"name": "kitchen"}
    assert only(events, ToolEnded)[0].status == "done"
    assert only(events, TextDone)[-1].text == "I have looked."
    assert home.calls("look") == 1
    assert len(server.requests) == 2
    assert "Luthier" in str(server.requests[0]), "the system prompt goes along"


async def test_azure_is_asked_for_its_deployment(home: Home) -> None:
    async with serve("azure_openai", StandIn()) as server, home.workshop(named("azure_openai", server.url, home.path)) as shop:
        await said(shop, "look at the kitchen")
    assert server.paths[0].startswith("/openai/deployments/test-model/chat/completions?api-version=")


@pytest.mark.parametrize("provider", ["openai", "azure_openai", "anthropic"])
async def test_a_wrong_key_is_said_and_the_command_assistant_looks_instead(home: Home, provider: str) -> None:
    async with serve(provider, StandIn()) as server, home.workshop(named(provider, server.url, home.path, "wrong-key")) as shop:
        events = await said(shop, "what can this machine do?")
        problem = only(events, Problem)[0]
        assert f"{provider}:test-model did not answer: it refused the key" in problem.text
        assert "secret set" in problem.remedy
        assert "key" in problem.text and KEY not in str(events) and "wrong-key" not in str(events)
        assert only(events, ToolEnded)[0].tool == "inspect_hardware"
        starts = await said(shop, "fine-tune the bundled model on samples/helpdesk.jsonl")
        assert not only(starts, ToolStarted) and not shop.pending()
        assert "only look" in only(starts, TextDone)[-1].text


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_answer_in_time_is_said(home: Home, provider: str) -> None:
    hangs = StandIn(hangs=True)
    async with serve(provider, hangs) as server, home.workshop(named(provider, server.url, home.path, request_s=0.2)) as shop:
        events = await said(shop, "hello")
    assert "no answer came in time" in only(events, Problem)[0].text
    assert isinstance(events[-1], TurnEnded)


async def test_an_unreachable_ollama_is_said(home: Home) -> None:
    async with home.workshop(named("ollama", "http://127.0.0.1:9", home.path)) as shop:
        events = await said(shop, "hello")
    assert "cannot be reached" in only(events, Problem)[0].text


async def test_values_that_nobody_said_are_left_out_and_told_to_the_model(home: Home) -> None:
    async with serve("openai", StandIn()) as server, home.workshop(named("openai", server.url, home.path)) as shop:
        events = await said(shop, "look around")
    assert only(events, ToolStarted)[0].args == {}
    assert "left_out" in str(server.requests[1]["messages"][-1])


@pytest.mark.parametrize("provider", ["openai", "azure_openai", "anthropic"])
def test_a_missing_key_is_said_and_the_command_assistant_takes_over(tmp_path: Path, provider: str) -> None:
    settings = Settings.from_env({"LUTHIER_BRAIN": f"{provider}:m", "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9"})
    brain = choose_brain(settings, SecretStore(tmp_path, use_keyring=False))
    assert not brain.hosted and brain.name == "command assistant"
    assert "no key was found" in brain.problem and f"secret set {SECRET[provider]}" in brain.problem


def test_azure_without_an_address_is_said(tmp_path: Path) -> None:
    settings = Settings(brain="azure_openai:m", provider={"AZURE_OPENAI_API_KEY": SecretStr("k")})
    assert "AZURE_OPENAI_ENDPOINT" in choose_brain(settings, SecretStore(tmp_path, use_keyring=False)).problem


def test_a_missing_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.brain.choose.importlib.util.find_spec", lambda name: None)
    brain = choose_brain(Settings(brain="ollama:m"), SecretStore(tmp_path, use_keyring=False))
    assert "langchain-ollama is not installed" in brain.problem and "pip install" in brain.problem


def test_nothing_named_means_the_command_assistant(tmp_path: Path) -> None:
    brain = choose_brain(Settings(), SecretStore(tmp_path, use_keyring=False))
    assert (brain.name, brain.hosted, brain.problem) == ("command assistant", False, "")
    assert "built-in command assistant" in brain.note


def test_a_key_that_is_there_is_offered_and_not_taken(tmp_path: Path) -> None:
    settings = Settings.from_env({"OPENAI_API_KEY": "k"})
    store = SecretStore(tmp_path, use_keyring=False)
    assert choose_brain(settings, store).name == "command assistant"
    found = offers(settings, store, ollama=("127.0.0.1", 9))
    assert len(found) == 1 and "LUTHIER_BRAIN=openai:MODEL" in found[0]
    assert "k" not in repr(settings.provider.get("OPENAI_API_KEY"))
