"""Only sealed checkpoints are resumed from."""

from pathlib import Path

import pytest

from tools.engine.checkpoints import is_complete, last_complete, seal


def checkpoint(folder: Path, step: int, sealed: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(b"weights")
    if sealed:
        seal(path)
    return path


def test_the_newest_sealed_one_is_taken_and_newer_unsealed_ones_are_removed(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9)
    checkpoint(tmp_path, 10)
    unsealed = checkpoint(tmp_path, 12, sealed=False)
    found = last_complete(tmp_path)
    assert found is not None and found.step == 10 and not unsealed.exists()


@pytest.mark.parametrize("harm", ["change", "remove", "add"])
def test_a_checkpoint_that_is_not_what_was_sealed_does_not_count(harm: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1)
    assert is_complete(path)
    match harm:
        case "change":
            (path / "adapter_model.safetensors").write_bytes(b"others")
        case "remove":
            (path / "adapter_model.safetensors").unlink()
        case _:
            (path / "extra.pt").write_bytes(b"x")
    assert not is_complete(path)
    assert last_complete(tmp_path) is None


def test_a_pickle_of_arguments_is_removed_before_sealing(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1, sealed=False)
    (path / "training_args.bin").write_bytes(b"pickle")
    seal(path)
    assert not (path / "training_args.bin").exists() and is_complete(path)


def test_a_step_that_is_saved_twice_is_sealed_anew(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1)
    (path / "adapter_model.safetensors").write_bytes(b"again")
    seal(path)
    assert is_complete(path)


def test_no_folder_means_no_checkpoint(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "none") is None
