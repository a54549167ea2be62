"""What goes to the share for a run and what comes back: exactly what is needed, resumed where it broke off, believed only under a seal."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies import fault
from policies.tool import ToolFailed
from tests.azure.cloud import ROOT, Cloud
from tests.azure.files_server import files_of
from tools.azure.client import Azure
from tools.azure.files import Share, open_share
from tools.azure.trouble import AzureTrouble
from tools.engine.checkpoints import Checkpoints
from tools.engine.environment import program_digest
from tools.engine.manifest import write_manifest
from tools.engine.spec import PATHS, TrainSpec
from tools.runs.container import Package, cloud_spec, engine_package, fetch, fetch_checkpoints, upload

RUN = "0123456789"
KEY = "5a" * 32


def quiet(text: str, share: float | None) -> None:
    """Hears nothing."""


class Killed(Exception):
    """The process ends here."""


class Scene:
    """A run folder here, its share, and what an execution would leave there."""

    def __init__(self, folder: Path, cloud: Cloud, azure: Azure) -> None:
        self.cloud, self.share = cloud, open_share(azure, cloud.prepared())
        self.folder, model = folder / "home" / "runs" / RUN, folder / "model"
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "run.key").write_text(KEY)
        for name in ("train", "validation", "test"):
            (self.folder / "data" / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
        model.mkdir()
        for name, content in (("config.json", b"{}"), ("model.safetensors", b"w" * 5000), ("old.bin", b"pickle")):
            (model / name).write_bytes(content)
        self.spec = TrainSpec(
            run_id=RUN, model_id="tiny", model_dir=str(model), model_digest="ab" * 32, data_dir=str(self.folder / "data"), data_digest="d",
            max_steps=4, epochs=1, learning_rate=0.1, key_path="run.key", base_served_dir=str(folder / "base"))

    @property
    def there(self) -> Path:
        """The run's folder on the share."""
        return self.cloud.share_root / "runs" / RUN

    def upload(self, say: Callable[[str, float | None], None] = quiet) -> None:
        """As the reconciler does it."""
        upload(self.share, ROOT, self.spec, self.folder, say)

    def sent(self) -> int:
        """Ranges that were put so far."""
        return len(files_of(self.cloud.world).put_ranges)

    def ended(self, files: dict[str, bytes] | None = None, key: str = KEY) -> None:
        """What a finished run leaves on the share."""
        made = files if files is not None else {"adapter/adapter_model.safetensors": b"tuned" * 1000, "adapter/adapter_config.json": b"{}",
                                                "served/genai_config.json": b"{}", "base-served/model.onnx": b"base"}
        for name, content in made.items():
            (self.there / name).parent.mkdir(parents=True, exist_ok=True)
            (self.there / name).write_bytes(content)
        write_manifest(self.there, RUN, key.encode())

    def checkpoint(self, folder: Path, step: int, key: str = KEY) -> None:
        """A sealed one."""
        path = folder / "checkpoints" / f"checkpoint-{step}"
        path.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "optimizer.pt"):
            (path / name).write_bytes(f"{name} {step}".encode())
        Checkpoints(folder / "checkpoints", key.encode()).seal(step)


@pytest.fixture
def scene(tmp_path: Path, cloud: Cloud, azure: Azure) -> Scene:
    return Scene(tmp_path, cloud, azure)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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
    with pytest.raises(ToolFailed, match=r"tools/__init__\.py"):
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
    before = scene.sent()
    scene.upload()
    assert scene.sent() - before <= 1, "the settings alone"


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


# ── and back ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_run_made_comes_back_as_its_manifest_says(scene: Scene):
    scene.upload()
    scene.ended()
    (scene.folder / "result.json").write_text(json.dumps({"base_served_dir": "/luthier/run/base-served"}))
    found = fetch(scene.share, RUN, scene.folder, quiet)
    assert found.verified and set(found.files) == {
        "adapter/adapter_model.safetensors", "adapter/adapter_config.json", "served/genai_config.json", "base-served/model.onnx"}
    assert (scene.folder / "adapter" / "adapter_model.safetensors").read_bytes() == b"tuned" * 1000
    assert json.loads((scene.folder / "result.json").read_text())["base_served_dir"] == str(scene.folder / "base-served")


def test_the_settings_there_are_not_held_against_the_settings_here(scene: Scene):
    scene.upload()
    scene.ended()
    assert "spec.json" not in json.loads((scene.there / "manifest.json").read_text())["files"]


