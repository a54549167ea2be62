"""The terminal's commands about the record, the people, the policy and several approvals, beside a running server."""

import io
import json
import sqlite3
from pathlib import Path

import pytest

from ui import cli_audit
from ui.cli import commands, run

pytestmark = pytest.mark.usefixtures("own_home")

GROUPS = ("audit", "people", "policy")


def said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and everything printed."""
    status = run(argv)
    both = capsys.readouterr()
    return status, both.out + both.err


@pytest.mark.parametrize(("argv", "status", "words"), [
    (["audit", "show"], 0, "approval.granted"), (["audit", "show", "c1"], 0, "spend-with-yes"),
    (["audit", "show", "--trace", "c1"], 0, "granted"),
    (["audit", "show", "3"], 0, "samples/helpdesk.jsonl"), (["audit", "show", "--kind", "auth"], 0, "auth.signed_in"),
    (["audit", "show", "nothing"], 1, "No such records"), (["audit", "show", "--tool", "none"], 1, "No such records"),
    (["audit", "prove", "3"], 0, "The signed checkpoint"), (["audit", "prove", "7"], 1, "covers 6 records"),
    (["audit", "key"], 0, "1a2b3c4d"), (["audit", "rotate"], 0, "The key is now"), (["audit", "fsck"], 0, "every checkpoint agrees"),
    (["audit", "erase", "3", "--yes"], 0, "are erased"), (["audit", "erase", "4", "--yes"], 0, "no original arguments"),
    (["audit", "export", "--format", "ocsf"], 0, "records: 7"),
    (["people", "list"], 0, "owner\towner"), (["people", "add", "zoe", "--role", "approver"], 0, "zoe\tapprover"),
    (["people", "add", "bob"], 1, "already"), (["people", "set", "bob", "--role", "viewer"], 0, "viewer"),
    (["people", "set", "nobody", "--inactive"], 1, "no such person"), (["people", "link", "bob"], 0, "/enter?t="),
    (["people", "unlink", "slack", "T1:U1"], 1, "no such linked account"), (["link", "--person", "nobody"], 1, "nobody who can sign in"),
    (["policy", "test"], 1, "1 of 2 cases hold"), (["policy", "reload"], 1, "not valid"),
    (["policy", "explain", "start_finetune", "model=bundled"], 0, "rule local-long: A yes."),
], ids=lambda each: " ".join(each) if isinstance(each, list) else "")
def test_a_command_says_what_it_found(argv: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]):
    code, text = said(argv, capsys)
    assert code == status and words in text


def test_records_and_a_policy_come_as_json(capsys: pytest.CaptureFixture[str]):
    assert run(["audit", "show", "--json", "--limit", "2"]) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [7, 6]
    for argv in (["audit", "prove", "3", "--json"], ["audit", "fsck", "--json"], ["people", "list", "--json"], ["policy", "test", "--json"],
                 ["policy", "explain", "start_finetune", "--json"]):
        run(argv)
        json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("argv", [
    ["audit", "prove"], ["audit", "prove", "x"], ["audit", "prove", "0"], ["audit", "erase", "3"], ["audit", "export", "--format", "xml"],
    ["audit", "show", "--limit", "0"], ["people", "set", "bob"], ["people", "add"], ["people", "fly"],
    ["policy", "explain", "x", "nonsense"],
    ["approve"], ["approve", "1", "2", "--break-glass"],
], ids=" ".join)
def test_wrong_usage_is_two(argv: list[str]):
    assert run(argv) in (1, 2)


def asked(capsys: pytest.CaptureFixture[str]) -> str:
    """The id of a new approval."""
    assert run(["call", "start_finetune", "--json"]) == 3
    return json.loads(capsys.readouterr().out)["approval"]["id"]


def test_several_are_approved_at_once_after_every_digest_was_listed(capsys: pytest.CaptureFixture[str]):
    one, two = asked(capsys), asked(capsys)
    code, text = said(["approve", one, two, one, "--yes"], capsys)
    assert code == 0 and f"{one}  digest 9f86d081" in text and f"{two}  digest 9f86d081" in text and "These 2 calls" in text
    assert text.count("Approved.") == 2
    assert said(["approve", one, "00000000", "--yes"], capsys)[0] == 1


def test_several_are_asked_about_in_one_question(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    chosen = [asked(capsys), asked(capsys)]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["approve", *chosen]) == 2, "this is no terminal"
    terminal = io.StringIO("n\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    code, text = said(["approve", *chosen], capsys)
    assert code == 0 and "Nothing was approved" in text


def test_the_verifier_runs_as_a_program_with_its_own_options(own_home: Path, capfd: pytest.CaptureFixture[str]):
    assert run(["audit", "verify"]) == 3, "the small workshop keeps no book"
    assert "cannot read" in capfd.readouterr().out
    assert run(["audit", "verify", "--from", "x"]) == 3


def test_a_sound_verification_is_noted_and_a_home_that_cannot_be_opened_is_verified_all_the_same(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(cli_audit, "verifier", lambda *given: ["true"])
    assert run(["audit", "verify"]) == 0 and "was not noted" not in capsys.readouterr().err
    empty = own_home.parent / "another"
    empty.mkdir(exist_ok=True)
    with sqlite3.connect(empty / "book.sqlite") as book:
        book.execute("CREATE TABLE alembic_version (version_num TEXT)")
        book.execute("INSERT INTO alembic_version VALUES ('9999')")
    monkeypatch.setenv("LUTHIER_HOME", str(empty))
    assert run(["audit", "verify"]) == 0 and "was not noted" in capsys.readouterr().err


@pytest.mark.parametrize("group", GROUPS)
def test_every_command_of_a_group_explains_itself(group: str, capsys: pytest.CaptureFixture[str]):
    for name in commands.commands[group].commands:  # type: ignore[attr-defined]
        assert run([group, name, "--help"]) == 0
        assert len(capsys.readouterr().out) > 80, name
