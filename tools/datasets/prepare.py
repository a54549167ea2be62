"""Writes a dataset as the engine reads it: train, validation and test, one JSON object a line."""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from policies.tool import ToolFailed
from tools.datasets.refs import Refs, digest_of
from tools.datasets.shape import Format, Split
from tools.datasets.survey import examples, survey

SIDES: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was written."""

    ref: str
    digest: str
    """sha256 of the source file."""
    format: Format
    counts: Mapping[Split, int]
    """Rows on each side."""
    rejected: int
    """Rows of the source that were left out."""
    longest_characters: int
    """Characters of the longest row."""


def prepare(refs: Refs, ref: str, out_dir: Path, seed: int = 0) -> Prepared:
    """Write `out_dir`/{train,validation,test}.jsonl, mode 0600, each complete or absent.

    Raises ToolFailed (kind `data`) when the dataset has an error; its message names the row and what to do.
    """
    with refs.open(ref) as file:
        found = survey(file, seed)
        if error := found.findings.first_error:
            more = sum(found.findings.counts[kind] for kind, severity in found.findings.severities.items() if severity == "error") - 1
            rest = f" And {more} more errors: see validate_dataset." if more else ""
            raise ToolFailed(f"{ref} cannot be used for a run", error.message, error.remedy + rest, kind="data")
        side_of = dict(zip(found.numbers, found.division.sides, strict=True))
        parts = {side: out_dir / f"{side}.jsonl.part" for side in SIDES}
        longest = 0
        try:
            out_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            with ExitStack() as stack:
                streams = {
                    side: stack.enter_context(open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"))
                    for side, part in parts.items()
                }
                for number, example in examples(file, found.shape):
                    if side := side_of.get(number):
                        line = json.dumps(example.as_row(), ensure_ascii=False)
                        longest = max(longest, len(line))
                        streams[side].write(line + "\n")
                for stream in streams.values():
                    stream.flush()
                    os.fsync(stream.fileno())
            if digest_of(file.fd) != found.digest:
                raise ToolFailed(f"{ref} cannot be used for a run", "it changed while it was read.", "Start again.", kind="data")
            for side, part in parts.items():
                part.replace(out_dir / f"{side}.jsonl")
        except OSError as error:
            raise ToolFailed(
                "The rows could not be written", f"{error.strerror or 'the system refused'}.",
                "Free some space on the disk and start again.", kind="disk",
            ) from error
        finally:
            for part in parts.values():
                with suppress(OSError):
                    part.unlink()
    counts: dict[Split, int] = {side: found.division.count(side) for side in SIDES}
    return Prepared(ref, found.digest, found.shape.format, counts, found.rejected, longest)
