"""`export_model`: a run's served files or its adapter, with sizes, digests and how faithful they are."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.engine.spec import ExportSpec
from tools.runs.local import LocalRuns
from tools.runs.look import PRECISIONS, RUN_ID, as_number, named_run
from tools.runs.state import ALIVE
from tools.runs.store import RunRow, RunStore
from tools.runs.watch import read_json
from tools.serve.files import PRECISION, ServedFiles


class ExportArgs(ToolArgs):
    """Arguments of export_model."""

    run_id: str = RUN_ID
    format: Literal["onnx", "safetensors", "adapter", "gguf"] = Field(description="onnx (served files, int8) or adapter.")


class ExportModel:
    """The tool."""

    name: ClassVar[str] = "export_model"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Give the files of a run: format onnx (merged and quantised, ready to answer) or adapter (PEFT safetensors), with their digests "
        "and how the served file scores against the checkpoint."
    )
    Args: ClassVar[type[ToolArgs]] = ExportArgs

    def __init__(self, store: RunStore, local: LocalRuns, files: ServedFiles) -> None:
        self._store, self._local, self._files = store, local, files

    def propose(self, args: ExportArgs, /) -> Proposal:
        """Files below the run's own folder."""
        if args.format in {"safetensors", "gguf"}:
            raise ToolFailed(f"Export as {args.format}", "This format is not in this version.", "Choose onnx or adapter.",
                             kind="not_in_this_version")
        row = named_run(self._store, args.run_id)
        self._adapter(row)
        return Proposal(effects=frozenset({Effect.LOCAL}), target=f"run:{row.id}", where=row.where, owner=row.owner,
                        supersedes=f"{row.id}:{args.format}")

    def _adapter(self, row: RunRow) -> Path:
        """The run's adapter, or for full fine-tuning its served folder; ToolFailed when it has none."""
        result = read_json(self._local.folder(row.id) / "result.json") or {}
        name = result.get("adapter_dir")
        adapter = self._local.folder(row.id) / (name if isinstance(name, str) else "adapter")
        if row.state in ALIVE:
            raise ToolFailed(f"Export the run {row.id}", f"It is still {row.state.value}.", "Wait until it is finished.", kind="not_ready")
        if not adapter.resolve().is_relative_to(self._local.folder(row.id).resolve()) or not adapter.is_dir():
            raise ToolFailed(f"Export the run {row.id}", f"It is {row.state.value} and has no adapter.",
                             "Resume it with resume_run, or start a new run.", kind="not_ready")
        return adapter

    def perform(self, args: ExportArgs, call: Call, /) -> Result:
        """The files; served ones are built now when the run has none. The same call gives the same files."""
        row = named_run(self._store, args.run_id, call.person)
        adapter, folder = self._adapter(row), self._local.folder(row.id)
        result = read_json(folder / "result.json") or {}
        if args.format == "adapter":
            return _given(row, args.format, adapter, {"checkpoint": _of(result, "tuned")})
        try:
            served = self._files.of_run(row).folder
        except ToolFailed as missing:
            if missing.kind != "not_served":
                raise
            spec, served = self._local.spec(row.id), folder / "exports" / f"onnx-{PRECISION}"
            call.report("Merging the adapter and building the int8 files", None)
            self._files.build(
                ExportSpec(out=str(served), model_id=spec.model_id, model_dir=spec.model_dir, adapter_dir=str(adapter), precision=PRECISION,
                           threads=spec.threads),
                folder / "exports" / "work", spec.threads, lambda text: call.report(text, None),
            )
        return _given(row, args.format, served, _parity(result))

    def recall(self, call_id: str, /) -> Result | Recall:
        """Files that are there are found again; building is safe to repeat."""
        return Recall.NOT_STARTED


def _of(result: Mapping[str, Any], which: str) -> dict[str, JsonValue] | None:
    score = result.get(which)
    if not isinstance(score, Mapping):
        return None
    numbers: dict[str, JsonValue] = {k: as_number(score.get(k)) for k in ("exact_match", "loss", "rows")}
    return numbers | {"precision": word if (word := score.get("precision")) in PRECISIONS else None}


def _parity(result: Mapping[str, Any]) -> dict[str, JsonValue]:
    """The served file against the checkpoint it was made from, on the same held-out rows."""
    tuned, exported = _of(result, "tuned"), _of(result, "exported")
    change: float | None = None
    after, before = (exported or {}).get("exact_match"), (tuned or {}).get("exact_match")
    if isinstance(after, int | float) and isinstance(before, int | float):
        change = round(after - before, 4)
    return {"checkpoint": tuned, "served": exported, "exact_match_change": change,
            "note": "" if exported else "Not scored yet: evaluate_model scores the served file."}


def _given(row: RunRow, form: str, folder: Path, parity: dict[str, JsonValue]) -> Result:
    files: list[JsonValue] = []
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != "result.json":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total += path.stat().st_size
            files.append({"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": digest})
    facts: dict[str, JsonValue] = {"run_id": row.id, "format": form, "bytes": total, "parity": parity}
    return Result({**facts, "path": str(folder), "files": files}, {**facts, "files": len(files)})
