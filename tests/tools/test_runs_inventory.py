"""The files of a run with their hashes: from the manifest where it holds, counted otherwise, and nothing outside the folder."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tools.engine.manifest import write_manifest
from tools.runs.inventory import MOST_FILES, Inventories, Inventory

KEY = "k" * 64
RUN = "0123456789"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with an adapter, a log and its key, and a signed manifest."""
    run = tmp_path / "run"
    (run / "adapter").mkdir(parents=True)
    (run / "adapter/weights.safetensors").write_bytes(b"weights" * 100)
    (run / "log.txt").write_text("a line\n")
    (run / "run.key").write_text(KEY)
    write_manifest(run, RUN, KEY.encode())
    return run


def look(folder: Path, alive: bool = False, key: str = KEY) -> Inventory:
    """One look with nothing remembered."""
    return Inventories().of(folder, key, alive)


def notes(found: Inventory) -> dict[str, str]:
    """Remarks by path."""
    return {each.path: each.note for each in found.files}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_hashes_come_from_the_signed_manifest_and_the_rest_are_counted(folder: Path):
    found = look(folder)
    by_path = {each.path: each for each in found.files}
    assert by_path["adapter/weights.safetensors"].sha256 == digest(folder / "adapter/weights.safetensors")
    assert notes(found)["adapter/weights.safetensors"] == "as the manifest says" and by_path["adapter/weights.safetensors"].bytes == 700
    assert by_path["log.txt"].sha256 == digest(folder / "log.txt") and by_path["log.txt"].note == ""
    assert found.manifest == "is signed with the run's key" and found.problem == ""
    assert list(by_path) == sorted(by_path)


def test_the_runs_key_is_named_and_never_hashed(folder: Path):
    entry = next(each for each in look(folder).files if each.path == "run.key")
    assert entry.sha256 == "" and "secret" in entry.note


def test_what_still_grows_is_left_out(folder: Path):
    found = notes(look(folder, alive=True))
    assert "grows" in found["log.txt"] and found["adapter/weights.safetensors"] == "as the manifest says"


def test_a_file_that_was_changed_behind_the_manifest_is_found_even_at_the_same_size(folder: Path):
    (folder / "adapter/weights.safetensors").write_bytes(b"WEIGHTS" * 100)
    os.utime(folder / "adapter/weights.safetensors", ns=(2**62, 2**62))
    found = look(folder)
    assert found.problem == "adapter/weights.safetensors is not what the run wrote"
    assert notes(found)["adapter/weights.safetensors"] == "changed since the run wrote it"


def test_a_lost_file_is_named(folder: Path):
    (folder / "adapter/weights.safetensors").unlink()
    assert look(folder).problem == "adapter/weights.safetensors is missing"


@pytest.mark.parametrize("spoil", ["", "{", "[]", '{"files": 7}', '{"files": {"a": {"bytes": 1e999}}}', "\x00\xff", "[" * 200_000],
                         ids=["empty", "half", "a list", "no files", "no number", "no text", "endlessly nested"])
def test_a_manifest_that_cannot_be_believed_is_said_so_and_everything_is_counted(folder: Path, spoil: str):
    (folder / "manifest.json").write_text(spoil)
    found = look(folder)
    assert "counted anew" in found.manifest
    assert {each.path: each.sha256 for each in found.files}["adapter/weights.safetensors"] == digest(folder / "adapter/weights.safetensors")


def test_a_manifest_of_another_key_is_not_believed(folder: Path):
    document = json.loads((folder / "manifest.json").read_text())
    document["files"]["adapter/weights.safetensors"]["sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(document))
    found = look(folder)
    assert "not signed" in found.manifest and "0" * 64 not in {each.sha256 for each in found.files}


def test_no_link_is_followed_out_of_the_folder(folder: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (folder / "door").symlink_to(outside)
    (folder / "file").symlink_to(outside / "secret.txt")
    os.mkfifo(folder / "pipe")
    found = look(folder)
    assert notes(found)["door"] == notes(found)["file"] == "a link, not followed" and notes(found)["pipe"] == "no plain file"
    assert digest(outside / "secret.txt") not in {each.sha256 for each in found.files}
    assert not [each.path for each in found.files if "secret.txt" in each.path]


def test_names_are_cleaned_of_control_characters(folder: Path):
    (folder / "a\x1b[31m\u202eb").write_text("x")
    assert "ab" in notes(look(folder))


def test_a_missing_folder_and_one_that_is_a_link_hold_nothing(folder: Path, tmp_path: Path):
    (tmp_path / "linked").symlink_to(folder)
    assert look(tmp_path / "nowhere").files == () == look(tmp_path / "linked").files


def test_a_look_hashes_so_much_and_the_next_one_goes_on(folder: Path):
    (folder / "manifest.json").unlink()
    for name in "abc":
        (folder / name).write_bytes(name.encode() * 1000)
    seen = Inventories(budget=1500)
    left = [sum(1 for each in seen.of(folder, KEY, False).files if "not counted yet" in each.note) for _ in range(4)]
    assert left[0] > left[1] > left[-1] == 0


def test_a_hash_is_counted_once_for_each_state_of_a_file(folder: Path):
    seen = Inventories()
    before = {each.path: each.sha256 for each in seen.of(folder, KEY, False).files}["log.txt"]
    (folder / "log.txt").write_text("b line\n")
    after = {each.path: each.sha256 for each in seen.of(folder, KEY, False).files}["log.txt"]
    assert before != after == digest(folder / "log.txt")


def test_a_folder_of_many_files_is_cut_off_and_says_so(folder: Path):
    for number in range(MOST_FILES + 5):
        (folder / f"f{number}").touch()
    found = look(folder)
    assert len(found.files) == MOST_FILES and "more files are not listed" in found.problem
