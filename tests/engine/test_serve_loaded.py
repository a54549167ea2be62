"""Names and files: one loaded base answers as itself and under each adapter's name, in turns and alone alike."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.engine.serve_error import RequestRefused
from tools.engine.serve_loaded import CHUNK, Answering, Loaded, Sampling, load
from tools.engine.serve_spec import ServedModel

GREEDY = Sampling(max_tokens=20, temperature=0)
SCALE = 16.0
"""lora_alpha / r of the adapters made here."""


def tune(model: Path, out: Path, seed: int) -> Path:
    """A LoRA adapter with random weights: large enough to change every answer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    get_peft_model(base, LoraConfig(r=4, lora_alpha=64, target_modules=targets, init_lora_weights=False)).save_pretrained(str(out))
    return out


def build_with(model: Path, adapter: Path, out: Path) -> Path:
    """GenAI files with the adapter's weights inside."""
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        options = parse_extra_options("", str(model), str(out), "fp32", "cpu", str(out / "cache"), [f"adapter_path={adapter}"])
        create_model("", str(model), str(out), "fp32", "cpu", str(out / "cache"), **options)
    return out


def take_out(built: Path, out: Path) -> Path:
    """The same files with an empty place for adapters, as Olive's generate-adapter makes them: no adapter adds nothing."""
    import shutil

    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shutil.copytree(built, out, ignore=shutil.ignore_patterns("model.onnx*", "cache"))
    model = onnx.load(str(built / "model.onnx"))
    for weight in [each for each in model.graph.initializer if ".lora_" in each.name]:
        first = ".lora_A." in weight.name
        rows, columns = weight.dims
        model.graph.initializer.remove(weight)
        empty = np.zeros((rows, 0) if first else (0, columns), np.float32)
        model.graph.initializer.append(numpy_helper.from_array(empty, weight.name))
        shape: Any = [rows, "r"] if first else ["r", columns]
        model.graph.input.append(helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, shape))
    onnx.save(model, str(out / "model.onnx"))
    return out


def write_adapter(adapter: Path, out: Path) -> Path:
    """The `.onnx_adapter` of a PEFT folder."""
    import onnxruntime
    from safetensors.numpy import load_file

    found = {}
    for name, value in load_file(adapter / "adapter_model.safetensors").items():
        parts = re.fullmatch(r"base_model\.model\.model\.(layers\.\d+)\.(self_attn|mlp)\.(\w+)\.lora_([AB])\.weight", name)
        assert parts is not None, name
        block = "attn" if parts[2] == "self_attn" else "mlp"
        scaled = np.ascontiguousarray(value.T * (SCALE if parts[4] == "B" else 1), dtype=np.float32)
        found[f"model.{parts[1]}.{block}.{parts[3]}.lora_{parts[4]}.MatMul.weight"] = onnxruntime.OrtValue.ortvalue_from_numpy(scaled)
    file = onnxruntime.AdapterFormat()
    file.set_adapter_version(1)
    file.set_model_version(1)
    file.set_parameters(found)
    file.export_adapter(str(out))  # pyright: ignore[reportArgumentType] - it says PathLike and takes text alone
    return out


@pytest.fixture(scope="module")
def models(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    """The base, two adapters on it, and the first adapter built in."""
    folder = tmp_path_factory.mktemp("adapters")
    one, two = tune(tiny, folder / "peft-1", 1), tune(tiny, folder / "peft-2", 2)
    built = build_with(tiny, one, folder / "built")
    base = str(take_out(built, folder / "base"))
    files = [write_adapter(each, folder / f"{each.name}.onnx_adapter") for each in (one, two)]
    return load([
        ServedModel(name="base", folder=base, precision="fp32"),
        ServedModel(name="one", folder=base, adapter=str(files[0]), run="0000000001", precision="fp32"),
        ServedModel(name="two", folder=base, adapter=str(files[1]), run="0000000002", precision="fp32"),
        ServedModel(name="built", folder=str(built), precision="fp32"),
    ], threads=1)


def ids(loaded: Loaded) -> list[int]:
    return loaded.served.prompt([{"role": "user", "content": "The printer on floor two"}])


def whole(answering: Answering) -> str:
    text = ""
    while not answering.finish:
        text += answering.step()
    return text


def test_each_name_answers_with_its_own_adapter(models: dict[str, Loaded]) -> None:
    said = {name: whole(loaded.begin(ids(loaded), GREEDY)) for name, loaded in models.items()}
    assert said["one"] == said["built"] and len({said["base"], said["one"], said["two"]}) == 3


def test_answers_of_several_adapters_in_turns_are_what_they_are_alone(models: dict[str, Loaded]) -> None:
    names = ["one", "base", "two", "one"]
    alone = [whole(models[name].begin(ids(models[name]), GREEDY)) for name in names]
    turns, texts = [models[name].begin(ids(models[name]), GREEDY) for name in names], [""] * len(names)
    while not all(each.finish for each in turns):
        for at, each in enumerate(turns):
            texts[at] += "" if each.finish else each.step()
    assert texts == alone


def test_files_are_loaded_once_and_told_apart_by_their_fingerprints(models: dict[str, Loaded]) -> None:
    assert models["base"].served is models["one"].served is models["two"].served
    assert len({loaded.fingerprint for loaded in models.values()}) == 4


def test_a_long_prompt_read_in_pieces_gives_the_answer_of_one_read_at_once(
    models: dict[str, Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = models["base"].served.prompt([{"role": "user", "content": "The queue is stuck. " * 25}])
    assert len(prompt) > CHUNK
    pieces = whole(models["base"].begin(prompt, GREEDY))
    monkeypatch.setattr("tools.engine.serve_loaded.CHUNK", 100_000)
    assert whole(models["base"].begin(prompt, GREEDY)) == pieces


@pytest.mark.parametrize("count", [0, 512, 600], ids=["empty", "no room for a token", "too long"])
def test_a_prompt_that_leaves_no_room_is_refused(models: dict[str, Loaded], count: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        models["base"].check([5] * count)
    assert refused.value.status == 400


def test_a_damaged_adapter_file_is_an_error_when_it_is_loaded(models: dict[str, Loaded], tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx_adapter"
    path.write_bytes(b"not an adapter")
    model = models["one"].model.model_copy(update={"adapter": str(path)})
    with pytest.raises(Exception, match=r"."):
        load([model], threads=1)
