"""Machines and model folders for tests: a fake NVML with the cards people have, and safetensors folders written by hand."""

import contextlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.gpus import Device, Gpu, NvmlFailure
from tools.hardware import GIB, Machine, Memory
from tools.outlook import DatasetFacts
from tools.processor import Cpu

RTX_3050 = Device("NVIDIA GeForce RTX 3050 Laptop GPU", 4 * GIB, int(3.6 * GIB), "8.6")
RTX_4060 = Device("NVIDIA GeForce RTX 4060", 8 * GIB, int(7.2 * GIB), "8.9")
RTX_4090 = Device("NVIDIA GeForce RTX 4090", 24 * GIB, 23 * GIB, "8.9")
TESLA_T4 = Device("Tesla T4", 16 * GIB, 15 * GIB, "7.5")


class FakeNvml:
    """NVML with the given devices; a failure in their place is raised when that device is asked, `broken` on opening."""

    def __init__(self, *devices: Device | NvmlFailure, broken: NvmlFailure | None = None) -> None:
        """Takes what it will tell."""
        self.devices, self.broken, self.open_count = devices, broken, 0

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """See Nvml."""
        if self.broken is not None:
            raise self.broken
        self.open_count += 1
        try:
            yield
        finally:
            self.open_count -= 1

    def driver(self) -> str:
        """See Nvml."""
        return "580.95"

    def count(self) -> int:
        """See Nvml."""
        return len(self.devices)

    def device(self, index: int) -> Device:
        """See Nvml."""
        found = self.devices[index]
        if isinstance(found, NvmlFailure):
            raise found
        return found


def machine(
    memory_gib: float = 24, *, cores: int = 2, load: float = 0.0, gpus: tuple[Device, ...] = (), isa: tuple[str, ...] = ("avx2", "fma"),
) -> Machine:
    """A machine with that much free memory."""
    seen = tuple(
        Gpu(index, "NVIDIA", gpu.name, gpu.total_bytes, gpu.free_bytes, "580.95", gpu.compute_capability) for index, gpu in enumerate(gpus))
    return Machine(Cpu("Test CPU", cores, isa), Memory(int(memory_gib * GIB), int(memory_gib * GIB)), gpus=seen,
                   disk_free_bytes=100 * GIB, os="Linux", load=load)


class FixedHardware:
    """A reader of one fixed machine."""

    def __init__(self, found: Machine) -> None:
        """Takes the machine."""
        self.found = found

    def machine(self) -> Machine:
        """See Hardware."""
        return self.found


class FixedDatasets:
    """A reader that knows one dataset."""

    def __init__(self, facts: DatasetFacts | None = None) -> None:
        """Takes the facts; the helpdesk sample's by default."""
        self.facts = facts or DatasetFacts(rows=400, train_rows=320, p50=70, p95=90, max=110)
        self.asked: list[tuple[str, str]] = []

    def rows_of(self, dataset: str, model: str) -> DatasetFacts:
        """See DatasetReader."""
        self.asked.append((dataset, model))
        return self.facts


CONFIG: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 64, "max_position_embeddings": 128,
    "tie_word_embeddings": True, "dtype": "float32", "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, list[int]]]) -> None:
    """A safetensors file of zeros: name → type and shape."""
    width, header, end = {"F32": 4, "BF16": 2, "U8": 1}, {}, 0
    for name, (dtype, shape) in tensors.items():
        size = width[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def write_model(folder: Path, *, config: Mapping[str, Any] | None = None, dtype: str = "F32", weights: bool = True) -> Path:
    """A small model folder that passes every check; `config` replaces or adds keys."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    if weights:
        write_safetensors(folder / "model.safetensors", {"embed_tokens.weight": (dtype, [64, 16]), "norm.weight": (dtype, [16])})
    return folder
