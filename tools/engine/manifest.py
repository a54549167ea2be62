"""`manifest.json`: every file that a finished run leaves, with its size and digest, signed with the run's key."""

from pathlib import Path
from typing import Any

from tools.engine.folders import described, write_json
from tools.engine.seal import fits, signed
from tools.engine.spec import MOUNTS

KIND = "manifest"
FOLDERS = ("adapter", "served", "base-served", "scores", "checkpoints", "data")
FILES = ("spec.json", "started.json")
"""Files beside them that no longer change; `events.jsonl`, `metrics.json` and `result.json` still grow when this is written."""


def kept_files(folder: Path) -> dict[str, dict[str, Any]]:
    """`bytes` and `sha256` of what a run leaves for others, by path in the run folder."""
    found = {f"{part}/{name}": facts for part in FOLDERS for name, facts in described(folder / part).items()}
    found |= described(folder, [name for name in FILES if not (name == "spec.json" and is_elsewhere(folder / name))])
    return dict(sorted(found.items()))


def is_elsewhere(spec: Path) -> bool:
    """Whether a spec names folders of a container: it is another one wherever the run is looked at, so that no manifest can hold it."""
    return spec.is_file() and any(f'"${name}/' in spec.read_text(encoding="utf-8") for name in MOUNTS)


def write_manifest(folder: Path, run_id: str, key: bytes) -> None:
    """Write it, whole."""
    write_json(folder / "manifest.json", signed(key, KIND, {"version": 2, "run_id": run_id, "files": kept_files(folder)}))


def mistakes(folder: Path, document: dict[str, Any], key: bytes) -> list[str]:
    """What in a run folder is not as its manifest says; empty when all is well."""
    if not fits(key, KIND, document):
        return ["manifest.json was not signed with this run's key"]
    wanted, found = document.get("files", {}), kept_files(folder)
    lost = [f"{name} is missing" for name in wanted if name not in found]
    other = [f"{name} is not what was written" for name, facts in wanted.items() if name in found and found[name] != facts]
    return lost + other + [f"{name} was added" for name in found if name not in wanted]
