"""Where the bytes of screen elements lie."""

import stat
from pathlib import Path

import pytest

from ui.storage import LocalStorage, OutsideStorage


async def test_an_element_is_written_for_its_owner_alone_and_served_below_our_own_address(tmp_path: Path):
    storage = LocalStorage(tmp_path / "elements")
    kept = await storage.upload_file("user/element/a name?.txt", "text")
    assert kept == {"object_key": "user/element/a name?.txt", "url": "/elements/user/element/a%20name%3F.txt"}
    path = storage.path("user/element/a name?.txt")
    assert path.read_text() == "text" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await storage.delete_file("user/element/a name?.txt") and not await storage.delete_file("user/element/a name?.txt")


@pytest.mark.parametrize("key", ["../book.sqlite", "user/../../book.sqlite", "/etc/passwd", "", "."])
async def test_a_key_that_leaves_the_folder_is_refused(tmp_path: Path, key: str):
    storage = LocalStorage(tmp_path / "elements")
    with pytest.raises(OutsideStorage):
        await storage.upload_file(key, b"x")


async def test_a_link_that_leads_out_is_refused(tmp_path: Path):
    storage = LocalStorage(tmp_path / "elements")
    (tmp_path / "elements").mkdir()
    (tmp_path / "elements" / "user").symlink_to(tmp_path)
    with pytest.raises(OutsideStorage):
        await storage.delete_file("user/book.sqlite")