def test_a_download_that_broke_off_is_gone_on_with(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.ended()

    def die(name: str, /) -> None:
        if name == "cloud.fetch.file" and (scene.folder / "adapter" / "adapter_model.safetensors").exists():
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(fault, "point", die)
        with pytest.raises(Killed):
            fetch(scene.share, RUN, scene.folder, quiet)
    before = (scene.folder / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    assert fetch(scene.share, RUN, scene.folder, quiet).verified
    assert (scene.folder / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before


def forge(scene: Scene, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and seal it anew, as a hostile run can: it holds its own key."""
    from tools.engine.seal import signed

    document = json.loads((scene.there / "manifest.json").read_text())
    change(document["files"])
    document.pop("hmac")
    (scene.there / "manifest.json").write_text(json.dumps(signed(KEY.encode(), "manifest", document)))


FACTS = {"bytes": 3, "sha256": "0" * 64}


@pytest.mark.parametrize(("change", "said"), [
    (lambda files: files.update({"adapter/../../../etc/x": FACTS}), "cannot be used"),
    (lambda files: files.update({"adapter/a\\b": FACTS}), "cannot be used"),
    (lambda files: files.update({"adapter/model.bin": FACTS}), "safetensors only"),
    (lambda files: files.update({"served/weights.PKL": FACTS}), "safetensors only"),
    (lambda files: files.update({"adapter/huge.safetensors": {"bytes": 1 << 50, "sha256": "0" * 64}}), "bytes"),
    (lambda files: files.update({"adapter/less.safetensors": {"bytes": -1, "sha256": "0" * 64}}), "bytes"),
    (lambda files: files.update({f"adapter/{n}": FACTS for n in range(10_001)}), "files"),
    (lambda files: files.update({"adapter/x": {"bytes": "many"}}), "cannot be read"),
], ids=["a way up", "a backslash", "a pickle", "a pickle in capitals", "too large", "less than nothing", "too many", "no numbers"])
def test_a_manifest_that_names_what_may_not_come_here_brings_nothing(scene: Scene, change: Callable[[dict[str, Any]], None], said: str):
    scene.ended()
    forge(scene, change)
    with pytest.raises(ToolFailed) as failed:
        fetch(scene.share, RUN, scene.folder, quiet)
    assert said in f"{failed.value.because} {failed.value.try_next}"
    assert not (scene.folder / "adapter").exists()


@pytest.mark.parametrize("how", ["another key", "another run", "no seal", "no JSON"])
def test_a_manifest_that_is_not_the_runs_own_brings_nothing(scene: Scene, how: str):
    scene.ended(key="b" * 64 if how == "another key" else KEY)
    path = scene.there / "manifest.json"
    if how == "another run":
        write_manifest(scene.there, "9876543210", KEY.encode())
    elif how == "no seal":
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "hmac"}))
    elif how == "no JSON":
        path.write_text("{")
    with pytest.raises(AzureTrouble) as failed:
        fetch(scene.share, RUN, scene.folder, quiet)
    assert failed.value.kind == "foreign" and not (scene.folder / "adapter").exists()


def test_a_file_that_was_changed_after_the_run_wrote_it_is_not_kept(scene: Scene):
    scene.ended()
    (scene.there / "adapter" / "adapter_model.safetensors").write_bytes(b"other" * 1000)
    with pytest.raises(AzureTrouble, match="manifest"):
        fetch(scene.share, RUN, scene.folder, quiet)
    assert not (scene.folder / "adapter" / "adapter_model.safetensors").exists()


def test_of_a_run_that_was_stopped_the_newest_sealed_checkpoint_comes_back(scene: Scene):
    for step in (2, 4):
        scene.checkpoint(scene.there, step)
    (scene.there / "checkpoints" / "checkpoint-6").mkdir()
    (scene.there / "checkpoints" / "checkpoint-6" / "optimizer.pt").write_bytes(b"half")
    found = fetch_checkpoints(scene.share, RUN, scene.folder, quiet)
    assert found.verified and {name.split("/")[1] for name in found.files} == {"checkpoint-4"}
    assert tree(scene.folder / "checkpoints") == {
        name: content for name, content in tree(scene.there / "checkpoints").items() if name.startswith("checkpoint-4/")}


def test_a_checkpoint_that_another_sealed_is_refused(scene: Scene):
    scene.checkpoint(scene.there, 4, key="b" * 64)
    with pytest.raises(AzureTrouble) as failed:
        fetch_checkpoints(scene.share, RUN, scene.folder, quiet)
    assert failed.value.kind == "foreign"


def test_a_run_without_a_checkpoint_brings_nothing(scene: Scene):
    scene.upload()
    assert fetch_checkpoints(scene.share, RUN, scene.folder, quiet).files == ()


def test_what_is_read_back_is_the_same_settings(scene: Scene):
    assert cloud_spec(cloud_spec(scene.spec)) == cloud_spec(scene.spec)
    assert isinstance(engine_package(ROOT), Package) and isinstance(scene.share, Share)
