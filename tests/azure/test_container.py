"""What goes to the share for a run: exactly what is needed, once, and gone on with where it broke off."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from policies import fault
from policies.tool import ToolFailed
from tests.azure.cargo import KEY, RUN, Killed, Scene, tree
from tests.azure.cloud import ROOT, Cloud
from tools.azure.client import Azure
from tools.engine.checkpoints import Checkpoints
from tools.engine.environment import program_digest
from tools.engine.spec import PATHS
from tools.runs.container import cloud_spec, engine_package, upload


@pytest.fixture
def scene(tmp_path: Path, cloud: Cloud, azure: Azure) -> Scene:
    return Scene(tmp_path, cloud, azure)


# ── the program ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_program_is_the_engine_its_runner_and_its_locks_and_nothing_else():
    names = [name for name, _ in engine_package(ROOT).files]
    beside = {"tools/__init__.py", "tools/runs/__init__.py", "tools/runs/boot.py", "tools/runs/kernel.py", "tools/runs/locks.py",
              "tools/runs/runner.py", "locks/engine-cpu.txt", "locks/engine-cuda.txt"}
    assert {name for name in names if not name.startswith("tools/engine/")} == beside
    assert {"tools/engine/__main__.py", "tools/engine/serve.py"} <= set(names) and names == sorted(names)


def test_its_name_follows_from_its_content(tmp_path: Path):
    for name, path in engine_package(ROOT).files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(path.read_bytes())
    assert engine_package(tmp_path).digest == engine_package(ROOT).digest == program_digest(tmp_path)
    (tmp_path / "tools" / "engine" / "spec.py").write_text("changed")
    assert engine_package(tmp_path).digest != engine_package(ROOT).digest


def test_the_package_runs_by_itself(tmp_path: Path):
    for name, path in engine_package(ROOT).files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(path.read_bytes())
    done = subprocess.run([sys.executable, str(tmp_path / "tools" / "runs" / "runner.py"), "--help"], cwd=tmp_path, capture_output=True,
                          text=True, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0 and "--owner-env" in done.stdout


def test_a_program_with_a_file_missing_is_not_packed(tmp_path: Path):
    with pytest.raises(ToolFailed, match=r"locks/engine-cpu\.txt cannot be read"):
        engine_package(tmp_path)


# ── there ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_path_of_this_machine_is_in_the_settings_there(scene: Scene, tmp_path: Path):
    scene.upload()
    there = json.loads((scene.there / "spec.json").read_text())
    assert str(tmp_path) not in json.dumps(there)
    assert [there[name] for name in PATHS] == [f"$LUTHIER_MODELS/{'ab' * 32}", "$LUTHIER_RUN/data", "$LUTHIER_SECRETS/run-key", None]
    assert {k: v for k, v in there.items() if k not in PATHS} == {
        k: v for k, v in scene.spec.model_dump(mode="json").items() if k not in PATHS}


def test_what_a_job_mounts_is_there_and_neither_key_nor_pickle(scene: Scene):
    scene.upload()
    package = engine_package(ROOT)
    there = tree(scene.cloud.share_root)
    assert {name for name in there if name.startswith("runs/")} == {
        f"runs/{RUN}/{name}" for name in ("spec.json", "data/train.jsonl", "data/validation.jsonl", "data/test.jsonl")}
    assert {name for name in there if name.startswith("models/")} == {
        f"models/{'ab' * 32}/{name}" for name in ("config.json", "model.safetensors", "complete.json")}
    assert program_digest(scene.cloud.share_root / "engine" / package.digest) == package.digest
    assert not any(KEY.encode() in content for content in there.values())


def test_program_and_model_are_sent_once_for_all_runs(scene: Scene):
    scene.upload()
    before = {path: path.stat().st_mtime_ns for path in scene.cloud.share_root.rglob("*") if path.is_file()}
    scene.upload()
    assert {path.name for path, at in before.items() if path.stat().st_mtime_ns != at} <= {"spec.json"}


@pytest.mark.parametrize("at", ["cloud.upload.file", "cloud.upload.complete", "cloud.upload.spec"])
@pytest.mark.parametrize("passing", [1, 3])
def test_an_upload_that_broke_off_anywhere_is_gone_on_with(scene: Scene, monkeypatch: pytest.MonkeyPatch, at: str, passing: int):
    left = [passing]

    def die(name: str, /) -> None:
        left[0] -= name == at
        if name == at and left[0] == 0:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(fault, "point", die)
        with pytest.raises(Killed):
            for _ in range(passing):
                scene.upload()
                scene.cloud.share_root.joinpath("models", "ab" * 32, "complete.json").unlink()
    assert at != "cloud.upload.spec" or passing > 1 or not (scene.there / "spec.json").exists()
    scene.upload()
    assert (scene.there / "spec.json").exists() and not list(scene.cloud.share_root.rglob("*.part"))
    assert (scene.cloud.share_root / "models" / ("ab" * 32) / "model.safetensors").read_bytes() == b"w" * 5000


def test_progress_only_grows_and_stays_below_1(scene: Scene):
    said: list[float] = []
    scene.upload(lambda text, share: said.append(share or 0.0))
    assert said == sorted(said) and 0 < said[-1] <= 0.99


def test_settings_of_a_container_stay_as_they_are(scene: Scene):
    assert cloud_spec(cloud_spec(scene.spec)) == cloud_spec(scene.spec)


def test_a_run_that_was_here_takes_its_last_checkpoint_and_its_notes_along(scene: Scene):
    for step in (2, 4):
        scene.checkpoint(scene.folder, step)
    (scene.folder / "events.jsonl").write_text("{}\n{}\n")
    (scene.folder / "started.json").write_text('{"threads": 3}')
    scene.upload()
    assert (scene.there / "started.json").read_text() == '{"threads": 3}'
    assert [path.name for path in (scene.there / "checkpoints").iterdir()] == ["checkpoint-4"]
    assert Checkpoints(scene.there / "checkpoints", KEY.encode()).is_complete(4)


def test_what_an_attempt_there_has_written_since_is_left_alone(scene: Scene):
    (scene.folder / "events.jsonl").write_text("{}\n")
    (scene.folder / "metrics.json").write_text('{"step": 1}')
    scene.there.mkdir(parents=True)
    (scene.there / "events.jsonl").write_text("{}\n{}\n")
    (scene.there / "metrics.json").write_text('{"step": 2}')
    scene.upload()
    assert (scene.there / "metrics.json").read_text() == '{"step": 2}'


def test_a_program_that_is_not_the_approved_one_is_not_sent(scene: Scene):
    with pytest.raises(ToolFailed, match=r"Luthier was upgraded between your yes and the upload\..*Ask again\.") as refused:
        scene.upload(engine="0" * 32)
    assert refused.value.kind == "conflict" and tree(scene.cloud.share_root) == {}


def test_a_program_that_changes_while_it_is_sent_is_not_called_whole(scene: Scene, tmp_path: Path):
    root = tmp_path / "project"
    for name, path in engine_package(ROOT).files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(path.read_bytes())
    before = engine_package(root).digest

    def upgrade(text: str, share: float | None) -> None:
        if share and share > 0.5:  # after its first files have been sent
            (root / "locks" / "engine-cpu.txt").write_text("changed")

    with pytest.raises(ToolFailed, match="upgraded"):
        upload(scene.share, root, scene.spec, scene.folder, upgrade, before)
    assert not (scene.cloud.share_root / "engine" / before / "complete.json").exists()
