"""Environments: when one is made anew, and what an interruption leaves behind."""

import hashlib
import io
import json
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from install import environment as environments
from install.environment import Environment, Layer, Stamp, add_layer, begin, clear, fill, finish, lacks, need, read_stamp, write_stamp
from install.latch import latch
from install.progress import Progress
from install.trouble import SetupFailed

VERSION = "3.11"


@pytest.fixture
def place(tmp_path: Path) -> Environment:
    """An environment that is not there yet, with a lock of its own."""
    lock = tmp_path / "chat.txt"
    lock.write_text("one==1.0 --hash=sha256:00\n")
    return Environment(tmp_path / ".venv", Layer("chat", lock))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment to copy, because making one takes seconds."""
    other = Environment(tmp_path_factory.mktemp("bare") / ".venv", Layer("none", Path(__file__)))
    begin(other, sys.executable)
    return other.part


def made(place: Environment, **changes: object) -> None:
    """Put a finished environment in place, without running pip."""
    place.python.parent.mkdir(parents=True)
    place.python.symlink_to(sys.executable)
    facts = Stamp(VERSION, platform.machine(), place.torch, "", {"chat": place.base.digest()})
    write_stamp(place.folder, replace(facts, **changes))  # type: ignore[arg-type]


def test_an_environment_that_is_there_and_stamped_needs_nothing(place: Environment) -> None:
    made(place)
    assert need(place, VERSION) == ""


def test_a_missing_environment_is_made(place: Environment) -> None:
    assert need(place, VERSION) == "it is not there yet"


def test_an_environment_made_by_hand_is_made_anew(place: Environment) -> None:
    made(place)
    (place.folder / environments.STAMP).unlink()
    assert "no stamp" in need(place, VERSION)


def test_a_broken_stamp_counts_as_none(place: Environment) -> None:
    made(place)
    (place.folder / environments.STAMP).write_text('{"python": ')
    assert read_stamp(place.folder) is None


def test_a_changed_lock_makes_it_anew(place: Environment) -> None:
    made(place)
    place.base.lock.write_text("one==1.1 --hash=sha256:11\n")
    assert need(place, VERSION) == "its lock file has changed"


@pytest.mark.parametrize(("changes", "reason"), [
    ({"python": "3.12"}, "it was made by Python 3.12"),
    ({"machine": "riscv"}, "on riscv"),
    ({"torch": "1.0"}, "it holds torch 1.0"),
], ids=["python", "machine", "torch"])
def test_whatever_it_is_bound_to_makes_it_anew(place: Environment, changes: dict[str, object], reason: str) -> None:
    made(place, **changes)
    assert reason in need(place, VERSION)


def test_another_torch_index_makes_it_anew_and_none_leaves_it_alone(place: Environment) -> None:
    made(place, torch_index="https://one.example/cpu")
    assert need(place, VERSION) == ""
    other = Environment(place.folder, place.base, torch_index="https://two.example/cpu")
    assert "LUTHIER_TORCH_INDEX" in need(other, VERSION)


def test_an_interpreter_that_is_gone_makes_it_anew(place: Environment) -> None:
    made(place)
    place.python.unlink()
    place.python.symlink_to(place.folder / "gone")
    assert need(place, VERSION) == "it is not there yet"


def test_what_an_interrupted_set_up_left_is_removed(place: Environment) -> None:
    (place.part / "lib").mkdir(parents=True)
    clear(place)
    assert not place.part.exists()


def test_an_interruption_between_the_two_renames_brings_the_old_environment_back(place: Environment) -> None:
    made(place)
    place.folder.rename(place.old)
    clear(place)
    assert need(place, VERSION) == "" and not place.old.exists()


def test_an_interruption_after_the_renames_removes_the_old_environment(place: Environment) -> None:
    made(place)
    place.old.mkdir()
    clear(place)
    assert not place.old.exists() and need(place, VERSION) == ""


def test_a_renamed_environment_works_and_names_its_part_folder_nowhere(place: Environment) -> None:
    python = begin(place, sys.executable)
    script = place.part / "bin" / "hello"
    script.write_text(f"#!{python}\nprint('hello')\n")
    script.chmod(0o755)
    finish(place, VERSION)
    assert not place.part.exists() and need(place, VERSION) == ""
    assert subprocess.run([place.folder / "bin" / "hello"], capture_output=True, text=True, check=True).stdout == "hello\n"
    ask = [place.python, "-c", "import sys; print(sys.prefix)"]
    prefix = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(prefix).resolve() == place.folder.resolve()
    subprocess.run([place.python, "-I", "-m", "pip", "--version"], check=True, capture_output=True)
    for path in [place.folder / "pyvenv.cfg", *(place.folder / "bin").glob("activate*")]:
        assert ".venv.part" not in path.read_text(), path.name


def wheel(folder: Path) -> str:
    """A wheel of our own making, `one 1.0`; returns its SHA-256."""
    path = folder / "one-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.py", "SAYS = 'hello'\n")
        archive.writestr("one-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
        archive.writestr("one-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("one-1.0.dist-info/RECORD", "one.py,,\none-1.0.dist-info/METADATA,,\none-1.0.dist-info/WHEEL,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_the_package_that_the_lock_names_by_hash_is_installed(
    place: Environment, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = wheel(tmp_path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    out, log = io.StringIO(), tmp_path / "install.log"
    shutil.copytree(bare, place.part, symlinks=True)
    place.base.lock.write_text(f"one==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    with pytest.raises(SetupFailed, match="not the one that the lock file names"):
        fill(place, [], log, Progress(out))
    assert need(place, VERSION) == "it is not there yet"
    place.base.lock.write_text(f"one==1.0 \\\n    --hash=sha256:{digest}\n")
    fill(place, [], log, Progress(out))
    finish(place, VERSION)
    said = subprocess.run([place.python, "-c", "import one; print(one.SAYS)"], capture_output=True, text=True, check=True).stdout
    assert said == "hello\n" and need(place, VERSION) == ""
    assert "package" in out.getvalue() and "Successfully installed one-1.0" in log.read_text()


def test_an_environment_that_replaces_another_takes_its_place(place: Environment) -> None:
    made(place, python="3.10")
    (place.part / "bin").mkdir(parents=True)
    (place.part / "pyvenv.cfg").write_text("")
    finish(place, VERSION)
    stamp = read_stamp(place.folder)
    assert stamp is not None and stamp.python == VERSION and not place.old.exists()


def test_a_layer_is_stamped_when_all_of_it_is_there(place: Environment, bare: Path, tmp_path: Path) -> None:
    shutil.copytree(bare, place.part, symlinks=True)
    finish(place, VERSION)
    lock = tmp_path / "dev.txt"
    lock.write_text("# nothing to install\n")
    layer = Layer("dev", lock)
    assert lacks(place, layer)
    add_layer(place, layer, tmp_path / "log", Progress())
    assert not lacks(place, layer) and need(place, VERSION) == ""
    lock.write_text("# another\n")
    assert lacks(place, layer)


def test_a_second_set_up_in_the_same_folder_waits_for_the_first(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from install.latch import latch; from install.progress import Progress\n"
        "with latch(Path(sys.argv[1]), Progress()): print('mine', flush=True)"
    )
    with latch(tmp_path, Progress()):
        second = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True,
                                  cwd=Path(__file__).resolve().parents[2])
        assert second.stdout is not None
        assert "waiting" in second.stdout.readline()
        assert second.poll() is None
    said, _ = second.communicate(timeout=30)
    assert said.strip() == "mine"


def test_the_stamp_is_plain_json_that_a_person_can_read(place: Environment) -> None:
    made(place)
    assert json.loads((place.folder / environments.STAMP).read_text())["layers"] == {"chat": place.base.digest()}
