"""The manifest of a finished run, and the key that signs it."""

import json
from pathlib import Path

import pytest

from tools.engine.failure import EngineFailed
from tools.engine.manifest import mistakes, write_manifest
from tools.engine.seal import fits, read_key, signed

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with a manifest."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_bytes(b"abc")
    (tmp_path / "spec.json").write_text("{}", encoding="utf-8")
    write_manifest(tmp_path, "0123456789", KEY)
    return tmp_path


def document(folder: Path) -> dict[str, object]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_a_manifest_names_every_kept_file_with_size_and_digest(folder: Path) -> None:
    files = document(folder)["files"]
    assert isinstance(files, dict) and list(files) == ["adapter/weights", "spec.json"] and files["adapter/weights"]["bytes"] == 3
    assert mistakes(folder, document(folder), KEY) == []


def test_what_is_not_as_it_says_is_named(folder: Path) -> None:
    before = document(folder)
    (folder / "adapter" / "weights").write_bytes(b"abd")
    (folder / "adapter" / "more").write_bytes(b"")
    (folder / "spec.json").unlink()
    assert mistakes(folder, before, KEY) == ["spec.json is missing", "adapter/weights is not what was written", "adapter/more was added"]


@pytest.mark.parametrize("key", [b"", b"another key of thirty-two bytes.."], ids=["no key", "another key"])
def test_only_the_runs_key_fits(key: bytes, folder: Path) -> None:
    assert mistakes(folder, document(folder), key) == ["manifest.json was not signed with this run's key"]


def test_a_seal_of_one_kind_does_not_stand_in_for_another() -> None:
    assert fits(KEY, "a", signed(KEY, "a", {"x": 1})) and not fits(KEY, "b", signed(KEY, "a", {"x": 1}))


def test_a_key_is_read_from_the_run_folder_or_refused(tmp_path: Path) -> None:
    (tmp_path / "run.key").write_bytes(KEY)
    (tmp_path / "short").write_bytes(b"x")
    assert read_key(tmp_path, "run.key") == read_key(tmp_path / "elsewhere", str(tmp_path / "run.key")) == KEY
    assert read_key(tmp_path, None) == b""
    for name in ("none", "short"):
        with pytest.raises(EngineFailed, match=name) as caught:
            read_key(tmp_path, name)
        assert caught.value.kind == "foreign"
