"""The terminal's commands, beside a running server on the small workshop."""

import io
import json
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.ui.served import Served
from ui.cli import commands, pairs, run
from ui.server import bind

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.mark.parametrize(("tool", "status", "code"), [
    ("inspect_hardware", "done", 0), ("start_finetune", "waiting", 3), ("forbidden", "refused", 4), ("broken", "failed", 1),
])
def test_a_calls_exit_status_says_what_became_of_it(tool: str, status: str, code: int, capsys: pytest.CaptureFixture[str]):
    assert run(["call", tool, "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == status and answer["tool"] == tool
    assert (answer["approval"] is not None) is (status == "waiting")


@pytest.mark.parametrize("argv", [
    ["call"], ["call", "x", "no-equals"], ["call", "x", "=1"], ["call", "x", "a=1", "a=2"], ["call", "x", "a=[1"], ["fly"], ["say"],
    ["approve"], ["watch"], ["say", "--nonsense", "x"],
], ids=" ".join)
def test_wrong_usage_is_two(argv: list[str]):
    assert run(argv) == 2


def test_words_are_text_and_json_where_they_look_like_it():
    assert pairs(["a=1", "b=x=y", "c=[1, 2]", "d=true", 'e={"f": null}', "g="]) == {
        "a": "1", "b": "x=y", "c": [1, 2], "d": True, "e": {"f": None}, "g": "",
    }


def test_what_a_call_was_given_reaches_the_tool(capsys: pytest.CaptureFixture[str]):
    assert run(["call", "echo", "dataset=samples/x.jsonl", "max_steps=60", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["args"] == {"dataset": "samples/x.jsonl", "max_steps": "60"}


def approval_of(capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["call", "start_finetune", "--json"]) == 3
    return json.loads(capsys.readouterr().out.splitlines()[-1])["approval"]["id"]


def test_an_approval_is_shown_and_decided_once(capsys: pytest.CaptureFixture[str]):
    identity = approval_of(capsys)
    assert run(["approvals"]) == 0
    assert identity in capsys.readouterr().out
    assert run(["approve", identity, "--yes"]) == 0
    out = capsys.readouterr().out
    assert "start_finetune" in out and "9f86d081" in out and "python -m ui watch" in out
    assert run(["approve", identity, "--yes"]) == 4
    assert "Already" in capsys.readouterr().out


def test_nobody_is_asked_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    identity = approval_of(capsys)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run(["approve", identity]) == 2
    assert "--yes" in capsys.readouterr().err


class Terminal(io.StringIO):
    """Somebody who answers at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "status"), [("y\n", "consumed"), ("n\n", "pending"), ("\n", "pending")])
def test_say_asks_a_waiting_approval_by_our_own_prompt(
    answer: str, status: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert run(["say", "tune the bundled model"]) == 0
    out = capsys.readouterr().out
    assert "Here is the plan" in out and "[y/N]" in out
    identity = out.split("Approve ")[-1][:8]
    run(["approvals", "--json"])
    waiting = [view["id"] for view in json.loads(capsys.readouterr().out)]
    assert (identity in waiting) is (status == "pending")


def test_say_without_a_terminal_says_how_to_decide(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(["say", "tune the bundled model"]) == 0
    assert "python -m ui approve" in capsys.readouterr().out


def test_say_as_json_is_one_object(capsys: pytest.CaptureFixture[str]):
    assert run(["say", "what can this machine do", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["text"].startswith("This machine has 2 cores") and said["problem"] is None
    assert run(["say", "wrong", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problem"]["remedy"] == "Say it differently."


def test_deny_and_withdraw(capsys: pytest.CaptureFixture[str]):
    assert run(["deny", approval_of(capsys), "--why", "not now"]) == 0
    assert run(["withdraw", approval_of(capsys)]) == 0


def test_a_link_is_printed_as_an_address(served: Served, capsys: pytest.CaptureFixture[str]):
    assert run(["link"]) == 0
    assert capsys.readouterr().out.startswith(f"{served.url}/enter?t=")


def test_doctor_speaks_and_gives_json(capsys: pytest.CaptureFixture[str]):
    assert run(["doctor"]) == 0 and "command assistant" in capsys.readouterr().out
    assert run(["doctor", "--json"]) == 0 and json.loads(capsys.readouterr().out)["ok"]


def test_doctor_asks_azure_only_when_it_is_told_to(capsys: pytest.CaptureFixture[str]):
    assert run(["doctor"]) == 0 and "ann@example.test" not in capsys.readouterr().out
    assert run(["doctor", "--cloud"]) == 0 and "ann@example.test" in capsys.readouterr().out


def test_a_secret_is_read_from_standard_input_and_only_its_name_is_shown(own_home: Path, capsys: pytest.CaptureFixture[str],
                                                                         monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("the-value\n"))
    assert run(["secret", "set", "HF_TOKEN"]) == 0
    assert run(["secret", "list"]) == 0
    out = capsys.readouterr().out
    assert "HF_TOKEN" in out and "the-value" not in out
    assert run(["secret", "remove", "HF_TOKEN"]) == 0 and run(["secret", "remove", "HF_TOKEN"]) == 1
    assert run(["secret", "set", "bad name"]) == 1


def test_the_policy_is_copied_once_and_explained(own_home: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["policy", "explain"]) == 0 and "LOCAL" in capsys.readouterr().out
    assert run(["policy", "init"]) == 0
    assert (own_home / "policy" / "limits.toml").is_file() and (own_home / "policy" / "rules" / "read.cedar").is_file()
    assert run(["policy", "init"]) == 1
    assert "already" in capsys.readouterr().err


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]):
    below = [["audit", "verify"], ["secret", "set"], ["data", "add"], ["model", "add"], ["policy", "init"]]
    names = [[name] for name in commands.commands] + below
    for name in names:
        assert run([*name, "--help"]) == 0
        assert len(capsys.readouterr().out) > 60, name


def test_a_taken_port_is_said_before_anything_starts():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ToolFailed, match=f"LUTHIER_PORT={port + 1}"):
            bind("127.0.0.1", port)
