"""Settings: what is read, what is refused, and with which words."""

from pathlib import Path

import pytest

from agent.compose import build_choice
from agent.settings import PREFIX, Settings, SettingsError, is_loopback, unknown_settings
from tools.azure.choice import AzureChoice


def test_nothing_set_means_a_local_home_and_the_command_assistant() -> None:
    settings = Settings.from_env({})
    assert (settings.host, settings.port, settings.brain, settings.accelerator) == ("127.0.0.1", 8000, "", "auto")
    assert settings.home == Path.home() / ".luthier"
    assert settings.data_folders() == (settings.root / "samples", settings.home / "data")
    assert settings.machine_lock().parent.name.startswith("luthier") and settings.machine_lock().is_absolute()


def test_everything_can_be_set(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "LUTHIER_HOME": str(tmp_path),
            "LUTHIER_HOST": "0.0.0.0",
            "LUTHIER_PORT": "9000",
            "LUTHIER_PUBLIC_URL": "https://x.example",
            "LUTHIER_DATA": f"{tmp_path}/a:{tmp_path}/b",
            "LUTHIER_BRAIN": "ollama:qwen3:4b",
            "LUTHIER_ACCELERATOR": "cpu",
            "LUTHIER_BUNDLED": str(tmp_path / "m"),
            "LUTHIER_RUNTIME": str(tmp_path / "r"),
            "LUTHIER_NOTIFY": "all",
            "LUTHIER_TORCH_INDEX": "https://torch.example",
            "OPENAI_API_KEY": "k",
        }
    )
    assert settings.home == tmp_path and settings.port == 9000 and settings.brain == "ollama:qwen3:4b"
    assert settings.data_folders() == (tmp_path / "a", tmp_path / "b", tmp_path / "data"), "uploads can always be named"
    assert settings.bundled == tmp_path / "m" and settings.engine() == "cpu"
    assert settings.machine_lock() == tmp_path / "r" / "machine-cpu.lock" and settings.notify == "all"
    assert "k" not in repr(settings.provider)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "eighty", "no port number"),
        ("PORT", "70000", "no port number"),
        ("PORT", "-1", "no port number"),
        ("BRAIN", "gpt-5", "provider:model"),
        ("BRAIN", "cohere:command", "provider:model"),
        ("BRAIN", "openai:", "provider:model"),
        ("ACCELERATOR", "tpu", "none of auto, cpu, cuda"),
        ("NOTIFY", "always", "none of off, ends, all"),
        ("RUNTIME", "here", "not an absolute path"),
        ("HOME", "here", "not an absolute path"),
        ("DATA", "/a:b", "not an absolute path"),
        ("HOST", "0.0.0.0", "can be reached from other machines"),
        ("HOST", "192.168.1.5", "can be reached from other machines"),
        ("PUBLIC_URL", "luthier.example", "no web address"),
    ],
)
def test_what_cannot_be_used_is_said_with_a_remedy(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as failed:
        Settings.from_env({PREFIX + name: value})
    assert PREFIX + name in failed.value.what and words in failed.value.because and failed.value.try_next
    assert failed.value.kind == "settings"


def test_an_open_address_behind_http_is_refused() -> None:
    with pytest.raises(SettingsError):
        Settings.from_env({"LUTHIER_HOST": "0.0.0.0", "LUTHIER_PUBLIC_URL": "http://x.example"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_https(host: str) -> None:
    assert is_loopback(host)
    assert Settings.from_env({"LUTHIER_HOST": host}).host == host


def test_a_misspelt_setting_is_noticed() -> None:
    assert unknown_settings({"LUTHIER_PROT": "1", "LUTHIER_PORT": "1", "LUTHIER_AZURE_REGION": "x", "PATH": ""}) == ("LUTHIER_PROT",)


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())

AZURE = {"SUBSCRIPTION": "6f1c1bd0-0000-4000-8000-00000000000a", "GROUP": "My-Group_1.(x)", "REGION": "West US 3",
         "IMAGE": "ghcr.io/a/b:1", "SIGN_IN": "cli", "ENDPOINT": "https://127.0.0.1:4443/", "CA": "/tmp/ca.pem"}


def test_azure_can_be_set_and_reaches_the_tools_as_it_is() -> None:
    settings = Settings.from_env({f"LUTHIER_AZURE_{name}": value for name, value in AZURE.items()})
    choice = build_choice(settings)
    assert (choice.subscription, choice.group, choice.region) == (AZURE["SUBSCRIPTION"], AZURE["GROUP"], "westus3")
    assert (choice.image, choice.sign_in) == ("ghcr.io/a/b:1", "cli")
    assert (choice.endpoint, choice.ca) == ("https://127.0.0.1:4443", Path("/tmp/ca.pem"))


def test_nothing_set_of_azure_leaves_the_choice_of_the_tools() -> None:
    assert build_choice(Settings.from_env({})) == AzureChoice()


@pytest.mark.parametrize(("name", "value", "words"), [
    ("SUBSCRIPTION", "Research", "no subscription id"),
    ("GROUP", "../x", "no name of a resource group"),
    ("REGION", "westus3/x", "no region"),
    ("IMAGE", "a b", "no name of an image"),
    ("SIGN_IN", "password", "none of default, cli, workload, managed"),
    ("CA", "ca.pem", "not an absolute path"),
    ("ENDPOINT", "https://management.azure.com", "not of the form"),
    ("ENDPOINT", "http://127.0.0.1:4443", "not of the form"),
    ("ENDPOINT", "https://127.0.0.1", "not of the form"),
    ("ENDPOINT", "https://127.0.0.1:4443/x", "not of the form"),
    ("ENDPOINT", "https://127.0.0.1:4443@evil.example:1", "not of the form"),
    ("ENDPOINT", "https://user@127.0.0.1:4443", "not of the form"),
    ("ENDPOINT", "https://10.0.0.1:4443", "not of the form"),
    ("ENDPOINT", "https://127.0.0.1:99999", "not of the form"),
    ("ENDPOINT", "https://127.0.0.1.evil.example:4443", "not of the form"),
])
def test_a_wrong_setting_of_azure_says_what_was_found(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"LUTHIER_AZURE_{name}.*{words}"):
        Settings.from_env({f"LUTHIER_AZURE_{name}": value})


def test_a_misspelt_setting_of_azure_is_noticed_and_what_is_of_the_tests_is_not() -> None:
    found = unknown_settings({"LUTHIER_AZURE_REGIO": "x", "LUTHIER_AZURE_LIVE": "1", "LUTHIER_AZURE_CONTRACT": "/x"})
    assert found == ("LUTHIER_AZURE_REGIO",)
