"""A model folder's files: which may be there, whether the safetensors are whole, and one digest over all that a loader reads."""

import hashlib
import json
import os
import stat
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from tools.models import read_json, unusable

LOADED = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model"})
"""Endings of the files a loader reads; they make up the digest."""
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
MAX_HEADER = 100_000_000
"""The safetensors format's own limit, in bytes."""
WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
TUNABLE = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class Weights:
    """What the safetensors headers say."""

    files: tuple[str, ...]
    parameters: int
    dtype: str
    """The type of most parameters."""
    bytes: int
    warnings: tuple[str, ...] = ()


def plain_files(folder: Path, linked: Path | None = None) -> dict[str, Path]:
    """The regular files at the top of `folder` by name. Raises ToolFailed for a link that leaves it, or an odd file.

    `linked` is a folder that links may point into: a hub cache keeps a snapshot's files there.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unusable("its folder is not there or cannot be read.", "Check the path.") from error
    home = folder.resolve()
    files: dict[str, Path] = {}
    for entry in entries:
        path = Path(entry.path)
        if entry.is_symlink():
            target = path.resolve()
            if not target.is_relative_to(home) and (linked is None or not target.is_relative_to(linked.resolve())):
                raise unusable("its folder holds a link that points out of it.",
                    "Copy the real files into one folder (cp -rL) and add that.")
        if entry.is_dir():
            continue
        if not entry.is_file() or not stat.S_ISREG(path.stat().st_mode):
            raise unusable("its folder holds something that is no regular file.", "Take it out, then add the folder.")
        files[entry.name] = path
    return files


def read_weights(files: dict[str, Path]) -> Weights:
    """Check the safetensors of a folder and count them. Raises ToolFailed: pickles only, shards missing, cut short, already quantised."""
    if "adapter_config.json" in files:
        raise unusable("the folder holds an adapter, not a whole model.", "Add the base model's folder.")
    if not any(name.endswith(".safetensors") for name in files):
        _refuse_without_safetensors(files)
    if "model.safetensors" in files:
        names = ("model.safetensors",)
    elif "model.safetensors.index.json" in files:
        names = _shards(files)
    else:
        raise unusable("it has safetensors, but neither model.safetensors nor model.safetensors.index.json.",
            "Save it with transformers' save_pretrained.")
    count: Counter[str] = Counter()
    for name in names:
        count.update(_header(files[name]))
    parameters = sum(count.values())
    dtype = count.most_common(1)[0][0] if count else ""
    if dtype not in TUNABLE:
        raise unusable("its weights are not in 16 or 32 bits: they are quantised already, or empty.",
            "Add the original; Luthier quantises it itself.")
    ignored = sorted(name for name in files if Path(name).suffix in PICKLES)
    warnings = (f"{len(ignored)} pickle file(s) lie beside the safetensors and are never loaded.",) if ignored else ()
    return Weights(names, parameters, dtype, sum(files[name].stat().st_size for name in names), warnings)


def _refuse_without_safetensors(files: dict[str, Path]) -> None:
    if any(Path(name).suffix in PICKLES for name in files):
        raise unusable("it has pickle weights only, and loading a pickle runs code.",
            "Get the safetensors version of it, or convert it where you trust it "
            "(load it with transformers there and save_pretrained(…, safe_serialization=True)).")
    if any(name.endswith(".gguf") for name in files):
        raise unusable("it is a GGUF file: quantised for serving, not for tuning.",
            "Get the original safetensors of the same model.")
    raise unusable("there are no weights (*.safetensors) in the folder.", "Check the path, or finish the download.")


def _shards(files: dict[str, Path]) -> tuple[str, ...]:
    """Names of the shards the index tells of, all present and all in the folder itself."""
    index = read_json(files["model.safetensors.index.json"], "index of the weights").get("weight_map")
    values = list(index.values()) if isinstance(index, dict) else []
    names = sorted(set(values)) if all(isinstance(value, str) for value in values) else []
    if not names or any("/" in name or "\\" in name or not name.endswith(".safetensors") for name in names):
        raise unusable("the index of its weights is empty or names files elsewhere.", "Get the model again.")
    missing = [name for name in names if name not in files]
    if missing:
        raise unusable(f"{len(missing)} of {len(names)} weight files are missing.", "Finish the download, then add it.")
    return tuple(names)


def _header(path: Path) -> Counter[str]:
    """Parameters by type from one file's header: 8 bytes of length, then JSON (the safetensors format). Raises ToolFailed."""
    broken = unusable("a weight file is cut short or is no safetensors file.", "Get it again.")
    size = path.stat().st_size
    count: Counter[str] = Counter()
    try:
        with path.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            if length > min(MAX_HEADER, size - 8):
                raise broken
            header = json.loads(stream.read(length))
        end = 0
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            begin, stop = tensor["data_offsets"]
            numbers = 1
            for side in tensor["shape"]:
                numbers *= int(side)
            if not 0 <= begin <= stop or stop - begin != numbers * WIDTH[tensor["dtype"]]:
                raise broken
            end = max(end, stop)
            count[tensor["dtype"]] += numbers
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise broken from error
    if 8 + length + end != size:
        raise broken
    return count


class Digests:
    """sha256 of files, remembered by inode, size and times so that gigabytes are read once."""

    def __init__(self, memory: Path | None = None) -> None:
        """`memory` is a JSON file that outlives the process; None remembers within it only."""
        self._path, self._lock = memory, Lock()
        self._known: dict[str, str] = {}
        if memory is not None and memory.exists():
            try:
                told = json.loads(memory.read_text("utf-8"))
                self._known = {key: value for key, value in told.items() if isinstance(value, str) and len(value) == 64}
            except (OSError, ValueError, AttributeError):
                self._known = {}

    def folder(self, files: Iterable[Path]) -> str:
        """sha256 over the lines `name size sha256`, sorted by name, of what a loader reads; 64 hex digits."""
        whole = hashlib.sha256()
        for path in sorted(files, key=lambda path: path.name):
            if path.suffix in LOADED:
                whole.update(f"{path.name} {path.stat().st_size} {self.file(path)}\n".encode())
        return whole.hexdigest()

    def file(self, path: Path) -> str:
        """sha256 of one file."""
        seen = path.stat()
        key = f"{path.resolve()}|{seen.st_ino}|{seen.st_size}|{seen.st_mtime_ns}|{seen.st_ctime_ns}"
        with self._lock:
            if key in self._known:
                return self._known[key]
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        with self._lock:
            self._known[key] = digest
            self._keep()
        return digest

    def _keep(self) -> None:
        """Write the memory beside the models; losing it costs time, nothing else."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(dict(list(self._known.items())[-1000:])), "utf-8")
            part.replace(self._path)
        except OSError:
            return
