"""Uploads: dataset types only, small, under a safe name, never over another file."""

import stat
from pathlib import Path

import pytest

from agent.registering import MAX_BYTES, keep_upload
from policies.tool import ToolFailed
from tests.agent.home import ME, Home


def test_an_upload_gets_a_reference_that_datasets_accept(tmp_path: Path) -> None:
    reference = keep_upload(tmp_path / "data", "My rows (1).JSONL", b'{"text": "x"}\n')
    assert reference == "data/My-rows-1.jsonl"
    kept = tmp_path / reference
    assert kept.read_bytes() == b'{"text": "x"}\n' and stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.stat().st_nlink == 1, "a second link would be refused as a dataset"


def test_another_file_of_the_same_name_is_kept_beside_it(tmp_path: Path) -> None:
    assert keep_upload(tmp_path / "data", "a.csv", b"one") == "data/a.csv"
    assert keep_upload(tmp_path / "data", "a.csv", b"two") == "data/a-2.csv"
    assert keep_upload(tmp_path / "data", "a.csv", b"one") == "data/a.csv", "the same bytes are the same file"


@pytest.mark.parametrize("name", ["../../etc/passwd.csv", "/etc/x.csv", "..\\..\\x.csv", "\u202etxt.csv", "....csv", ".csv.csv"])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    reference = keep_upload(tmp_path / "data", name, b"x")
    assert (tmp_path / reference).parent == tmp_path / "data"
    assert reference.isascii() and ".." not in reference


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.py", b"x", "no dataset type"),
        ("a", b"x", "no dataset type"),
        ("a.jsonl", b" \n", "empty"),
        ("a.jsonl", b"x" * (MAX_BYTES + 1), "the limit is"),
    ],
    ids=["a program", "no suffix", "empty", "too large"],
)
def test_what_is_no_dataset_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    with pytest.raises(ToolFailed, match=words):
        keep_upload(tmp_path / "data", name, content)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


async def test_the_workshop_keeps_uploads_in_the_home(home: Home) -> None:
    async with home.workshop() as shop:
        assert await shop.upload("a.jsonl", b"{}", ME) == "data/a.jsonl"
    assert (home.path / "data" / "a.jsonl").exists()
