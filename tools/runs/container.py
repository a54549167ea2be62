"""What lies on the share for a run in a container, and what is brought back: the program, the model, the data, the results."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies import fault
from policies.tool import ToolFailed
from tools.azure.parcels import COMPLETE, Parcels, Say
from tools.azure.share_names import safe_relative
from tools.azure.trouble import AzureTrouble
from tools.engine.checkpoints import Checkpoints
from tools.engine.failure import EngineFailed
from tools.engine.seal import fits
from tools.engine.spec import TrainSpec
from tools.runs.runner import write_atomically

PARTS = ("adapter", "served", "base-served", "scores", "checkpoints")
"""Folders of a run that are brought back; its data went there from here."""
BESIDE = ("adapter", "scores", "served")
"""What a run that has trained goes on from beside its checkpoint."""
CARRIED = ("started.json", "metrics.json", "events.jsonl", "log.txt", *BESIDE)
"""What an attempt goes on from beside its checkpoint."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".joblib")
"""Suffixes of files that could run code when they are loaded; only a sealed checkpoint may hold such."""
MOST_BYTES, MOST_FILES = 400 << 30, 10_000
"""Of everything that one run brings back."""


@dataclass(frozen=True, slots=True)
class Package:
    """The program that runs in the container."""

    digest: str
    files: tuple[tuple[str, Path], ...]
    """Path on the share and file here, in order."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was brought back."""

    files: tuple[str, ...]
    verified: bool
    """Whether the manifest bears the run's own seal and every file is what it says."""


def engine_package(root: Path) -> Package:
    """Exactly what a container needs of the project, named by its content. ToolFailed when a file of it is missing."""
    wanted = [root / "tools" / "__init__.py", *sorted((root / "tools" / "engine").rglob("*.py")),
              *(root / "tools" / "runs" / name for name in ("__init__.py", "boot.py", "kernel.py", "locks.py", "runner.py")),
              *(root / "locks" / f"engine-{kind}.txt" for kind in ("cpu", "cuda"))]
    whole, files = hashlib.sha256(), []
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in wanted):
        try:
            # tools/engine/environment.py counts the same in the container: `program_digest`.
            whole.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        except OSError as error:
            raise ToolFailed("Pack the training program", f"{name} cannot be read.", "Install Luthier again.", kind="missing") from error
        files.append((name, path))
    return Package(whole.hexdigest()[:32], tuple(files))


def cloud_spec(spec: TrainSpec) -> TrainSpec:
    """The run's settings as the container reads them: the same, with its own folders."""
    return spec.model_copy(update={
        "model_dir": f"$LUTHIER_MODELS/{spec.model_digest}", "data_dir": "$LUTHIER_RUN/data", "key_path": "$LUTHIER_SECRETS/run-key",
        "base_served_dir": None,
    })


def upload(share: Any, root: Path, spec: TrainSpec, folder: Path, say: Say, engine: str) -> None:
    """Program, model, data, what an earlier attempt left, and the settings last; interrupted anywhere, the next call goes on.

    `engine` is the digest of the program that was approved, from whose folder the job will run. Raises AzureTrouble, `conflict` when
    the program here is another one, and whatever `say` raises.
    """
    package, remote = _approved(root, engine, spec.run_id), f"runs/{spec.run_id}"
    model = Path(spec.model_dir)
    weights = {path.name: path for path in sorted(model.iterdir()) if path.is_file() and path.suffix not in PICKLES}
    data = {f"data/{path.name}": path for path in sorted((folder / "data").iterdir()) if path.is_file()}
    left = dict(_left(share, remote, folder))
    total = sum(path.stat().st_size for path in [*dict(package.files).values(), *weights.values(), *data.values(), *left.values()])
    told = Parcels(share, say, total)
    told.whole(f"engine/{engine}", dict(package.files), "The training program",
               lambda: _approved(root, engine, spec.run_id))
    told.whole(f"models/{spec.model_digest}", weights, "The model")
    told.files(remote, data, "The data")
    told.files(remote, left, "The last checkpoint")
    share.make_folders(remote)
    fault.point("cloud.upload.spec")
    share.put_bytes(f"{remote}/spec.json", json.dumps(cloud_spec(spec).model_dump(mode="json")).encode())


def _approved(root: Path, engine: str, run_id: str) -> Package:
    """The program, when it is still the one that was approved; it may be another one from one moment to the next."""
    package = engine_package(root)
    if package.digest != engine:
        raise AzureTrouble("conflict", f"Upload the run {run_id}", "Luthier was upgraded between your yes and the upload.",
                           "Nothing was started and nothing is paid for. Ask again.")
    return package


