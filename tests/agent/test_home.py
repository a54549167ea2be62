"""One home, one process that writes it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.home import HomeLock, prepare_home
from policies.tool import ToolFailed

HOLD = """
import sys
from pathlib import Path
from agent.home import HomeLock
HomeLock(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_home_is_made_closed_to_others(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "deep" / "home")
    prepare_home(home)
    assert {stat.S_IMODE(each.stat().st_mode) for each in (home, *home.iterdir())} == {0o700}
    assert not (home / "policy").exists(), "a folder of that name would replace the rules"


def test_an_open_home_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    assert stat.S_IMODE(prepare_home(tmp_path / "home").stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ToolFailed, match="LUTHIER_HOME"):
        prepare_home(tmp_path / "file" / "home")


def test_a_home_in_which_no_lock_can_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(ToolFailed, match="lock: Is a directory") as refused:
        HomeLock(tmp_path).take()
    assert "LUTHIER_HOME" in refused.value.try_next


def test_a_second_holder_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path).take()
    assert lock.held and lock.take() is lock
    with pytest.raises(ToolFailed) as refused:
        HomeLock(tmp_path).take()
    assert refused.value.kind == "locked"
    assert str(os.getpid()) in refused.value.because and "LUTHIER_HOME" in refused.value.try_next
    lock.release()
    HomeLock(tmp_path).take().release()


def test_a_killed_holder_gives_the_lock_back(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ToolFailed, match=str(other.pid)):
            HomeLock(tmp_path).take()
        other.kill()
    HomeLock(tmp_path).take().release()
