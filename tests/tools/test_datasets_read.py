"""Reading: each way a file can be broken gives a clear problem with its row; nothing is read whole."""

import json
import tracemalloc
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_datasets import open_file
from tools.datasets.problem import Problem
from tools.datasets.read import MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_ROWS, Row, read_rows


def read(path: Path, content: bytes) -> list[Row | Problem]:
    path.write_bytes(content)
    with open_file(path) as file:
        return list(read_rows(file))


GOOD = b'{"text": "a"}\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("r.jsonl", b'{"text": "a"}\n{"text": "b"}\n', id="lines"),
        pytest.param("r.ndjson", b'{"text": "a"}\n{"text": "b"}', id="no newline at the end"),
        pytest.param("r.jsonl", b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}\r\n', id="byte order mark and CRLF"),
        pytest.param("r.json", b'[{"text": "a"}, {"text": "b"}]', id="array"),
        pytest.param("r.json", b'\xef\xbb\xbf[\r\n {"text": "a"},\r\n {"text":\r\n "b"}\r\n]\r\n', id="array over lines"),
        pytest.param("r.json", b'{"text": "a"}\n{"text": "b"}\n', id="lines named .json"),
        pytest.param("r.csv", b"text\na\nb\n", id="csv"),
        pytest.param("r.csv", b'\xef\xbb\xbftext\r\n"a"\r\nb\r\n', id="csv with byte order mark and CRLF"),
        pytest.param("r.tsv", b"text\na\nb\n", id="tsv"),
    ],
)
def test_each_container_gives_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    assert [row.value for row in read(tmp_path / name, content) if isinstance(row, Row)] == [{"text": "a"}, {"text": "b"}]


def test_plain_text_gives_a_row_for_each_line_that_is_not_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "r.txt", b"one\n\ntwo\n") == [Row(1, "one"), Row(3, "two")]


def test_rows_are_numbered_by_their_line_so_that_an_editor_finds_them(tmp_path: Path) -> None:
    assert [row.number for row in read(tmp_path / "r.jsonl", GOOD + b"\n\n" + GOOD) if isinstance(row, Row)] == [1, 4]
    assert [row.number for row in read(tmp_path / "r.csv", b'text\n"a\nb"\nc\n') if isinstance(row, Row)] == [3, 4]


