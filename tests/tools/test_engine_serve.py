"""The serving program as a process: where it listens, who may start it, and how it ends."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.fakes_serve import BUNDLED, KEY, Program, listening, loopback

pytestmark = pytest.mark.engine
HEADERS = {"Authorization": f"Bearer {KEY}"}
Make = Callable[..., Program]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    programs: list[Program] = []

    def new(**spec: Any) -> Program:
        programs.append(Program(tmp_path / "serving", **spec))
        return programs[-1]

    yield new
    for program in programs:
        program.close()


class Stream:
    """A streamed completion that goes on for long."""

    def __init__(self, program: Program, tokens: int) -> None:
        self._client = httpx.Client(trust_env=False, timeout=60, headers=HEADERS)
        body = {"model": "bundled", "prompt": "x", "max_tokens": tokens, "temperature": 2, "seed": 1, "stream": True}
        self._answer = self._client.stream("POST", f"{program.url}/completions", json=body)
        self.lines = self._answer.__enter__().iter_lines()
        self.first = next(self.lines)

    def rest(self) -> list[str]:
        """Every further event."""
        said = [line for line in self.lines if line]
        self._answer.__exit__(None, None, None)
        self._client.close()
        return said


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One that nobody ends; two names share its files."""
    program = Program(tmp_path_factory.mktemp("running") / "serving", models=[
        {"name": name, "folder": str(BUNDLED), "precision": "int8"} for name in ("a", "b")]).start()
    yield program
    program.close()


def test_it_listens_on_loopback_and_nowhere_else(running: Program) -> None:
    assert running.child is not None and listening(running.child.pid) == {loopback(running.port)}


def test_neither_key_nor_prompt_stands_in_its_command_line_or_environment(running: Program) -> None:
    assert running.child is not None
    for name in ("cmdline", "environ"):
        assert KEY.encode() not in Path(f"/proc/{running.child.pid}/{name}").read_bytes()


def test_a_second_one_for_the_same_folder_does_not_start(running: Program) -> None:
    first = running.child
    second = Program(running.folder)
    assert second.spawn().wait(30) == 3 and first is not None and first.poll() is None and running.told("exit.json") == {}


def test_names_that_share_files_share_memory_and_each_answers_under_its_own(running: Program) -> None:
    size = sum(path.stat().st_size for path in BUNDLED.iterdir())
    assert size < running.told("serving.json")["memory_bytes"] < 1.6 * size
    body = {"model": "b", "prompt": "x", "max_tokens": 1}
    assert httpx.post(f"{running.url}/completions", json=body, headers=HEADERS, trust_env=False).json()["model"] == "b"


def test_a_port_that_is_taken_is_no_reason_to_take_another(running: Program, tmp_path: Path) -> None:
    second = Program(tmp_path / "second", port=running.port)
    assert second.spawn().wait(60) == 1 and "can't be used" in second.told("exit.json")["message"]


def test_a_stop_lets_what_is_being_answered_be_finished(make: Make) -> None:
    program = make(grace_s=60).start()
    stream = Stream(program, 12)
    assert program.child is not None
    program.child.send_signal(signal.SIGTERM)
    said = stream.rest()
    assert said[-1] == "data: [DONE]" and json.loads(said[-2][6:])["choices"][0]["finish_reason"] == "length"
    assert program.child.wait(30) == 0 and program.told("exit.json")["outcome"] == "stopped"


def test_a_stop_cuts_what_would_take_too_long_and_says_so(make: Make) -> None:
    program = make(grace_s=2, limits={"tokens": 8000}).start()
    stream = Stream(program, 8000)
    assert program.child is not None
    program.child.send_signal(signal.SIGTERM)
    said = stream.rest()
    assert json.loads(said[-1][6:])["error"]["code"] == "closing" and "data: [DONE]" not in said
    assert program.child.wait(30) == 0 and program.told("exit.json")["kind"] == "stop"


def test_a_time_limit_ends_it_by_itself(make: Make) -> None:
    program = make(limit_s=1.5)
    assert program.spawn().wait(60) == 0
    assert (program.told("exit.json")["outcome"], program.told("exit.json")["kind"]) == ("stopped", "limit")


def test_a_stop_that_was_asked_for_before_it_began_holds(make: Make) -> None:
    program = make()
    (program.folder / "stop.json").write_text("{}")
    assert program.spawn().wait(30) == 0
    assert program.told("exit.json")["outcome"] == "stopped" and program.told("serving.json") == {}


def test_a_killed_one_says_nothing_and_another_may_begin(make: Make) -> None:
    program = make().start()
    assert program.end(signal.SIGKILL) == -signal.SIGKILL and program.told("exit.json") == {}
    assert make().start().port


def widen_key(folder: Path) -> None:
    (folder / "key").chmod(0o644)


def shorten_key(folder: Path) -> None:
    (folder / "key").write_text("short")


def drop_key(folder: Path) -> None:
    (folder / "key").unlink()


def spoil_spec(folder: Path) -> None:
    (folder / "serve.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "spec", "said"),
    [
        (widen_key, {}, "Others may read"), (shorten_key, {}, "at least 16"), (drop_key, {}, "not there"), (spoil_spec, {}, ""),
        (lambda _: None, {"models": [{"name": "a", "folder": "/nowhere", "precision": "int8"}]}, ""),
    ],
    ids=["a key that others may read", "a short key", "no key", "a damaged spec", "no files"],
)
def test_what_cannot_be_served_fails_with_its_reason_and_never_listens(
    make: Make, spoil: Callable[[Path], None], spec: dict[str, Any], said: str
) -> None:
    program = make(**spec)
    spoil(program.folder)
    assert program.spawn().wait(60) == 1
    end = program.told("exit.json")
    assert end["outcome"] == "failed" and said in end["message"] and program.told("serving.json").get("state") != "running"
