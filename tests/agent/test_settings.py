"""Settings: what is read, what is refused, and with which words."""

from pathlib import Path

import pytest

from agent.settings import PREFIX, Settings, SettingsError, is_loopback, unknown_settings


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
