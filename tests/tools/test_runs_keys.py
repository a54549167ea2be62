"""A key for each run, derived from the home's."""

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_runs import RunWorld
from tools.runs.keys import home_key, run_key
from tools.runs.state import RunState


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


def test_the_home_s_key_is_made_once_however_many_ask_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(home_key, [tmp_path / "keys"] * 32))
    assert len(keys) == 1 and len(keys.pop()) == 32
    assert [(each.name, stat.S_IMODE(each.stat().st_mode)) for each in (tmp_path / "keys").iterdir()] == [("runs.key", 0o600)]


def test_each_run_and_each_home_has_a_key_of_its_own() -> None:
    assert len({run_key(home, run) for home in (b"1" * 32, b"2" * 32) for run in ("0123456789", "9876543210")}) == 4
    assert run_key(b"1" * 32, "0123456789") == run_key(b"1" * 32, "0123456789")


def test_a_damaged_key_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "runs.key").write_bytes(b"short")
    with pytest.raises(ToolFailed, match="5 bytes"):
        home_key(tmp_path)


def test_the_run_folder_holds_its_key_for_the_engine_alone_and_a_foreign_one_is_replaced_at_the_next_start(world: RunWorld) -> None:
    run = world.begin("finishes")
    path = world.places.runs / run / "run.key"
    own = run_key(home_key(world.places.keys), run)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode), world.local.spec(run).key_path) == (own, 0o600, "run.key")
    world.until(run, RunState.FINISHED)
    path.write_text("somebody else's")
    world.local.start(run, 2, "owner", threads=1)
    assert path.read_text() == own
