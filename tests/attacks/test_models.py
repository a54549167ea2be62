"""A36-A41: a model folder, a checkpoint or a configuration that would run code when it is loaded."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.agent.scripted import call
from tests.attacks.siege import ME, Siege, whole_model
from tests.tools.fakes_machine import write_model
from tools.engine.checkpoints import Checkpoints
from tools.engine.failure import EngineFailed
from tools.engine.spec import ConvertSpec, ExportSpec, ScoreSpec, TrainSpec


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


async def added(siege: Siege, folder: Path) -> Any:
    """What registering a folder says."""
    async with siege.workshop() as shop:
        return await shop.add_model(str(folder), ME, "theirs")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "model.ckpt"])
async def test_a36_a_pickle_is_refused_and_not_opened(siege: Siege, name: str) -> None:
    folder, crater = write_model(siege.folder / "theirs", weights=False), siege.folder / "crater"
    (folder / name).write_bytes(pickle.dumps(Bomb(crater)))
    told = await added(siege, folder)
    assert told.status == "failed" and "pickle" in told.reason and "safetensors" in told.remedy and not crater.exists()


async def test_a36_a_pickle_beside_the_safetensors_is_never_loaded(siege: Siege) -> None:
    folder, crater = whole_model(siege.folder / "theirs"), siege.folder / "crater"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(crater)))
    assert (await added(siege, folder)).status == "done"
    ended = await siege.attack(call("estimate_cost", {"model": "theirs", "dataset": siege.rows("rows.jsonl")}))
    assert ended.statuses == ["done"] and not crater.exists()


CONFIGS = {
    "auto_map": ("config.json", {"auto_map": {"AutoModel": "x.Y"}}),
    "attn_implementation": ("config.json", {"_attn_implementation_internal": "someone/kernels"}),
    "trust_remote_code": ("config.json", {"trust_remote_code": True}),
    "pipelines": ("config.json", {"custom_pipelines": {"a": {}}}),
    "an unknown key": ("config.json", {"loader": "x.Y"}),
    "a hidden object": ("config.json", {"hidden_act": {"auto_map": "x"}}),
    "tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.Y", None]}}),
    "generation": ("generation_config.json", {"custom_generate": "x/y"}),
}


@pytest.mark.parametrize(("file", "keys"), CONFIGS.values(), ids=CONFIGS.keys())
async def test_a37_a_configuration_that_names_code_is_refused(siege: Siege, file: str, keys: dict[str, Any]) -> None:
    folder = write_model(siege.folder / "theirs")
    found = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(found | keys))
    told = await added(siege, folder)
    assert told.status == "failed" and told.remedy


async def test_a37_a_folder_that_changes_after_it_was_added_is_refused(siege: Siege) -> None:
    folder, ref = write_model(siege.folder / "theirs"), siege.rows("rows.jsonl")
    assert (await added(siege, folder)).status == "done"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 5.0}))
    ended = await siege.attack(call("start_finetune", {"model": "theirs", "dataset": ref}))
    assert ended.statuses == ["failed"] and "changed" in ended.reasons and not ended.cards


KEY = b"k" * 32


def checkpoint(folder: Path, step: int) -> Path:
    """A folder as another program would leave it, with a pickle of a random number generator."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(b"weights")
    (path / "rng_state.pth").write_bytes(pickle.dumps(Bomb(folder / "crater")))
    return path


def gone_on_from(folder: Path) -> bool:
    """Whether a run with its own key would take a checkpoint from this folder."""
    try:
        return Checkpoints(folder, KEY).last() is not None
    except EngineFailed as refused:
        assert refused.kind == "foreign"
        return False


def forged(path: Path, seal: str) -> None:
    """Seal a checkpoint as somebody without the run's key can."""
    files = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in path.iterdir()}
    match seal:
        case "of digests":
            (path / "complete.json").write_text(json.dumps({"files": files}))
        case "without a key":
            Checkpoints(path.parent).seal(9)
        case "under another key":
            Checkpoints(path.parent, b"x" * 32).seal(9)
        case "of another step":
            (path.parent / "checkpoint-9").rename(path.parent / "checkpoint-8")
            Checkpoints(path.parent, KEY).seal(8)
            (path.parent / "checkpoint-8").rename(path.parent / "checkpoint-9")
        case "to which a file was added":
            Checkpoints(path.parent, KEY).seal(9)
            (path / "optimizer.pt").write_bytes(pickle.dumps(Bomb(path.parent / "crater")))
        case _:
            assert seal == "none"


@pytest.mark.parametrize(
    "seal",
    [
        "none",
        "of digests",
        "without a key",
        "under another key",
        "of another step",
        "to which a file was added",
    ],
)
def test_a39_no_run_goes_on_from_a_checkpoint_that_it_did_not_seal_itself(tmp_path: Path, seal: str) -> None:
    forged(checkpoint(tmp_path, 9), seal)
    assert not gone_on_from(tmp_path) and not (tmp_path / "crater").exists()


def test_a39_its_own_it_does_go_on_from(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9)
    Checkpoints(tmp_path, KEY).seal(9)
    assert gone_on_from(tmp_path)


@pytest.mark.parametrize("location", ["../../secrets/HF_TOKEN", "/etc/passwd", "weights.bin"])
async def test_a40_a_model_with_data_outside_its_file_is_refused_before_anything_loads_it(siege: Siege, location: str) -> None:
    folder = write_model(siege.folder / "theirs", weights=False)
    (folder / "model.onnx").write_bytes(b"\x08\x07external_data location=" + location.encode())
    told = await added(siege, folder)
    assert told.status == "failed" and "no weights" in told.reason


async def test_a40_shards_outside_the_folder_and_links_out_of_it_are_refused(siege: Siege) -> None:
    folder = write_model(siege.folder / "theirs", weights=False)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    (folder / "x.safetensors").write_bytes(b"")
    assert "elsewhere" in (await added(siege, folder)).reason
    linked = write_model(siege.folder / "linked", weights=False)
    (linked / "model.safetensors").symlink_to("/etc/passwd")
    assert "link that points out" in (await added(siege, linked)).reason


@pytest.mark.parametrize("spec", [TrainSpec, ScoreSpec, ExportSpec, ConvertSpec], ids=lambda spec: spec.__name__)
@pytest.mark.parametrize("field", ["user_script", "script_dir", "olive_config", "passes", "python_environment_path", "trust_remote_code"])
def test_a41_no_specification_of_the_engine_has_a_field_that_names_code(spec: type[Any], field: str) -> None:
    assert field not in spec.model_fields
    with pytest.raises(ValidationError, match="Extra inputs"):
        spec.model_validate({field: "evil.py"})


@pytest.mark.parametrize("field", ["user_script", "olive_config", "sweep", "passes"])
async def test_a41_nor_does_a_tool_take_one(siege: Siege, field: str) -> None:
    ended = await siege.attack(
        call("start_finetune", {"model": "bundled", "dataset": siege.rows("rows.jsonl"), field: {"user_script": "evil.py"}})
    )
    assert ended.statuses[0] in ("refused", "failed") and not ended.cards
