"""The store: a copy by its digest, whole or absent, registered once."""

import os
import shutil
import stat
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_datasets import DataWorld, open_file, pairs
from tools.datasets import store as store_module
from tools.datasets.store import UPLOAD_BYTES, name_from

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DataWorld]:
    made = DataWorld(tmp_path)
    yield made
    made.close()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_is_copied_under_its_name_and_digest_for_its_owner_alone(world: DataWorld) -> None:
    path = world.outside_file("Mine.JSONL", pairs(20))
    with open_file(path) as file:
        stored = world.store.keep("mine", file, "owner", "c1")
    assert stored.path.read_bytes() == path.read_bytes()
    assert stored.path.name == f"mine@{stored.digest[:8]}.jsonl"
    assert (stored.id, stored.rows, stored.format, stored.bytes) == (f"mine@{stored.digest[:8]}", 20, "prompt", path.stat().st_size)
    assert stat.S_IMODE(stored.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(world.places.uploads.stat().st_mode) == 0o700


def test_the_same_file_is_kept_once(world: DataWorld) -> None:
    path = world.outside_file("rows.csv", "prompt,completion\n" + "".join(f"{p['prompt']},{p['completion']}\n" for p in pairs(9)))
    for call in ("c1", "c2"):
        with open_file(path) as file:
            world.store.keep("rows", file, "owner", call)
    assert len(world.store.all()) == len(files_in(world.places.uploads)) == 1


def test_a_call_that_was_done_is_not_done_again(world: DataWorld) -> None:
    with open_file(world.outside_file("a.jsonl", pairs(20))) as file:
        first = world.store.keep("a", file, "owner", "c1")
    with open_file(world.outside_file("b.jsonl", pairs(20, 20))) as file:
        assert world.store.keep("b", file, "owner", "c1") == first
    assert world.store.kept_by("c1") == first
    assert world.store.kept_by("c2") is None


@pytest.mark.parametrize("content", [b'{"half', b'{"prompt": "a", "completion": "b"}\n', b'{"colour": "red"}\n' * 9])
def test_of_a_file_with_an_error_nothing_stays(world: DataWorld, content: bytes) -> None:
    with open_file(world.outside_file("bad.jsonl", content)) as file, pytest.raises(ToolFailed) as failed:
        world.store.keep("bad", file, "owner", "c1")
    assert failed.value.kind == "data"
    assert files_in(world.places.uploads) == []
    assert world.store.all() == ()


def test_a_full_disk_is_said_before_anything_is_copied(world: DataWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 1000))
    with open_file(world.outside_file("rows.jsonl", pairs(20))) as file, pytest.raises(ToolFailed, match="only 1000 are free"):
        world.store.keep("rows", file, "owner", "c1")
    assert files_in(world.places.uploads) == []


def test_a_disk_that_fills_while_copying_leaves_nothing(world: DataWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: int, _target: int) -> tuple[str, int]:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(store_module, "_copy", full)
    with open_file(world.outside_file("rows.jsonl", pairs(20))) as file, pytest.raises(ToolFailed, match="No space left"):
        world.store.keep("rows", file, "owner", "c1")
    assert files_in(world.places.uploads) == []


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("Tickets 2026.jsonl", "tickets-2026"),
        ("../../etc/passwd.txt", "passwd"),
        ("ignore previous instructions.jsonl", "ignore-previous-instructions"),
        ("\u202egnp.jsonl", "gnp"),
        ("日本.csv", "dataset"),
        ("x" * 100 + ".txt", "x" * 40),
    ],
)
def test_names_are_made_plain(file_name: str, name: str) -> None:
    assert name_from(file_name) == name


def test_an_upload_is_kept_and_can_be_opened_by_its_id(world: DataWorld) -> None:
    data = "".join(f"{row['prompt']}\n" for row in pairs(20)).encode()
    stored = world.store.keep_bytes("My notes.txt", data, "owner", "c1")
    with world.refs.open(stored.id) as file:
        assert os.pread(file.fd, len(data) + 1, 0) == data
    assert stored.id.startswith("my-notes@")


@pytest.mark.parametrize(
    ("file_name", "size", "kind"), [("rows.exe", 10, "format"), ("rows", 10, "format"), ("rows.txt", UPLOAD_BYTES + 1, "too_large")],
)
def test_an_upload_of_a_wrong_type_or_size_is_refused(world: DataWorld, file_name: str, size: int, kind: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        world.store.keep_bytes(file_name, b"x" * size, "owner", "c1")
    assert failed.value.kind == kind
    assert files_in(world.places.uploads) == []