def _left(share: Any, remote: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """What the last attempt left here, where it is not behind what lies on the share: there an attempt may have gone on since."""
    here, there = folder / "events.jsonl", share.stat(f"{remote}/events.jsonl")
    if not here.is_file() or (there is not None and there.size > here.stat().st_size):
        return
    for name in CARRIED:
        path = folder / name
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file():
                yield each.relative_to(folder).as_posix(), each
    for each in _sealed(folder / "checkpoints"):
        yield each.relative_to(folder).as_posix(), each


def _sealed(checkpoints: Path) -> Iterator[Path]:
    """The files of the newest sealed checkpoint, its seal last."""
    found = sorted(checkpoints.glob(f"checkpoint-*/{COMPLETE}"), key=lambda seal: int(seal.parent.name.rpartition("-")[2]))
    for seal in found[-1:]:
        yield from (path for path in sorted(seal.parent.rglob("*")) if path.is_file() and path != seal)
        yield seal


def fetch(share: Any, run_id: str, folder: Path, say: Say) -> Fetched:
    """Download what the run made into its folder here, each file checked against the manifest, which bears the run's seal.

    Goes on from what an earlier call brought. ToolFailed `foreign` on a manifest that is not the run's or names what may not be loaded.
    """
    remote, path = f"runs/{run_id}", folder / "manifest.json"
    share.get(f"{remote}/manifest.json", path)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        listed = {str(name): (int(facts["bytes"]), str(facts["sha256"])) for name, facts in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _foreign(run_id, "its manifest cannot be read") from error
    verified = fits((folder / "run.key").read_bytes(), "manifest", manifest) and manifest.get("run_id") == run_id
    if not verified:
        raise _foreign(run_id, "its manifest does not bear the run's seal")
    wanted = {name: facts for name, facts in listed.items() if name.partition("/")[0] in PARTS}
    _check(run_id, wanted)
    total, done = max(1, sum(size for size, _ in wanted.values())), 0
    for name, (size, digest) in wanted.items():
        target = folder / safe_relative(name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        say(f"{name.rpartition('/')[2]} comes from Azure", min(0.99, done / total))
        if not _is(target, size, digest):
            fault.point("cloud.fetch.file")
            share.get(f"{remote}/{name}", target, size=size, sha256=digest)
        done += size
    _here(folder)
    return Fetched(tuple(wanted), verified)


def fetch_checkpoints(share: Any, run_id: str, folder: Path, say: Say) -> Fetched:
    """Download the newest sealed checkpoint of a run that has not ended well. AzureTrouble `foreign` where the seal is not the run's."""
    trained = _trained(share, run_id, folder, say)
    remote = f"runs/{run_id}/checkpoints"
    names = [each.name for each in share.entries(remote) if each.is_dir and each.name.startswith("checkpoint-")]
    numbers = sorted((int(name.rpartition("-")[2]) for name in names if name.rpartition("-")[2].isdigit()), reverse=True)
    for number in numbers:
        name = f"checkpoint-{number}"
        if share.stat(f"{remote}/{name}/{COMPLETE}") is None:
            continue
        files = dict(share.walk(f"{remote}/{name}"))
        total, done = sum(entry.size for entry in files.values()), 0
        if total > MOST_BYTES or len(files) > MOST_FILES:
            raise _foreign(run_id, f"its checkpoint has {len(files)} files of {total} bytes")
        for relative in sorted(files, key=lambda one: (one == COMPLETE, one)):
            target = folder / "checkpoints" / name / safe_relative(relative)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            say(f"Checkpoint {number} comes from Azure", min(0.99, done / max(1, total)))
            share.get(f"{remote}/{name}/{relative}", target, size=files[relative].size)
            done += files[relative].size
        brought = (*(f"checkpoints/{name}/{each}" for each in sorted(files)), *trained)
        return Fetched(brought, _sealed_by_us(run_id, folder, number))
    return Fetched(trained, True)


def _trained(share: Any, run_id: str, folder: Path, say: Say) -> tuple[str, ...]:
    """Bring what a run that was stopped after its training goes on from; the engine compares the adapter with the run's notes."""
    try:
        if not json.loads((folder / "metrics.json").read_bytes()).get("trained"):
            return ()
    except (OSError, ValueError, AttributeError):
        return ()
    found = {f"{part}/{name}": entry for part in BESIDE for name, entry in share.walk(f"runs/{run_id}/{part}")}
    _check(run_id, {name: (entry.size, "") for name, entry in found.items()})
    for name, entry in found.items():
        target = folder / safe_relative(name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        say(f"{entry.name} comes from Azure", None)
        share.get(f"runs/{run_id}/{name}", target, size=entry.size)
    return tuple(sorted(found))


def _sealed_by_us(run_id: str, folder: Path, number: int) -> bool:
    try:
        return Checkpoints(folder / "checkpoints", (folder / "run.key").read_bytes()).is_complete(number)
    except EngineFailed as failed:
        raise _foreign(run_id, str(failed).rstrip(".")) from failed


def _check(run_id: str, wanted: Mapping[str, tuple[int, str]]) -> None:
    if len(wanted) > MOST_FILES or sum(size for size, _ in wanted.values()) > MOST_BYTES or any(size < 0 for size, _ in wanted.values()):
        raise _foreign(run_id, f"its manifest lists {len(wanted)} files of {sum(size for size, _ in wanted.values())} bytes")
    for name in wanted:
        safe_relative(name)
        if not name.startswith("checkpoints/") and name.lower().endswith(PICKLES):
            raise _foreign(run_id, f"it brought {name[:80]}, and models and adapters are loaded from safetensors only")


def _is(path: Path, size: int, digest: str) -> bool:
    try:
        if path.stat().st_size != size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _here(folder: Path) -> None:
    """Let the result name the folder that the untuned model lies in now, in place of the container's."""
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    here = str(folder / "base-served")
    if isinstance(result, dict) and result.get("base_served_dir") and result["base_served_dir"] != here and os.path.isdir(here):
        write_atomically(path, {**result, "base_served_dir": here})


def _foreign(run_id: str, because: str) -> AzureTrouble:
    return AzureTrouble("foreign", f"Bring back the results of {run_id}", f"{because}.",
                        "Nothing of it is loaded. Look at the share, and start a new run with start_finetune.")
