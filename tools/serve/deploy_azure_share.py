"""What an app reads from the share: the engine package, the models' files under their content's name, and its spec."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies import fault
from tools.azure.client import Azure
from tools.azure.parcels import Parcels, Say
from tools.azure.place import CloudPlace
from tools.engine.serve_spec import SPEC, ServeSpec
from tools.runs.container import engine_package


@dataclass(frozen=True, slots=True)
class ShareFolders:
    """Where an app's mounts lie on the share."""

    spec: str
    engine: str
    tuned: str
    base: str = ""


class DeployShare:
    """Uploads what is missing; interrupted anywhere, the next call goes on."""

    def __init__(self, azure: Azure, root: Path) -> None:
        self._azure, self._root = azure, root

    def open(self, place: CloudPlace) -> Any:
        """The share of a place. Raises AzureTrouble."""
        from tools.azure.files import open_share  # it needs the optional libraries

        return open_share(self._azure, place)

    def upload(self, share: Any, spec: ServeSpec, tuned: Path, base: Path | None, say: Say, run_folder: Path | None) -> ShareFolders:
        """Everything that one revision needs; its spec comes last. Raises AzureTrouble, and whatever `say` raises."""
        engine = self._engine(share, say)
        folders = ShareFolders(
            spec=f"deployments/{spec.deployment_id}/{spec.revision}", engine=engine, tuned=self._model(share, tuned, say, run_folder),
            base="" if base is None else self._model(share, base, say, None))
        share.make_folders(folders.spec)
        fault.point("cloud.deploy.spec")
        share.put_bytes(f"{folders.spec}/{SPEC}", json.dumps(spec.model_dump(mode="json")).encode())
        return folders

    def forget(self, share: Any, deployment_id: str) -> None:
        """Remove the specs of a deployment; the models' files stay for others that serve the same."""
        share.delete_tree(f"deployments/{deployment_id}")

    def _engine(self, share: Any, say: Say) -> str:
        package = engine_package(self._root)
        folder = f"engine/{package.digest}"
        _send(share, folder, dict(package.files), say, "The serving program")
        return folder

    def _model(self, share: Any, folder: Path, say: Say, run_folder: Path | None) -> str:
        if run_folder is not None and (there := _on_the_share(share, folder, run_folder)):
            return there
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        remote = f"served/{content_name(files)}"
        _send(share, remote, files, say, "The model's files")
        return remote


def _send(share: Any, remote: str, files: dict[str, Path], say: Say, what: str) -> None:
    Parcels(share, say, sum(path.stat().st_size for path in files.values())).whole(remote, files, what)


def content_name(files: dict[str, Path]) -> str:
    """A name that follows from the names and the contents of files; reads all of them."""
    whole = hashlib.sha256()
    for name, path in sorted(files.items()):
        with path.open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:32]


def _on_the_share(share: Any, folder: Path, run_folder: Path) -> str:
    """The folder of a run on the share that has the very files: those that it wrote there and that were fetched under its manifest."""
    try:
        manifest = (run_folder / "manifest.json").read_bytes()
        remote = f"runs/{run_folder.name}/{folder.relative_to(run_folder).as_posix()}"
        listed = {str(name): int(facts["bytes"]) for name, facts in json.loads(manifest)["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    there = share.stat(f"runs/{run_folder.name}/manifest.json")
    if there is None or there.size != len(manifest) or share.read(f"runs/{run_folder.name}/manifest.json", 0) != manifest[:1 << 20]:
        return ""
    for path in folder.rglob("*"):
        name = path.relative_to(run_folder).as_posix()
        if path.is_file():
            there = share.stat(f"runs/{run_folder.name}/{name}")
            if there is None or there.size != path.stat().st_size or listed.get(name) != there.size:
                return ""
    return remote
