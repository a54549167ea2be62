"""Secrets by name: kept, listed, forgotten, never shown."""

import stat
from pathlib import Path

import pytest

from agent.secrets import SecretStore
from policies.tool import ToolFailed


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    """Files, as on a machine without a keyring."""
    return SecretStore(tmp_path / "secrets", use_keyring=False)


def test_a_secret_is_kept_listed_and_forgotten(store: SecretStore) -> None:
    assert store.get("HF_TOKEN") is None and store.list() == ()
    store.set("HF_TOKEN", " value\n")
    store.set("HF_TOKEN", "newer")
    assert store.get("HF_TOKEN") == "newer" and store.list() == ("HF_TOKEN",)
    assert store.remove("HF_TOKEN") and not store.remove("HF_TOKEN")
    assert store.get("HF_TOKEN") is None


def test_only_the_owner_can_read_the_file(store: SecretStore, tmp_path: Path) -> None:
    store.set("HF_TOKEN", "value")
    assert stat.S_IMODE((tmp_path / "secrets" / "HF_TOKEN").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert [each.name for each in (tmp_path / "secrets").iterdir()] == ["HF_TOKEN"]


@pytest.mark.parametrize("name", ["", "a", "hf_token", "../X", "X/Y", "A B", "A" * 65, "1A", ".NAMES"])
def test_a_name_that_is_none_is_refused(store: SecretStore, name: str) -> None:
    for act in (store.get, store.remove, lambda each: store.set(each, "v")):
        with pytest.raises(ToolFailed, match="does not fit"):
            act(name)


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "x" * 20_000])
def test_a_value_that_is_none_is_refused_and_not_repeated(store: SecretStore, value: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        store.set("HF_TOKEN", value)
    assert not value.strip() or value not in str(failed.value)


class Ring:
    """A keyring that answers."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, account: str, value: str) -> None:
        """Keep it."""
        self.kept[service, account] = value

    def get_password(self, service: str, account: str) -> str | None:
        """Give it."""
        return self.kept.get((service, account))

    def delete_password(self, service: str, account: str) -> None:
        """Forget it."""
        del self.kept[service, account]


def test_a_keyring_keeps_values_out_of_files(tmp_path: Path) -> None:
    store, ring = SecretStore(tmp_path / "secrets", use_keyring=False), Ring()
    store._keyring = ring
    store.set("HF_TOKEN", "value")
    assert store.get("HF_TOKEN") == "value" and store.list() == ("HF_TOKEN",)
    assert "value" not in "".join(each.read_text() for each in (tmp_path / "secrets").iterdir())
    assert store.remove("HF_TOKEN") and store.list() == () and not ring.kept


def test_where_they_lie_is_said(store: SecretStore) -> None:
    assert "0600" in store.where
