"""What the newcomer's walk is made of: an empty home, a clone of what is kept, a diary, a client of the control socket."""

import io
import json
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from install.control import ask, end
from install.newcomer import Diary, copy_tree, newcomers_environment
from install.progress import Progress
from install.trouble import SetupFailed


def test_a_clone_holds_what_is_kept_and_nothing_that_is_ignored(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for name, text in {".gitignore": "/.venv/\n", "Makefile": "run:\n", "ui/new file.py": "", ".venv/bin/python": ""}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "add", "Makefile"], cwd=root, check=True)
    copy_tree(root, tmp_path / "clone")
    found = {path.relative_to(tmp_path / "clone").as_posix() for path in (tmp_path / "clone").rglob("*") if path.is_file()}
    assert found == {".gitignore", "Makefile", "ui/new file.py"}


def test_a_newcomer_has_an_empty_home_and_nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LUTHIER_BRAIN", "OPENAI_API_KEY", "PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS"):
        monkeypatch.setenv(name, "something")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    found = newcomers_environment(tmp_path)
    assert found["HOME"] == str(tmp_path) and found["PIP_INDEX_URL"] == "https://index.example/simple"
    assert set(found) & {"LUTHIER_BRAIN", "OPENAI_API_KEY", "PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS"} == set()


def test_a_diary_tells_each_milestone() -> None:
    diary = Diary(Progress(io.StringIO()))
    diary.reached += [("page ready", 100.0), ("both answers", 754.0)]
    assert [line.split()[-2:] for line in diary.table().splitlines()[1:]] == [["1:40", "1:40"], ["12:34", "10:54"]]


def served(path: Path, lines: list[dict[str, object]]) -> threading.Thread:
    """A control socket that answers one request with `lines`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path / "control.sock"))
    listener.listen(1)

    def answer() -> None:
        with listener, listener.accept()[0] as connection:
            connection.makefile().readline()
            connection.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_the_control_sockets_lines_are_read_to_the_end(tmp_path: Path) -> None:
    thread = served(tmp_path, [{"watch": {"kind": "step"}}, {"end": {"ok": True}}])
    assert list(ask(tmp_path, {"op": "ping"})) == [{"watch": {"kind": "step"}}, {"end": {"ok": True}}]
    thread.join()


def test_the_end_line_carries_the_value_and_an_error_line_rises(tmp_path: Path) -> None:
    thread = served(tmp_path, [{"progress": {}}, {"end": 7}])
    assert end(tmp_path, {"op": "ping"}) == 7
    thread.join()
    (tmp_path / "control.sock").unlink()
    thread = served(tmp_path, [{"error": {"what": "It broke", "because": "it did.", "try_next": "Again."}}])
    with pytest.raises(SetupFailed, match="It broke"):
        end(tmp_path, {"op": "ping"})
    thread.join()