@pytest.mark.parametrize(
    ("name", "content", "kind", "remedy"),
    [
        pytest.param("r.jsonl", b"", "empty", "Export", id="empty"),
        pytest.param("r.jsonl", b"\xef\xbb\xbf \r\n\n", "empty", "Export", id="blank"),
        pytest.param("r.jsonl", b'{"text": "\0"}', "binary", "text file", id="binary"),
        pytest.param("r.jsonl", b"PAR1\x15\x04", "format", "JSON Lines first", id="Parquet in disguise"),
        pytest.param("r.parquet", b"PAR1\x15\x04", "format", "JSON Lines first", id="Parquet"),
        pytest.param("r.csv", b"PK\x03\x04rest", "format", "JSON Lines first", id="Excel in disguise"),
        pytest.param("r.jsonl.gz", b"\x1f\x8brest", "format", "JSON Lines first", id="compressed"),
        pytest.param("r.exe", b"MZ", "format", "Known are", id="unknown suffix"),
        pytest.param("r", GOOD, "format", "Known are", id="no suffix"),
        pytest.param("r.csv", "text\na\n".encode("utf-16"), "encoding", "UTF-8", id="UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_says_why_and_what_to_do(
    tmp_path: Path, name: str, content: bytes, kind: str, remedy: str
) -> None:
    with pytest.raises(ToolFailed) as failed:
        read(tmp_path / name, content)
    assert failed.value.kind == kind
    assert remedy in failed.value.try_next


@pytest.mark.parametrize(
    ("name", "content", "kind", "row"),
    [
        pytest.param("r.jsonl", GOOD + b'{"text": "b\n' + GOOD, "json", 2, id="half a line"),
        pytest.param("r.jsonl", GOOD + b'{"text": "b"', "json", 2, id="half at the end"),
        pytest.param("r.jsonl", GOOD * 2 + b"[1, 2]\n", "no_object", 3, id="a list"),
        pytest.param("r.jsonl", GOOD + b'"words"\n', "no_object", 2, id="a text"),
        pytest.param("r.jsonl", GOOD + b"[" * 100_000 + b"\n", "json", 2, id="nested"),
        pytest.param("r.jsonl", GOOD + b"1" * 5000 + b"\n", "json", 2, id="a huge number"),
        pytest.param("r.jsonl", GOOD + "{\"text\": \"caf\u00e9\"}\n".encode("latin-1") + GOOD, "encoding", 2, id="Latin-1"),
        pytest.param("r.json", b'[{"text": "a"}, {"text": "b"', "json", 2, id="half an array"),
        pytest.param("r.json", b'[{"text": "a"},', "json", 2, id="array without an end"),
        pytest.param("r.json", b'["a"]', "no_object", 1, id="array of texts"),
        pytest.param("r.csv", b"text,label\na,b\nc\n", "columns", 3, id="a cell is missing"),
        pytest.param("r.csv", b"text,label\na,b,c\n", "columns", 2, id="a cell too many"),
        pytest.param("r.csv", b'text,label\na,b\n"c,d\n', "table", 3, id="an open quotation mark"),
        pytest.param("r.csv", b"text,text\na,b\n", "table", 1, id="two columns of one name"),
        pytest.param("r.csv", b"text,\na,b\n", "table", 1, id="a column without a name"),
        pytest.param("r.txt", b"one\n\xff\xfe\n", "encoding", 2, id="text that is not UTF-8"),
    ],
)
def test_a_broken_row_is_named_with_its_number_and_what_to_do(tmp_path: Path, name: str, content: bytes, kind: str, row: int) -> None:
    problems = [found for found in read(tmp_path / name, content) if isinstance(found, Problem)]
    assert [(found.kind, found.row, found.severity) for found in problems] == [(kind, row, "error")]
    assert problems[0].remedy
    assert "caf" not in problems[0].message


def test_the_rows_around_a_broken_one_are_still_read(tmp_path: Path) -> None:
    assert [type(row) for row in read(tmp_path / "r.jsonl", GOOD + b"{\n" + GOOD)] == [Row, Problem, Row]


def test_a_json_file_that_is_no_array_says_so(tmp_path: Path) -> None:
    (problem,) = read(tmp_path / "r.json", b'"words"')
    assert isinstance(problem, Problem)
    assert "no JSON array" in problem.message


def test_two_gigabytes_are_refused_by_their_size_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as stream:
        stream.write(GOOD)
        stream.truncate(2 * MAX_FILE_BYTES)
    tracemalloc.start()
    with open_file(path) as file, pytest.raises(ToolFailed, match=r"2\.0 GiB, more than the limit of 1 GiB") as failed:
        next(read_rows(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert failed.value.kind == "too_large"
    assert peak < 1 << 20


@pytest.mark.parametrize("name", ["r.jsonl", "r.txt"])
def test_an_endless_line_is_passed_over_in_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(GOOD + b'"' + b"x" * (8 * MAX_LINE_BYTES) + b'"\n' + GOOD)
    tracemalloc.start()
    with open_file(path) as file:
        rows = list(read_rows(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [getattr(row, "kind", "row") for row in rows] == ["row", "line_too_long", "row"]
    assert peak < 4 * MAX_LINE_BYTES


def test_a_long_array_on_one_line_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"text": f"{n:>200}"} for n in range(20_000)]))
    tracemalloc.start()
    with open_file(path) as file:
        count = sum(isinstance(row, Row) for row in read_rows(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < path.stat().st_size / 4


def test_more_rows_than_the_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=f"more than {MAX_ROWS} rows"):
        read(tmp_path / "r.txt", b"a\n" * (MAX_ROWS + 1))


def test_a_file_can_be_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(GOOD * 3)
    with open_file(path) as file:
        assert list(read_rows(file)) == list(read_rows(file))
