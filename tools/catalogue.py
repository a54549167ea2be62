"""Finds a model by name and its folder on this machine: the bundled one, registered folders, what the hub cache already holds."""

import difflib
import json
import re
from pathlib import Path

from sqlalchemy import Connection, select

from policies.book import Book, now_text
from policies.tables import models as table
from policies.tool import ToolFailed
from tools.entries import ModelEntry, entry_of, located, read_catalogue
from tools.models import FOREIGN_CODE, ModelFolder, check_config, read_json, shape_of, unusable
from tools.places import Places
from tools.weights import WIDTH, Digests, plain_files, read_weights

HUB_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
REVISION = re.compile(r"^[0-9a-f]{40}$")


class Catalogue:
    """Every model that can be named here."""

    def __init__(self, places: Places, book: Book) -> None:
        """`book` holds the registered folders."""
        self._places, self._book = places, book
        self._known = read_catalogue()
        self._digests = Digests(places.models / "digests.json")

    def entries(self) -> tuple[ModelEntry, ...]:
        """All models: the catalogue's in its order, then the usable registered folders by name."""
        known = tuple(self._located(entry) for entry in self._known)
        broken = {row_id for row_id, _ in self.faulty()}
        return known + tuple(self._registered_entry(row_id) for row_id in sorted(self._registered()) if row_id not in broken)

    def faulty(self) -> tuple[tuple[str, str], ...]:
        """Registered folders that have gone, changed or become unsafe, each with the reason."""
        found: list[tuple[str, str]] = []
        for row_id in sorted(self._registered()):
            try:
                self._registered_folder(row_id)
            except ToolFailed as failed:
                found.append((row_id, f"{failed.because} {failed.try_next}"))
        return tuple(found)

    def find(self, model: str) -> ModelEntry:
        """The entry of a catalogue id, its short name or alias, a hub id that is in the hub cache, or a registered folder.

        Raises ToolFailed with close matches.
        """
        wanted, _, revision = model.strip().partition("@")
        entry = self._known_entry(wanted)
        if entry is not None and (not revision or entry.source == "hub"):
            return self._located(entry, revision)
        registered = self._registered_id(model.strip())
        if registered is not None:
            return self._registered_entry(registered)
        if HUB_ID.match(wanted):
            snapshot = self._snapshot(wanted, revision)
            if snapshot is not None:
                return entry_of(self._check(wanted, snapshot, linked=snapshot.parent.parent, revision=snapshot.name), "hub")
        raise self._unknown(wanted)

    def folder(self, model: str) -> ModelFolder:
        """The checked folder with the weights of a model. Raises ToolFailed when it is unknown, not here, changed or unsafe."""
        wanted, _, revision = model.strip().partition("@")
        entry = self._known_entry(wanted)
        if entry is not None and entry.source == "bundled" and not revision:
            if not self._places.bundled_model.is_dir():
                raise unusable("the bundled model has not been set up yet.", "Run `make run` once; it converts it.")
            return self._check(entry.id, self._places.bundled_model, terms=entry.license)
        if entry is None:
            registered = self._registered_id(model.strip())
            if registered is not None:
                return self._registered_folder(registered)
        hub_id = entry.id if entry is not None else wanted
        snapshot = self._snapshot(hub_id, revision) if HUB_ID.match(hub_id) else None
        if snapshot is not None:
            terms = entry.license if entry else ""
            return self._check(hub_id, snapshot, linked=snapshot.parent.parent, revision=snapshot.name, terms=terms)
        if entry is None:
            raise self._unknown(wanted)
        gate = " Its licence must be accepted on the hub first." if entry.gated else ""
        raise ToolFailed(
            f"Could not use {entry.id}", "its weights are not on this machine, and this version downloads nothing by itself.",
            f"Download it where you have a network (`hf download {entry.id}`), then `python -m ui model add DIR` with its folder; "
            f"or use the bundled model.{gate}", kind="model_missing")

    def add_folder(self, path: Path, owner: str, name: str = "") -> ModelFolder:
        """Check a folder and write it into the book under `name@digest8`; the files stay where they are.

        Adding the same folder again changes nothing. Raises ToolFailed with what is wrong and what to do.
        """
        path = Path(path).absolute()
        short = _slug(name or self._hub_name(path) or path.name)
        if not short or self._known_entry(short) is not None:
            raise ToolFailed(
                "Could not add the model", "its name is empty or belongs to a catalogue model.", "Give another with --name.", kind="model")
        linked = path.parent.parent if self._hub_name(path) else None
        found = self._check(short, path, linked=linked, revision=path.name if linked else "")
        row_id = f"{short}@{found.digest[:8]}"
        detail = {
            "architecture": found.architecture, "parameters": found.shape.parameters, "bytes": found.bytes, "revision": found.revision}
        values = {"path": str(path), "digest": found.digest, "owner": owner, "created_at": now_text(), "detail_json": json.dumps(detail)}

        def write(conn: Connection) -> None:
            if conn.execute(table.update().where(table.c.id == row_id).values(path=str(path))).rowcount == 0:
                conn.execute(table.insert().values(id=row_id, **values))

        self._book.write(write)
        return self._registered_folder(row_id)

    def _known_entry(self, wanted: str) -> ModelEntry | None:
        low = wanted.lower()
        for test in (lambda entry: entry.id.lower() == low, lambda entry: low == entry.short or low in entry.aliases):
            for entry in self._known:
                if test(entry):
                    return entry
        return None

    def _located(self, entry: ModelEntry, revision: str = "") -> ModelEntry:
        if entry.source == "bundled":
            offline = (self._places.bundled_model / "config.json").is_file()
            return located(entry, offline=offline, served=(self._places.bundled_served / "genai_config.json").is_file())
        return located(entry, offline=self._snapshot(entry.id, revision) is not None, served=False)

    def _registered(self) -> dict[str, tuple[str, str]]:
        """Id → path and digest of the registered folders."""
        wanted = select(table.c.id, table.c.path, table.c.digest).order_by(table.c.created_at)
        rows = self._book.read(lambda conn: conn.execute(wanted).all())
        return {row.id: (row.path, row.digest) for row in rows}

    def _registered_id(self, wanted: str) -> str | None:
        """The full id, or the name alone for the latest folder of that name."""
        ids = self._registered()
        if wanted in ids:
            return wanted
        same = [row_id for row_id in ids if row_id.partition("@")[0] == wanted.lower()]
        return same[-1] if same else None

    def _registered_folder(self, row_id: str) -> ModelFolder:
        path, digest = self._registered()[row_id]
        folder = Path(path)
        linked = folder.parent.parent if self._hub_name(folder) else None
        found = self._check(row_id, folder, linked=linked, revision=folder.name if linked else "")
        if found.digest != digest:
            raise ToolFailed(
                f"Could not use {row_id}", "its files have changed since it was added.",
                "Add the folder again: `python -m ui model add DIR`.", kind="model")
        return found

    def _registered_entry(self, row_id: str) -> ModelEntry:
        return entry_of(self._registered_folder(row_id), "folder")

    def _check(self, model_id: str, path: Path, *, linked: Path | None = None, revision: str = "", terms: str = "") -> ModelFolder:
        """Everything that must hold before a loader may see the folder. Raises ToolFailed."""
        files = plain_files(path, linked)
        if "config.json" not in files:
            raise unusable("its folder has no config.json.", "Check the path: it is the folder with the weights.")
        config = read_json(files["config.json"], "config.json")
        architecture = check_config(config)
        weights = read_weights(files)
        if "tokenizer.json" not in files:
            raise unusable("its folder has no tokenizer.json.",
                             "Save the fast tokenizer into it (transformers: AutoTokenizer.from_pretrained(…).save_pretrained(DIR)).")
        template = "chat_template.jinja" in files
        for name in ("tokenizer_config.json", "generation_config.json"):
            if name in files:
                told = read_json(files[name], name)
                if FOREIGN_CODE & set(told):
                    raise unusable(f"its {name} names code that came with the model.",
                                     "Copy the folder and take the key out, or choose another model.")
                template = template or (name == "tokenizer_config.json" and bool(told.get("chat_template")))
        return ModelFolder(
            id=model_id, path=path, digest=self._digests.folder(files.values()),
            shape=shape_of(config, weights.parameters, WIDTH[weights.dtype]), architecture=architecture, dtype=weights.dtype,
            bytes=weights.bytes, chat_template=template, license=terms, revision=revision, warnings=weights.warnings)

    def _snapshot(self, hub_id: str, revision: str = "") -> Path | None:
        """The folder of a downloaded hub model: the given revision, else the one `main` stands at, else the only one."""
        if self._places.hub_cache is None:
            return None
        repo = self._places.hub_cache / f"models--{hub_id.replace('/', '--')}"
        if revision:
            chosen = [repo / "snapshots" / revision] if REVISION.match(revision) else []
        else:
            try:
                main = (repo / "refs/main").read_text("utf-8").strip()
                chosen = [repo / "snapshots" / main] if REVISION.match(main) else []
            except OSError:
                chosen = sorted(path for path in repo.glob("snapshots/*") if REVISION.match(path.name))
                chosen = chosen if len(chosen) == 1 else []
        return next((path for path in chosen if (path / "config.json").is_file()), None)

    def _hub_name(self, path: Path) -> str:
        """`name` of a path `<hub cache>/models--org--name/snapshots/<40 hex>`, else empty."""
        cache, repo = self._places.hub_cache, path.parent.parent
        if cache is None or not REVISION.match(path.name) or path.parent.name != "snapshots" or repo.parent.absolute() != cache.absolute():
            return ""
        return repo.name.rpartition("--")[2] if repo.name.startswith("models--") else ""

    def _unknown(self, wanted: str) -> ToolFailed:
        names = [name for entry in self._known for name in (entry.id, entry.short, *entry.aliases)]
        names += [name for row_id in self._registered() for name in (row_id, row_id.partition("@")[0])]
        close = difflib.get_close_matches(wanted.lower(), sorted({name.lower() for name in names}), n=3, cutoff=0.5)
        originals = {name.lower(): name for name in names}
        hint = "Close: " + ", ".join(originals[name] for name in close) + ". " if close else ""
        return ToolFailed(
            "No such model", "neither the catalogue nor this machine has one of that name.",
            f"{hint}See list_models, or add a folder with `python -m ui model add DIR`.", kind="model_unknown")


def _slug(name: str) -> str:
    """A name for the book: lower case, letters, digits, dot, dash and underscore, at most 64."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64]
