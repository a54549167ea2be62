"""The copy of a run's reports: from the byte where it ends, whole files only, and what belongs to which attempt."""

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.azure.folder_share import FolderEntry, FolderShare
from tools.runs.mirror import Marks, Mirror, lay_aside

RUN = "0123456789"


class Scene:
    """A share, the copy, and a mirror between them."""

    def __init__(self, root: Path) -> None:
        self.share, self.here = FolderShare(root / "share"), root / "here"
        self.there = self.share.root / "runs" / RUN
        self.there.mkdir(parents=True)
        self.here.mkdir()
        self.mirror = Mirror()

    def look(self, attempt: int = 1, since: datetime | None = None) -> Marks:
        """One look."""
        return self.mirror.look(self.share, RUN, attempt, self.here, since, datetime.now(UTC))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_grows_is_copied_from_where_the_copy_ends(scene: Scene) -> None:
    (scene.there / "events.jsonl").write_bytes(b"a" * 1000)
    scene.look()
    before = scene.share.read_bytes
    with (scene.there / "events.jsonl").open("ab") as file:
        file.write(b"b" * 10)
    scene.look()
    assert (scene.here / "events.jsonl").read_bytes() == b"a" * 1000 + b"b" * 10 and scene.share.read_bytes - before == 10


def test_a_log_that_began_anew_is_copied_anew(scene: Scene) -> None:
    (scene.there / "log.txt").write_text("a long first log\n")
    scene.look()
    (scene.there / "log.txt").write_text("short\n")
    scene.look()
    assert (scene.here / "log.txt").read_text() == "short\n"


def test_a_list_that_lags_behind_the_copy_empties_nothing(scene: Scene) -> None:
    (scene.there / "log.txt").write_text("one\ntwo\n")
    scene.look()
    late, before = scene.share.entries(f"runs/{RUN}"), scene.share.read_bytes

    class Late(FolderShare):
        def entries(self, folder: str) -> tuple[FolderEntry, ...]:
            return tuple(replace(each, size=4) for each in late)

    scene.share = Late(scene.share.root)
    scene.look()
    assert (scene.here / "log.txt").read_text() == "one\ntwo\n" and scene.share.read_bytes == 0 < before


def test_a_file_that_did_not_change_is_not_read_again(scene: Scene) -> None:
    (scene.there / "started.json").write_text(json.dumps({"gpu": "T4"}))
    assert scene.look().started
    before = scene.share.read_bytes
    assert scene.look().started and scene.share.read_bytes == before


def test_half_a_file_is_no_mark(scene: Scene) -> None:
    (scene.there / "result.json").write_text('{"outcome": "fini')
    assert scene.look().result is None and not (scene.here / "result.json").exists()
    (scene.there / "result.json").write_text('{"outcome": "finished"}')
    assert scene.look().result == {"outcome": "finished"}


def test_what_is_older_than_the_attempt_is_no_mark_of_it(scene: Scene) -> None:
    for name, content in (("started.json", {}), ("result.json", {"outcome": "failed"}), ("exit.json", {"rc": 1, "attempt": 1})):
        (scene.there / name).write_text(json.dumps(content))
        old = time.time() - 3600
        os.utime(scene.there / name, (old, old))
    marks = scene.look(2, datetime.now(UTC) - timedelta(minutes=1))
    assert marks == Marks()


def test_an_exit_of_another_attempt_is_none(scene: Scene) -> None:
    (scene.there / "exit.json").write_text(json.dumps({"rc": 1, "attempt": 1}))
    assert scene.look(2).exit is None and scene.look(1).exit == {"rc": 1, "attempt": 1}


def test_the_heartbeat_here_is_as_old_as_the_one_there(scene: Scene) -> None:
    (scene.there / "heartbeat").touch()
    old = time.time() - 300
    os.utime(scene.there / "heartbeat", (old, old))
    marks = scene.look()
    assert marks.beat_at is not None
    assert 295 < time.time() - (scene.here / "heartbeat").stat().st_mtime < 330


def test_names_that_nobody_asked_for_are_left_alone(scene: Scene) -> None:
    (scene.there / "run.key").write_text("secret")
    (scene.there / "anything.json").write_text("{}")
    scene.look()
    assert list(scene.here.iterdir()) == []


def test_a_link_in_the_copy_is_not_followed(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (scene.here / "log.txt").symlink_to(tmp_path / "elsewhere")
    (scene.there / "log.txt").write_text("x\n")
    with pytest.raises(OSError, match="symbolic"):
        scene.look()
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_before_an_attempt_the_ends_of_the_last_one_are_taken_away_and_its_logs_go_there(scene: Scene) -> None:
    for name in ("result.json", "exit.json", "heartbeat"):
        (scene.there / name).write_text("{}")
    (scene.here / "result.json").write_text("{}")
    (scene.here / "events.jsonl").write_text("of an attempt here\n")
    lay_aside(scene.share, RUN, scene.here)
    assert [each.name for each in scene.there.iterdir()] == ["events.jsonl"]
    assert not (scene.here / "result.json").exists()


def test_a_tail_brings_what_is_new_and_begins_no_file(scene: Scene) -> None:
    (scene.there / "log.txt").write_text("one\n")
    scene.mirror.tail(scene.share, RUN, scene.here)
    assert not (scene.here / "log.txt").exists()
    scene.look()
    with (scene.there / "log.txt").open("a") as file:
        file.write("two\n")
    before = scene.share.read_bytes
    scene.mirror.tail(scene.share, RUN, scene.here)
    assert (scene.here / "log.txt").read_text() == "one\ntwo\n" and scene.share.read_bytes - before == 4
    assert not (scene.here / "events.jsonl").exists()
