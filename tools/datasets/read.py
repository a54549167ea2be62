"""Streams the rows of a dataset file: JSON Lines, a JSON array, CSV, TSV or plain text, with a clear problem for each bad row."""

import codecs
import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from policies.tool import ToolFailed
from tools.datasets.problem import Problem
from tools.datasets.refs import DataFile

MAX_FILE_BYTES = 1 << 30
"""1 GiB. A larger file is refused by its size, unread."""
MAX_LINE_BYTES = 1 << 20
"""1 MiB for one line or one element of a JSON array."""
PIECE_BYTES = 1 << 16
MAX_ROWS = 100_000
"""Rows of one dataset; the split compares all of them with each other."""

Container = Literal["jsonl", "json", "csv", "tsv", "txt"]
SUFFIXES: dict[str, Container] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".txt": "txt",
}
KNOWN = "Known are .jsonl, .json, .csv, .tsv and .txt."
CONVERT = {
    ".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Feather", ".xlsx": "Excel", ".xls": "Excel", ".ods": "OpenDocument",
    ".gz": "a gzip archive", ".zip": "a zip archive", ".zst": "a zstd archive", ".bz2": "a bzip2 archive", ".xz": "an xz archive",
    ".db": "a database", ".sqlite": "a database", ".pkl": "a pickle", ".pdf": "PDF", ".docx": "Word",
}
MAGIC = {
    b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\x1f\x8b": "a gzip archive", b"PK\x03\x04": "a zip archive or an Office file",
    b"SQLite format 3": "a database", b"%PDF": "PDF", b"\x28\xb5\x2f\xfd": "a zstd archive", b"BZh": "a bzip2 archive",
}
SAVE_UTF8 = "Save the file as UTF-8 and try again."


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file: an object, or a text in a .txt file."""

    number: int
    """The line, counted from 1; in a JSON array the element."""
    value: JsonValue


def container_of(file: DataFile) -> Container:
    """How the file is packed, by its suffix and its first bytes. Raises ToolFailed for what cannot be read at all."""
    suffix, head = file.path.suffix.lower(), os.pread(file.fd, 8192, 0)
    convert = "Write it as JSON Lines first, e.g. with pandas: frame.to_json('rows.jsonl', orient='records', lines=True)."
    packed = CONVERT.get(suffix) or next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")
    if packed:
        raise _failed(f"it is {packed}, which is not read here.", f"{convert} {KNOWN}", "format")
    if suffix not in SUFFIXES:
        raise _failed("its name does not end in a known format.", KNOWN, "format")
    if file.size > MAX_FILE_BYTES:
        raise _failed(
            f"it has {file.size / (1 << 30):.1f} GiB, more than the limit of {MAX_FILE_BYTES >> 30} GiB; it was not read.",
            "Take a sample: a few thousand good rows teach a small model more than millions.", "too_large",
        )
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        if file.size > len(head):
            raise _failed("it starts with nothing but blanks.", "Remove them, or export the data again.", "empty")
        raise _failed("it is empty.", "Export the data again; 50 rows are a good start.", "empty")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _failed("it is written in UTF-16.", SAVE_UTF8, "encoding")
    if b"\0" in head:
        raise _failed("it is a binary file.", f"Give a text file. {KNOWN}", "binary")
    if suffix == ".json" and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "jsonl"
    return SUFFIXES[suffix]


def read_rows(file: DataFile) -> Iterator[Row | Problem]:
    """Every row, or the problem in its place. Reads piece by piece; may be called again for a second pass.

    Raises ToolFailed for a file that cannot be read at all (see `container_of`) and for more than MAX_ROWS rows.
    """
    match container_of(file):
        case "jsonl":
            rows = _json_lines(file.fd)
        case "json":
            rows = _json_array(file.fd)
        case "csv":
            rows = _table(file.fd, ",")
        case "tsv":
            rows = _table(file.fd, "\t")
        case "txt":
            rows = (Row(number, text) if isinstance(text, str) else text for number, text in _lines(file.fd) if text)
    for count, row in enumerate(rows, 1):
        if count > MAX_ROWS:
            raise _failed(f"it has more than {MAX_ROWS} rows, the limit.", "Take a sample of the rows.", "too_large")
        yield row


def _failed(because: str, try_next: str, kind: str) -> ToolFailed:
    return ToolFailed("The dataset cannot be read", because, try_next, kind=kind)


def _lines(fd: int) -> Iterator[tuple[int, str | Problem]]:
    """Number and text of each line, without its end and without a byte order mark; a problem where it is no text."""
    with os.fdopen(os.dup(fd), "rb") as stream:
        stream.seek(0)
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE_BYTES)
                yield number, Problem(
                    "error", "line_too_long", f"Line {number} is longer than {MAX_LINE_BYTES >> 20} MiB.", "Split or remove it.", number,
                )
                continue
            try:
                yield number, line.decode("utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                yield number, Problem(
                    "error", "encoding", f"Line {number} is not UTF-8 (byte {error.start + 1} of the line).", SAVE_UTF8, number,
                )


def _json_lines(fd: int) -> Iterator[Row | Problem]:
    for number, text in _lines(fd):
        if isinstance(text, Problem):
            yield text
        elif text.strip():
            yield _parsed(number, text, f"Line {number}")


def _parsed(number: int, text: str, where: str) -> Row | Problem:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return Problem(
            "error", "json", f"{where} is not complete JSON (character {error.pos + 1}: {error.msg}).",
            "Each line must be one whole JSON object; repair or remove this line.", number,
        )
    except RecursionError:
        return Problem("error", "json", f"{where} is nested too deeply.", "Flatten it.", number)
    except ValueError:
        return Problem("error", "json", f"{where} holds a number with too many digits.", "Write it as text.", number)
    if not isinstance(value, dict):
        return Problem("error", "no_object", f"{where} is JSON, but no object with named fields.", "Write it as {\"field\": …}.", number)
    return Row(number, value)


def _json_array(fd: int) -> Iterator[Row | Problem]:
    """The elements of one top-level array, decoded one at a time from a buffer of at most two limits."""
    decoder, buffer, number, started, ended = json.JSONDecoder(), "", 0, False, False
    pieces = _pieces(fd)
    while True:
        buffer = buffer.lstrip(" \t\r\n,") if started else buffer.lstrip(" \t\r\n")
        if not started and buffer:
            if buffer[0] != "[":
                yield Problem("error", "json", "The file is no JSON array.", "Write [ {…}, {…} ], or one object a line as .jsonl.")
                return
            buffer, started = buffer[1:], True
            continue
        if started and buffer.startswith("]"):
            return
        try:
            if not buffer:
                raise json.JSONDecodeError("no element", buffer, 0)
            _, end = decoder.raw_decode(buffer)
            if end == len(buffer) and not ended:  # the piece may end inside a number
                raise json.JSONDecodeError("no end", buffer, end)
        except (json.JSONDecodeError, RecursionError, ValueError):
            piece = None if len(buffer) > MAX_LINE_BYTES else next(pieces, None)
            if isinstance(piece, str):
                buffer += piece
                continue
            if isinstance(piece, Problem):
                yield piece
            elif len(buffer) > MAX_LINE_BYTES:
                yield Problem(
                    "error", "json",
                    f"Row {number + 1} is not complete JSON, or longer than {MAX_LINE_BYTES >> 20} MiB; the rows after it were not read.",
                    "Repair it, or write one object a line as .jsonl.", number + 1,
                )
            elif not ended:
                ended = True
                continue
            else:
                what = "is not complete JSON" if buffer else "is missing: the array does not end"
                yield Problem("error", "json", f"Row {number + 1} {what}.", "Repair it: the file must end with a closing ].", number + 1)
            return
        number += 1
        yield _parsed(number, buffer[:end], f"Row {number}")
        buffer = buffer[end:]


def _pieces(fd: int) -> Iterator[str | Problem]:
    decoder, at = codecs.getincrementaldecoder("utf-8-sig")(), 0
    while True:
        chunk = os.pread(fd, PIECE_BYTES, at)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError:
            yield Problem("error", "encoding", f"The file is not UTF-8 (after byte {at}).", SAVE_UTF8)
            return
        if text:
            yield text
        if not chunk:
            return
        at += len(chunk)


def _table(fd: int, delimiter: str) -> Iterator[Row | Problem]:
    """Rows of a table as objects, by the names in its first line."""
    bad: list[Problem] = []

    def good() -> Iterator[str]:
        for _, text in _lines(fd):
            if isinstance(text, Problem):
                bad.append(text)
            else:
                yield text + "\n"

    reader = csv.reader(good(), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            yield from bad
            return
        except csv.Error as error:
            line = reader.line_num + len(bad)
            yield from bad
            yield Problem(
                "error", "table", f"Line {line} breaks the table ({error}); the lines after it were not read.",
                "Look for a quotation mark that is not closed.", line,
            )
            return
        line = reader.line_num + len(bad)
        yield from bad
        bad.clear()
        if not header:
            header = [cell.strip() for cell in cells]
            if len(set(header)) != len(header) or not all(header):
                yield Problem("error", "table", "The first line must name every column once.", "Add names such as prompt,completion.", line)
                return
        elif cells and len(cells) != len(header):
            yield Problem(
                "error", "columns", f"Line {line} has {len(cells)} cells, the first line names {len(header)}.",
                "Put cells that hold the separator into quotation marks.", line,
            )
        elif cells:
            yield Row(line, dict(zip(header, cells, strict=True)))
