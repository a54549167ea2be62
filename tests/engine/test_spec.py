"""Paths of a spec that a container's platform decides."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.conftest import log_of, result_of
from tests.engine.nursery import Nursery
from tools.engine.environment import mounts, program_digest, whereabouts
from tools.engine.manifest import kept_files
from tools.engine.spec import TrainSpec, expanded

SPEC = TrainSpec(
    run_id="0123456789", model_id="tiny", model_dir="$LUTHIER_MODELS/ab", model_digest="m", data_dir="$LUTHIER_RUN/data", data_digest="d",
    max_steps=1, epochs=1, learning_rate=0.1, key_path="$LUTHIER_SECRETS/run-key",
)  # fmt: skip
HERE = {"LUTHIER_RUN": "/luthier/run", "LUTHIER_MODELS": "/luthier/models", "LUTHIER_SECRETS": "/luthier/secrets"}


def test_a_path_that_begins_with_a_folder_of_the_container_lies_there() -> None:
    found = expanded(SPEC, HERE)
    assert (found.model_dir, found.data_dir, found.key_path) == ("/luthier/models/ab", "/luthier/run/data", "/luthier/secrets/run-key")
    assert expanded(found, {}) == found


@pytest.mark.parametrize("path", ["/data/$LUTHIER_RUN", "$HOME/model", "$LUTHIER_RUNNER/x", "${LUTHIER_RUN}/x", "model", ""])
def test_nothing_else_is_put_in(path: str) -> None:
    assert expanded(SPEC.model_copy(update={"model_dir": path}), HERE).model_dir == path


def test_only_paths_are_looked_at() -> None:
    assert expanded(SPEC.model_copy(update={"model_id": "$LUTHIER_RUN/x"}), HERE).model_id == "$LUTHIER_RUN/x"


def test_a_folder_that_nobody_named_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"model_dir is \$LUTHIER_MODELS/ab, and LUTHIER_MODELS is not set here"):
        expanded(SPEC, {"LUTHIER_RUN": "/run"})


def test_only_the_four_variables_are_read() -> None:
    assert mounts({**HERE, "LUTHIER_HOME": "/home", "HF_TOKEN": "secret", "LUTHIER_ENGINE": ""}) == HERE


def test_outside_of_a_container_nothing_is_said_of_one() -> None:
    assert whereabouts({"PATH": "/bin"}) == {}


def test_a_container_says_its_execution_its_image_and_its_program(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").write_text("")
    here = {"LUTHIER_ENGINE": str(tmp_path), "LUTHIER_IMAGE": "host/name@sha256:00", "CONTAINER_APP_JOB_EXECUTION_NAME": "job-1"}
    told = whereabouts(here)
    assert (told["execution"], told["image"], told["engine"]) == ("job-1", "host/name@sha256:00", program_digest(tmp_path))
    assert len(told["engine"]) == 32


def test_a_manifest_leaves_out_settings_that_only_fit_a_container(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(SPEC.model_dump_json())
    assert kept_files(tmp_path) == {}
    (tmp_path / "spec.json").write_text(expanded(SPEC, HERE).model_dump_json())
    assert list(kept_files(tmp_path)) == ["spec.json"]


def test_a_run_whose_folders_are_unknown_fails_with_a_reason(new_run: Callable[..., Path], nursery: Nursery) -> None:
    folder = new_run(model_dir="$LUTHIER_MODELS/ab")
    assert nursery.run(folder) == 1
    assert result_of(folder)["outcome"] == "failed" and "LUTHIER_MODELS is not set here" in log_of(folder)
    assert json.loads((folder / "spec.json").read_text())["model_dir"] == "$LUTHIER_MODELS/ab"
