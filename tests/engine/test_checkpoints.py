"""Only checkpoints that this run sealed, complete and under the same binding, are resumed from."""

import errno
import json
import os
import stat
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools.engine.binding import Binding
from tools.engine.checkpoints import SEAL, Checkpoints, last_complete, read_seal, seal
from tools.engine.failure import EngineFailed
from tools.engine.folders import digests

KEY = b"0123456789abcdef0123456789abcdef"
BINDING = Binding({"learning_rate": 0.001, "seed": 0}, "d" * 64, "w" * 64)


def checkpoint(folder: Path, step: int, key: bytes | None = b"", binding: Binding | None = None) -> Path:
    """A checkpoint's folder, sealed unless `key` is None."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "adapter_model.safetensors").write_bytes(b"weights")
    if key is not None:
        seal(path, key, binding)
    return path


def test_the_newest_sealed_one_is_taken_and_newer_unsealed_ones_are_removed(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9)
    checkpoint(tmp_path, 10)
    unsealed = checkpoint(tmp_path, 12, key=None)
    found = last_complete(tmp_path)
    assert found is not None and found.step == 10 and not unsealed.exists()


def harmed(path: Path, harm: str) -> None:
    """Change a sealed checkpoint."""
    weights = path / "adapter_model.safetensors"
    match harm:
        case "change":
            weights.write_bytes(b"others!")
        case "cut":
            weights.write_bytes(b"wei")
        case "remove":
            weights.unlink()
        case "seal cut":
            (path / SEAL).write_text((path / SEAL).read_text()[:20], encoding="utf-8")
        case _:
            (path / "extra.pt").write_bytes(b"x")


@pytest.mark.parametrize("key", [b"", KEY], ids=["by digest", "with a key"])
@pytest.mark.parametrize("harm", ["change", "cut", "remove", "add", "seal cut"])
def test_a_checkpoint_that_is_not_what_was_sealed_does_not_count_and_the_one_before_is_taken(harm: str, key: bytes, tmp_path: Path) -> None:
    checkpoint(tmp_path, 1, key)
    harmed(checkpoint(tmp_path, 2, key), harm)
    found = last_complete(tmp_path, key)
    assert found is not None and found.step == 1 and not (tmp_path / "checkpoint-2").exists()


def rewritten(path: Path, **facts: Any) -> None:
    """Change the seal itself, as somebody without the key could."""
    document = json.loads((path / SEAL).read_text(encoding="utf-8"))
    (path / SEAL).write_text(json.dumps({**document, **facts}), encoding="utf-8")


@pytest.mark.parametrize(
    ("sealed_with", "opened_with", "facts"),
    [
        pytest.param(b"another key of 32 bytes, no doubt", KEY, {}, id="sealed with another run's key"),
        pytest.param(b"", KEY, {}, id="sealed by digest alone, in a run with a key"),
        pytest.param(KEY, b"", {}, id="sealed with a key, in a run whose spec names none"),
        pytest.param(KEY, KEY, {"step": 7}, id="its step changed"),
        pytest.param(KEY, KEY, {"hmac": "0" * 64}, id="its signature changed"),
        pytest.param(KEY, KEY, {"binding": {"settings": {}}}, id="its binding changed"),
        pytest.param(KEY, KEY, {"files": {}}, id="its list of files changed"),
    ],
)
def test_a_foreign_checkpoint_is_refused_by_name_and_left_where_it_is(
    sealed_with: bytes, opened_with: bytes, facts: dict[str, Any], tmp_path: Path
) -> None:
    path = checkpoint(tmp_path, 3, sealed_with, BINDING)
    rewritten(path, **facts)
    with pytest.raises(EngineFailed, match="checkpoint-3 was not sealed by this run") as caught:
        last_complete(tmp_path, opened_with, BINDING)
    assert caught.value.kind == "foreign" and path.exists()


def test_a_checkpoint_that_was_moved_to_another_step_is_foreign(tmp_path: Path) -> None:
    checkpoint(tmp_path, 3, KEY).rename(tmp_path / "checkpoint-9")
    with pytest.raises(EngineFailed, match="checkpoint-9"):
        last_complete(tmp_path, KEY)


@pytest.mark.parametrize(
    ("now", "says"),
    [
        pytest.param(replace(BINDING, settings={"learning_rate": 0.01, "seed": 0}), "learning_rate was 0.001, is 0.01", id="a setting"),
        pytest.param(replace(BINDING, data="e" * 64), "the data was dddddddddddd, is eeeeeeeeeeee", id="the data"),
        pytest.param(replace(BINDING, weights="v" * 64), "the base model's weights were wwwwwwwwwwww, are vvvvvvvvvvvv", id="the weights"),
    ],
)
def test_a_checkpoint_made_under_something_else_is_refused_with_what_differs(now: Binding, says: str, tmp_path: Path) -> None:
    checkpoint(tmp_path, 3, KEY, BINDING)
    with pytest.raises(EngineFailed) as caught:
        last_complete(tmp_path, KEY, now)
    assert caught.value.kind == "changed" and says in caught.value.message


def test_a_setting_that_a_later_version_brings_is_no_difference(tmp_path: Path) -> None:
    checkpoint(tmp_path, 3, KEY, BINDING)
    later = replace(BINDING, settings={**BINDING.settings, "new": 1})
    assert last_complete(tmp_path, KEY, later) is not None


def test_a_seal_of_the_first_version_is_still_read(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 3, key=None)
    (path / SEAL).write_text(json.dumps({"files": digests(path)}), encoding="utf-8")
    assert last_complete(tmp_path, b"", BINDING) is not None
    (path / "adapter_model.safetensors").write_bytes(b"other")
    assert last_complete(tmp_path) is None


def test_a_pickle_of_arguments_is_removed_before_sealing(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1, key=None)
    (path / "training_args.bin").write_bytes(b"pickle")
    seal(path)
    assert not (path / "training_args.bin").exists() and last_complete(tmp_path) is not None


def test_a_step_that_is_saved_twice_is_sealed_anew(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1)
    (path / "adapter_model.safetensors").write_bytes(b"again")
    seal(path)
    assert last_complete(tmp_path) is not None


def test_the_seal_tells_sizes_digests_and_the_step(tmp_path: Path) -> None:
    found = read_seal(checkpoint(tmp_path, 5, KEY, BINDING))
    assert found is not None and found["step"] == 5 and found["binding"] == BINDING.as_json() and len(found["hmac"]) == 64
    assert found["files"]["adapter_model.safetensors"].keys() == {"bytes", "sha256"}


def test_pruning_keeps_the_two_newest_and_those_that_are_asked_for(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8, 10):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 12, key=None)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.prune((4, None))
    assert checkpoints.steps() == [12, 10, 8, 4]
    checkpoints.remove_partial()
    assert checkpoints.steps() == [10, 8, 4]


def test_no_folder_means_no_checkpoint(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "none") is None


@pytest.mark.parametrize(("number", "sealed"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_share_that_knows_no_sync_of_folders_still_holds_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sealed: bool
) -> None:
    real = os.fsync

    def on_a_share(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        real(fd)

    monkeypatch.setattr(os, "fsync", on_a_share)
    with nullcontext() if sealed else pytest.raises(OSError):
        checkpoint(tmp_path, 3)
        assert Checkpoints(tmp_path).is_complete(3)
