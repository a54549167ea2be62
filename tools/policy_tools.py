"""The tools that ask the policy itself: why a call would be allowed, asked or denied, and whether its cases hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from policies.arguments import Malformed, parse
from policies.book import Book
from policies.cases import CaseResult, check_folder
from policies.explain import Explanation, explain
from policies.facts import known_facts
from policies.people import Caller
from policies.policy import Policy
from policies.proposal import Effect, Proposal
from policies.redact import visible
from policies.tool import Call, Recall, Result, Tool, ToolArgs, ToolFailed

_READS = Proposal(effects=frozenset({Effect.READ}), target="policy")
_NOTHING_TO_CHANGE = "No single change would alter it."


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The policy of a home, and the tools that it judges."""

    book: Book
    policy: Callable[[], Policy]
    """The one in force."""
    folder: Path
    """`$LUTHIER_HOME/policy`, which need not exist."""
    tools: Mapping[str, Tool]
    defaults: Callable[[str, Mapping[str, Any], Caller], Mapping[str, Any]]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def explain(self, name: str, raw: Mapping[str, Any], caller: Caller) -> tuple[Explanation, bool]:
        """What the policy says to one call, and whether its files are the ones in force. Raises ToolFailed when no such call can be."""
        tool, policy = self.tools.get(name), self.policy()
        what = f"Explain {visible(name)[:60]}"
        if tool is None:
            raise ToolFailed(what, "there is no such tool.", f"Known: {', '.join(sorted(self.tools))}.", kind="unknown")
        try:
            proposal = tool.propose(parse(tool, {**raw, **self.defaults(name, raw, caller)}))
        except Malformed as wrong:
            raise ToolFailed(what, wrong.reason, wrong.remedy, kind="malformed") from wrong
        facts = self.book.read(lambda conn: known_facts(conn, policy.limits, proposal, caller.person, self.clock()))
        return explain(proposal, name, caller, facts, policy), not policy.changed_on_disk()

    def test(self) -> tuple[list[CaseResult], Policy]:
        """Every case of the home's policy as it lies there now, and that policy."""
        return check_folder(self.folder)


class ExplainPolicy:
    """Says which rule decides about a call, and what would change that. The call itself is not made."""

    name: ClassVar[str] = "explain_policy"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Say whether a call of a tool would be allowed, would ask for a yes, or be denied; which rule decides, and what would change it. "
        "Nothing is done. Use it when asked why something needs an approval, or whether somebody may do something.")

    class Args(ToolArgs):
        """The call that is asked about."""

        tool: str = Field(min_length=1, max_length=60, description="The tool's name.")
        arguments: dict[str, JsonValue] | None = Field(default=None, description="Its arguments; leave out for none.")

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    def propose(self, args: Args, /) -> Proposal:
        """Only reads."""
        return _READS

    def perform(self, args: Args, call: Call, /) -> Result:
        """Let the tool propose, and the policy judge, as if the person asked for it now."""
        said, in_force = self._rulebook.explain(args.tool, args.arguments or {}, Caller(call.person, "web", thread=call.thread))
        notes: list[JsonValue] = [] if in_force else ["This is the policy in force; its files were changed and not read yet."]
        full = {**said.as_json(), "notes": notes, "message": _in_words(said)}
        rules: list[JsonValue] = [rule for one in said.effects for rule, _ in one.rules]
        changes: list[JsonValue] = [{"fact": one.fact, "verdict": one.verdict} for one in said.changes]
        return Result(full, {"tool": said.tool, "verdict": said.verdict, "quorum": said.quorum, "rules": rules, "changes": changes,
                             "effects": [one.effect for one in said.effects], "in_force": in_force, "message": _in_words(said)})

    def recall(self, call_id: str, /) -> Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED


class TestPolicy:
    """Runs the given / when / then cases of the policy that lies in the home now."""

    # The name begins with Test, and pytest would take it for a class of tests.
    __test__ = False

    name: ClassVar[str] = "test_policy"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Check the policy: run its given/when/then cases and say which do not hold. Use it after the rules or limits were edited, or when "
        "asked whether the policy is in order.")

    class Args(ToolArgs):
        """Nothing to choose."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    def propose(self, args: Args, /) -> Proposal:
        """Only reads."""
        return _READS

    def perform(self, args: Args, call: Call, /) -> Result:
        """Judge every case."""
        results, policy = self._rulebook.test()
        failed = [one for one in results if not one.ok]
        lines: list[JsonValue] = [{"file": one.file, "name": one.name, "wanted": one.wanted, "got": one.got, "words": one.words}
                                  for one in failed]
        ok = bool(results) and not failed and not policy.alarm
        words = policy.alarm or (f"{len(results) - len(failed)} of {len(results)} cases hold." if results else "There are no cases.")
        facts: dict[str, JsonValue] = {"ok": ok, "cases": len(results), "failed": len(failed)}
        result = {**facts, "failures": lines, "message": words, "alarm": policy.alarm, "source": str(policy.source), "hash": policy.hash}
        return Result(result, {**facts, "valid": not policy.alarm, "names": [one.name for one in failed[:20]]})

    def recall(self, call_id: str, /) -> Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED


def _in_words(said: Explanation) -> str:
    rules = ", ".join(dict.fromkeys(rule for one in said.effects for rule, _ in one.rules))
    match said.verdict:
        case "allow":
            first = f"It would be allowed, by {rules}."
        case "ask":
            people = "a yes" if said.quorum == 1 else f"a yes of {said.quorum} other people"
            first = f"It would need {people}, by {rules}. {said.reason}"
        case "deny":
            first = f"It would be denied. {said.reason} {said.remedy}".strip()
    words = {"allow": "allowed", "ask": "asked about", "deny": "denied"}
    changes = [f"{one.fact[:1].upper()}{one.fact[1:]}, it would be {words[one.verdict]}." for one in said.changes[:6]]
    return " ".join([first, *(changes or [_NOTHING_TO_CHANGE])])
