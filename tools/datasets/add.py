"""The tool that brings a file from elsewhere on this machine into the home, by its digest."""

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.datasets.read import container_of
from tools.datasets.refs import DataFile, digest_of, open_beneath
from tools.datasets.store import DataStore, Stored, name_from
from tools.places import Places

SYSTEM_FOLDERS = ("/proc", "/sys", "/dev")


class AddArgs(ToolArgs):
    """Arguments of add_dataset."""

    path: str = Field(description="An absolute path on this machine, or one that starts with ~/.", max_length=4000)
    name: str | None = Field(
        default=None, pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$",
        description="A short name: lower case letters, digits, - and _. Made from the file's name when left out.",
    )


class AddDataset:
    """The one tool that takes a path outside the allowed folders; a person agrees to each file."""

    name: ClassVar[str] = "add_dataset"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Copy a data file from anywhere on this machine into Luthier's home and register it, so that runs can use it. Asks the person. "
        "Use it only when the person names a file outside samples/ and the home."
    )
    Args: ClassVar[type[ToolArgs]] = AddArgs

    def __init__(self, places: Places, store: DataStore, person_home: Path | None = None) -> None:
        """`person_home` is what `~` stands for; the user's home by default."""
        self._places, self._store = places, store
        self._person_home = person_home

    def propose(self, args: AddArgs, /) -> Proposal:
        """What would be copied, with its size and sha256. Raises ToolFailed for what may not be copied."""
        name = args.name or name_from(args.path)
        with self._open(args.path) as file:
            container_of(file)
            digest = digest_of(file.fd)
            return Proposal(
                frozenset({Effect.LOCAL}), f"dataset:{name}", traits=frozenset({Trait.IMPORTS}), supersedes=name,
                card=(
                    ("File", str(file.path)), ("Size", f"{file.size} bytes"), ("SHA-256", digest),
                    ("Kept as", f"{name}@{digest[:8]}"), ("Copied to", str(self._places.uploads)),
                ),
                plan={"name": name, "bytes": file.size, "digest": digest},
            )

    def perform(self, args: AddArgs, call: Call, /) -> Result:
        """Copy and register, once for each call. Raises ToolFailed when the file has an error; nothing is kept then."""
        if stored := self._store.kept_by(call.call_id):
            return _result(stored)
        call.report("Copying and checking the rows", None)
        with self._open(args.path) as file:
            return _result(self._store.keep(args.name or name_from(args.path), file, call.person, call.call_id))

    def recall(self, call_id: str, /) -> Result | Recall:
        """What the call registered; nothing else of it can have stayed behind."""
        stored = self._store.kept_by(call_id)
        return Recall.NOT_STARTED if stored is None else _result(stored)

    def _open(self, text: str) -> DataFile:
        """The file, opened without following a link to it."""
        wanted = Path(text)
        if not text.isprintable() or ".." in wanted.parts:
            raise _refused("its path holds a control character or `..`.")
        if wanted.parts[:1] == ("~",):
            wanted = (self._person_home or Path.home()).joinpath(*wanted.parts[1:])
        if not wanted.is_absolute():
            raise _refused("its path is not absolute.")
        folder = Path(os.path.realpath(wanted.parent))
        if any(folder.is_relative_to(system) for system in SYSTEM_FOLDERS):
            raise _refused("it lies in a folder of the system.")
        home = Path(os.path.realpath(self._places.home))
        if folder.is_relative_to(home) and not folder.is_relative_to(Path(os.path.realpath(self._places.uploads))):
            raise _refused("it is one of Luthier's own files.")
        fd, size = open_beneath(folder, (wanted.name,), "This file", frozenset({os.getuid()}))
        return DataFile(folder / wanted.name, size, "this file", fd)


def _refused(because: str) -> ToolFailed:
    return ToolFailed("This file cannot be added", because, "Give the absolute path of a data file of your own.", kind="refused")


def _result(stored: Stored) -> Result:
    return Result(
        {
            "dataset": stored.id, "rows": stored.rows, "digest": stored.digest, "bytes": stored.bytes, "format": stored.format,
            "path": str(stored.path),
        },
        {"dataset": stored.id, "rows": stored.rows, "digest": stored.digest[:8], "format": stored.format},
    )
