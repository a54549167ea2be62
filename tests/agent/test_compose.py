"""The rooms put together: a real door, a real toolbox, one sentence."""

from pathlib import Path

import pytest

from agent.compose import build_door, build_workshop
from agent.events import TextDone, ToolEnded
from agent.home import HomeLock
from agent.settings import Settings, SettingsError
from policies.tool import ToolFailed
from tests.agent.home import only, said


async def test_the_whole_workshop_looks_at_this_machine(tmp_path: Path) -> None:
    door = build_door(Settings(home=tmp_path / "home"))
    shop = build_workshop(door)
    await shop.start()
    try:
        events = await said(shop, "What can this machine do?")
        assert only(events, ToolEnded)[0].status == "done"
        assert "cores" in only(events, TextDone)[-1].text
        checked = await said(shop, "check samples/helpdesk.jsonl")
        assert only(checked, ToolEnded)[0].tool == "validate_dataset"
        assert (await shop.doctor())["home"] == str(tmp_path / "home")
    finally:
        await shop.close()
        door.close()


def test_a_second_door_on_the_same_home_is_refused(tmp_path: Path) -> None:
    door = build_door(Settings(home=tmp_path / "home"))
    with pytest.raises(ToolFailed) as refused:
        build_door(Settings(home=tmp_path / "home"))
    assert refused.value.kind == "locked"
    door.close()
    lock = HomeLock(tmp_path / "home").take()
    build_door(Settings(home=tmp_path / "home"), lock=lock).close()
    assert not lock.held


def test_another_database_is_refused_for_now(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SQLite"):
        build_door(Settings(home=tmp_path / "home", database_url="postgresql://x"))


def test_a_book_that_cannot_be_used_is_said_with_the_remedy_and_leaves_no_lock(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "book.sqlite").write_bytes(b"this is no book " * 500)
    for _ in range(2):
        with pytest.raises(ToolFailed, match="SQLite says") as told:
            build_door(Settings(home=home))
        assert told.value.kind == "book" and told.value.try_next
