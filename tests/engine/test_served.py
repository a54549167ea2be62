"""Exported files: they load and answer, read prompts as transformers does, and the answering child keeps its protocol."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.conftest import rows
from tools.engine.data import Renderer
from tools.engine.export import build
from tools.engine.failure import EngineFailed
from tools.engine.served import Served, prove_served

Start = Callable[..., "subprocess.Popen[str]"]

CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    rows(1)[0]["messages"][:2],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": " c \n"}],
    [{"role": "user", "content": "odd: \"quotes\" \\ back, tab\t, ünï, 日本, 🙂, <|im_end|>, <b>"}],
    [{"role": "user", "content": ""}],
]


@pytest.fixture(scope="module")
def served(finished: Path) -> Served:
    return Served(finished / "served", threads=1)


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_a_served_prompt_has_the_ids_that_training_had(messages: list[dict[str, str]], served: Served, tiny: Path) -> None:
    renderer = Renderer(tiny)
    assert served.prompt(messages) == renderer.ids(renderer.render(messages, ask=True))


def test_an_export_loads_and_gives_two_tokens_or_more(finished: Path) -> None:
    assert prove_served(finished / "served", threads=1) >= 2


def test_a_model_that_learned_to_say_nothing_is_an_export_all_the_same(finished: Path, served: Served, tmp_path: Path) -> None:
    silent = tmp_path / "served"
    shutil.copytree(finished / "served", silent)
    config = json.loads((silent / "genai_config.json").read_text())
    first = next(iter(served.stream(served.prompt([{"role": "user", "content": "Hello"}]), 1)))[0]
    config["model"]["eos_token_id"] = [first]
    (silent / "genai_config.json").write_text(json.dumps(config))
    assert prove_served(silent, threads=1) >= 2


def test_greedy_answers_repeat(served: Served) -> None:
    ids = served.prompt(CONVERSATIONS[1])
    assert served.generate(ids, 8) .text == served.generate(ids, 8).text


def test_files_that_do_not_answer_are_no_export(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, threads: int) -> None:
        raise RuntimeError("Invalid input name")

    monkeypatch.setattr("tools.engine.export.prove_served", broken)
    with pytest.raises(EngineFailed) as caught:
        build(tiny, tmp_path / "out", "int8", threads=1)
    assert caught.value.kind == "export" and not (tmp_path / "out").exists() and not (tmp_path / "out.part").exists()


def conversation(child: "subprocess.Popen[str]", request: dict[str, object]) -> list[dict[str, object]]:
    assert child.stdin and child.stdout
    child.stdin.write(json.dumps(request) + "\n")
    child.stdin.flush()
    replies: list[dict[str, object]] = []
    while not replies or not ("done" in replies[-1] or "error" in replies[-1]):
        replies.append(json.loads(child.stdout.readline()))
    return replies


def test_the_answering_child_streams_compares_and_leaves_when_idle(finished: Path, start: Start, tmp_path: Path) -> None:
    child = start(tmp_path, "answer", "--threads", "1", "--idle-seconds", "1")
    messages = CONVERSATIONS[1]
    asked = {"op": "ask", "messages": messages, "max_tokens": 6, "temperature": 0}
    tuned = conversation(child, {**asked, "id": "a", "served_dir": str(finished / "served"), "label": {"adapter": "r"}})
    base = conversation(child, {**asked, "id": "b", "served_dir": str(finished / "base-served")})
    for name, replies in (("a", tuned), ("b", base)):
        done = replies[-1]
        assert all(reply["id"] == name for reply in replies) and 1 <= int(str(done["tokens"])) <= 6
        assert done["text"] == "".join(str(reply.get("delta", "")) for reply in replies[:-1])
        assert done["finish_reason"] in ("stop", "length") and float(str(done["load_s"])) > 0
    assert tuned[-1]["label"] == {"adapter": "r"}
    assert conversation(child, {**asked, "id": "c", "served_dir": str(finished / "served")})[-1]["load_s"] == 0
    assert len(conversation(child, {"id": "d", "op": "ping"})[-1]["loaded"]) == 2  # type: ignore[arg-type]
    wrong = conversation(child, {**asked, "id": "e", "served_dir": "/nowhere"})[-1]["error"]
    assert isinstance(wrong, dict) and wrong["kind"] == "model"
    long = {**asked, "id": "f", "served_dir": str(finished / "served"), "messages": [{"role": "user", "content": "word " * 900}]}
    wrong = conversation(child, long)[-1]["error"]
    assert isinstance(wrong, dict) and wrong["kind"] == "too_long"
    began = time.monotonic()
    assert child.wait(timeout=20) == 0 and time.monotonic() - began < 15


def test_the_answering_child_needs_no_torch(environ: dict[str, str]) -> None:
    import sys

    code = "import sys, tools.engine.answer, tools.engine.served; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environ, check=False).returncode == 0


def test_the_child_ends_with_its_input(start: Start, tmp_path: Path) -> None:
    child = start(tmp_path, "answer")
    out, _ = child.communicate("not json\n", timeout=30)
    assert child.returncode == 0 and json.loads(out)["error"]["kind"] == "usage"
