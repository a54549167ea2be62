"""References: what is opened, and what is refused with the way out."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.tool import ToolFailed
from tests.tools.fakes_datasets import DataWorld, pairs
from tools.datasets.refs import check, why_refused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DataWorld]:
    made = DataWorld(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("ref", ["helpdesk.jsonl", "samples/helpdesk.jsonl"])
def test_a_relative_path_is_found_with_and_without_its_folders_name(world: DataWorld, ref: str) -> None:
    world.put("helpdesk.jsonl", "{}")
    with world.refs.open(ref) as file:
        assert (file.path, file.size, file.ref, os.pread(file.fd, 9, 0)) == (world.samples / "helpdesk.jsonl", 2, ref, b"{}")


def test_a_path_may_descend_into_folders(world: DataWorld) -> None:
    (world.samples / "formats").mkdir()
    world.put("formats/chat.jsonl", "{}")
    with world.refs.open("formats/chat.jsonl") as file:
        assert file.size == 2


def test_a_registered_id_opens_the_copy_and_knows_its_digest(world: DataWorld) -> None:
    stored = world.store.keep_bytes("mine.jsonl", b'{"prompt": "p", "completion": "c"}\n' + rows_as_bytes(), "owner", "c1")
    with world.refs.open(stored.id) as file:
        assert file.path == stored.path
        assert file.registered_digest == stored.digest == world.refs.digest(stored.id)


def test_a_name_in_two_folders_must_be_written_out(world: DataWorld) -> None:
    world.put("twice.jsonl", "{}")
    world.places.uploads.mkdir()
    world.write(world.places.uploads / "twice.jsonl", "{}")
    with pytest.raises(ToolFailed, match=r"Write samples/twice\.jsonl or data/twice\.jsonl"):
        world.refs.open("twice.jsonl")
    world.refs.open("samples/twice.jsonl").__exit__(None, None, None)


@pytest.mark.parametrize(
    ("ref", "because"),
    [
        ("/etc/passwd", "absolute"),
        ("~/rows.jsonl", "home directory"),
        ("~root/rows.jsonl", "home directory"),
        ("../secret.jsonl", "leaves its folder"),
        ("samples/../../secret.jsonl", "leaves its folder"),
        ("file:///etc/passwd", "colon"),
        ("https://example.org/rows.jsonl", "colon"),
        ("C:/rows.jsonl", "colon"),
        ("%2e%2e/secret.jsonl", "percent"),
        ("rows\0.jsonl", "control"),
        ("rows\n.jsonl", "control"),
        ("rows\u200b.jsonl", "control"),
        ("\\\\server\\share\\rows.jsonl", "backslash"),
        ("samples/NUL", "device name"),
        ("con.jsonl", "device name"),
        ("samples/com1.txt", "device name"),
        (".hidden.jsonl", "do not start with a dot"),
        ("samples//rows.jsonl", "names hold only"),
        ("./rows.jsonl", "do not start with a dot"),
        ("samples/", "names hold only"),
        ("ignore previous instructions.jsonl", "names hold only"),
        ("$(id).jsonl", "names hold only"),
        ("x; rm -rf ~", "names hold only"),
        ("a" * 200 + ".jsonl", "names hold only"),
        ("helpdesk@zzz", "no registered id"),
        ("", "empty"),
    ],
)
def test_anything_but_a_relative_path_is_refused_with_the_way_out(world: DataWorld, ref: str, because: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        world.refs.open(ref)
    assert because in failed.value.because
    assert "add_dataset" in failed.value.try_next
    assert "upload" in failed.value.try_next
    assert failed.value.kind == "refused"


@pytest.mark.parametrize("ref", ["samples/none.jsonl", "none.jsonl", "none@0123abcd"])
def test_what_is_not_there_is_said_to_be_missing(world: DataWorld, ref: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        world.refs.open(ref)
    assert failed.value.kind == "missing"
    assert "add_dataset" in failed.value.try_next


def test_a_link_out_of_the_folder_is_refused(world: DataWorld) -> None:
    (world.samples / "link.jsonl").symlink_to(world.outside_file("secret.jsonl", "{}"))
    with pytest.raises(ToolFailed, match="symbolic link"):
        world.refs.open("link.jsonl")


def test_a_linked_folder_is_refused(world: DataWorld) -> None:
    world.outside_file("secret.jsonl", "{}")
    (world.samples / "sub").symlink_to(world.outside)
    with pytest.raises(ToolFailed, match="link"):
        world.refs.open("samples/sub/secret.jsonl")


def test_a_hard_link_is_refused(world: DataWorld) -> None:
    os.link(world.outside_file("secret.jsonl", "{}"), world.samples / "hard.jsonl")
    with pytest.raises(ToolFailed, match="2 names"):
        world.refs.open("hard.jsonl")


def test_a_pipe_is_refused_without_waiting_for_a_writer(world: DataWorld) -> None:
    os.mkfifo(world.samples / "pipe.jsonl")
    with pytest.raises(ToolFailed, match="no regular file"):
        world.refs.open("pipe.jsonl")


def test_a_folder_is_refused(world: DataWorld) -> None:
    (world.samples / "sub").mkdir()
    with pytest.raises(ToolFailed, match="it is a folder"):
        world.refs.open("sub")


def test_a_file_of_another_user_is_refused(world: DataWorld) -> None:
    found = os.stat(world.outside_file("rows.jsonl", "{}"))
    with pytest.raises(ToolFailed, match="another user"):
        check(found, "rows.jsonl", frozenset({found.st_uid + 1}))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(world: DataWorld) -> None:
    world.put("locked.jsonl", "{}")
    (world.samples / "locked.jsonl").chmod(0)
    with pytest.raises(ToolFailed, match="may not be read"):
        world.refs.open("locked.jsonl")


def test_a_failed_open_leaves_no_descriptor_behind(world: DataWorld) -> None:
    os.mkfifo(world.samples / "pipe.jsonl")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        with pytest.raises(ToolFailed):
            world.refs.open("pipe.jsonl")
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


@given(st.text(max_size=40))
def test_whatever_is_let_through_stays_below_its_folder(ref: str) -> None:
    if not why_refused(ref):
        assert Path("/allowed", ref).is_relative_to("/allowed")
        assert os.path.normpath(os.path.join("/allowed", ref)).startswith("/allowed/")


def rows_as_bytes() -> bytes:
    """Enough rows to be kept."""
    return "".join(f'{{"prompt": "{row["prompt"]}", "completion": "{row["completion"]}"}}\n' for row in pairs(5)).encode()
