"""The tools that ask the policy: what would be allowed, by which rule, and whether its cases hold."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.policy import SHIPPED, Policy
from policies.proposal import Effect
from policies.tool import Call, ToolFailed
from tests.policies.fakes_tools import heavy, reading, spending
from tools.policy_tools import ExplainPolicy, Rulebook, TestPolicy


class Home:
    """A home with three tools to ask about, and the two that ask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "policy"
        self.in_force: Policy | None = None
        self.book = Book.open(folder / "book.sqlite")
        self.people = People(self.book)
        self.people.ensure_owner()
        self.tools: dict[str, Any] = {"look": reading(), "start": heavy(), "pay": spending(10), "others": reading(owner="bob")}
        self.rulebook = Rulebook(self.book, lambda: self.in_force or self.policy(), self.folder, self.tools, lambda tool, raw, caller: raw)
        self.tools |= {"explain_policy": ExplainPolicy(self.rulebook), "test_policy": TestPolicy(self.rulebook)}

    def call(self, called: str, person: str = "owner", /, **raw: Any) -> Any:
        """Through the gateway."""
        gateway = Gateway(self.tools, self.book, self.policy(), self.people)
        return asyncio.run(gateway.call(called, raw, Caller(person, "cli", "peer uid")))

    def policy(self) -> Policy:
        """The policy in the home, or the shipped one."""
        return Policy.load(self.folder)

    def own_policy(self) -> Path:
        """As `policy init` makes it."""
        for part in ("rules", "cases"):
            shutil.copytree(SHIPPED / part, self.folder / part)
        shutil.copyfile(SHIPPED / "limits.toml", self.folder / "limits.toml")
        return self.folder


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A fresh one."""
    made = Home(tmp_path)
    yield made
    made.book.close()


def test_it_says_which_rule_allows_and_does_nothing(home: Home) -> None:
    answer = home.call("explain_policy", tool="look")
    assert answer.status == "done" and answer.result["verdict"] == "allow"
    assert answer.result["effects"][0]["rules"][0]["id"] == "read-own" and "It would be allowed, by read-own." in answer.result["message"]
    assert not home.tools["look"].done


def test_it_says_who_must_say_yes_and_what_would_change_it(home: Home) -> None:
    answer = home.call("explain_policy", tool="start", arguments={"name": "x"})
    assert (answer.result["verdict"], answer.result["quorum"]) == ("ask", 1)
    assert {"fact": "if it did not take the machine for long", "verdict": "allow"} in answer.result["changes"]
    assert answer.result["message"].startswith("It would need a yes, by local-heavy-approved. It takes this machine for a while.")
    assert home.call("start", name="y").status == "waiting"


def test_it_judges_the_person_who_asks(home: Home) -> None:
    home.people.add("vic", "Vic", "viewer")
    assert home.call("explain_policy", "vic", tool="pay").result["verdict"] == "deny"
    assert home.call("explain_policy", "vic", tool="others").result["verdict"] == "deny"
    assert home.call("explain_policy", tool="others").result["verdict"] == "allow"


@pytest.mark.parametrize("raw", [{"tool": "fly"}, {"tool": "start", "arguments": {"approved": True}},
                                 {"tool": "start", "arguments": {"steps": 0}}], ids=["no tool", "an unknown field", "out of range"])
def test_a_call_that_cannot_be_made_is_said_so(home: Home, raw: dict[str, Any]) -> None:
    answer = home.call("explain_policy", **raw)
    assert answer.status == "failed" and answer.reason and answer.remedy


def test_it_may_be_asked_about_itself(home: Home) -> None:
    answer = home.call("explain_policy", tool="explain_policy", arguments={"tool": "explain_policy"})
    assert answer.result["verdict"] == "allow"


def test_what_is_explained_is_the_policy_in_force_and_an_edit_that_was_not_read_is_said(home: Home) -> None:
    folder = home.own_policy()
    home.in_force = home.policy()
    (folder / "rules" / "read.cedar").write_text("// nothing\n")
    found = home.tools["explain_policy"].perform(ExplainPolicy.Args(tool="look"), Call("1", "owner"))
    assert found.result["verdict"] == "allow" and "changed and not read" in found.result["notes"][0] and not found.for_brain["in_force"]


def test_the_shipped_policy_is_in_order(home: Home) -> None:
    answer = home.call("test_policy")
    assert answer.result["ok"] and answer.result["cases"] > 150 and answer.result["failed"] == 0 and not answer.result["alarm"]
    assert answer.result["message"] == f"{answer.result['cases']} of {answer.result['cases']} cases hold."


def test_a_case_that_no_longer_holds_is_named(home: Home) -> None:
    folder = home.own_policy()
    text = (folder / "rules" / "destroy.cedar").read_text()
    (folder / "rules" / "destroy.cedar").write_text(text.replace(" && context.solo", ""))
    found = home.tools["test_policy"].perform(TestPolicy.Args(), Call("1", "owner"))
    assert not found.result["ok"] and found.result["failures"][0]["name"] == "destroying with one's own yes asks among others"
    assert found.result["failures"][0]["words"] == "It is allow, not ask." and found.for_brain["names"]


@pytest.mark.parametrize("harm", ["limits.toml", "rules/read.cedar"])
def test_a_policy_that_does_not_validate_is_not_in_order(home: Home, harm: str) -> None:
    (home.own_policy() / harm).write_text("nonsense")
    found = home.tools["test_policy"].perform(TestPolicy.Args(), Call("1", "owner"))
    assert not found.result["ok"] and "not valid" in found.result["message"]
    assert found.for_brain["valid"] is False and "nonsense" not in json.dumps(found.for_brain)


def test_a_home_without_cases_is_not_in_order(home: Home) -> None:
    for path in (home.own_policy() / "cases").glob("*.toml"):
        path.unlink()
    found = home.tools["test_policy"].perform(TestPolicy.Args(), Call("1", "owner"))
    assert not found.result["ok"] and found.result["message"] == "There are no cases."


def test_both_only_read(home: Home) -> None:
    for tool, args in ((home.tools["explain_policy"], ExplainPolicy.Args(tool="pay")), (home.tools["test_policy"], TestPolicy.Args())):
        assert tool.propose(args).effects == {Effect.READ} and tool.recall("x").value == "not_started"


def test_an_explanation_without_any_tool_is_a_tool_failure(home: Home) -> None:
    with pytest.raises(ToolFailed, match="no such tool"):
        home.rulebook.explain("\u202efly", {}, Caller("owner", "web"))
