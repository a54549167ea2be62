"""What comes back from the share of a run: believed only under the run's seal, and only what may be loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies import fault
from policies.tool import ToolFailed
from tests.azure.cargo import KEY, RUN, Killed, Scene, quiet, tree
from tests.azure.cloud import Cloud
from tools.azure.client import Azure
from tools.azure.trouble import AzureTrouble
from tools.engine.manifest import write_manifest
from tools.runs.container import fetch, fetch_checkpoints


@pytest.fixture
def scene(tmp_path: Path, cloud: Cloud, azure: Azure) -> Scene:
    return Scene(tmp_path, cloud, azure)


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
