"""Loading a policy: whole or not at all, hashed, linted, never replaced by the shipped one behind one's back."""

import ast
import re
import shutil
from pathlib import Path

import cedarpy
import pytest

from policies.judge import Facts, judge
from policies.people import Caller
from policies.policy import EFFECTS, SHIPPED, Policy, Rules, comments, lint, policy_hash
from policies.proposal import Effect, Proposal
from policies.verdict import Allow, Deny

SCHEMA = (SHIPPED / "rules" / "rules.cedarschema").read_text()
RULES = "\n".join((SHIPPED / "rules" / f"{name}.cedar").read_text() for name in EFFECTS)
FORBID = '@id("no") forbid (principal, action, resource) when {{ {} }};'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped policy that a test may change."""
    made = tmp_path / "policy"
    shutil.copytree(SHIPPED / "rules", made / "rules")
    shutil.copyfile(SHIPPED / "limits.toml", made / "limits.toml")
    return made


def said(policy: Policy, effect: Effect) -> type:
    """The kind of verdict for a harmless proposal of this effect."""
    return type(judge(Proposal(frozenset({effect}), "x"), "tool", Caller("a", "cli"), Facts("owner", True, 0), policy))


def test_without_a_folder_the_shipped_policy_is_in_force(tmp_path: Path) -> None:
    for policy in (Policy.load(), Policy.load(tmp_path / "policy")):
        assert (policy.source, policy.alarm) == (SHIPPED, "") and said(policy, Effect.LOCAL) is Allow


def test_a_folder_replaces_the_shipped_policy_as_a_whole(folder: Path) -> None:
    (folder / "rules" / "local.cedar").write_text("// nothing local at all\n")
    policy = Policy.load(folder)
    assert policy.source == folder and not policy.alarm
    assert said(policy, Effect.READ) is Allow and said(policy, Effect.LOCAL) is Deny


def break_rule(folder: Path) -> None:
    """A condition that reads what no request has."""
    (folder / "rules" / "read.cedar").write_text('@id("x") permit (principal, action, resource) when { context.bribe };')


def break_syntax(folder: Path) -> None:
    """No Cedar."""
    (folder / "rules" / "read.cedar").write_text("everything is allowed")


def break_limits(folder: Path) -> None:
    """A key that nobody knows."""
    text = (folder / "limits.toml").read_text()
    (folder / "limits.toml").write_text(text.replace("[approval]", "[approval]\nask = false"))


def break_money(folder: Path) -> None:
    """An amount that is a float."""
    text = (folder / "limits.toml").read_text()
    (folder / "limits.toml").write_text(text.replace('per_run_usd = "50.00"', "per_run_usd = 50.0"))


def lose_rule(folder: Path) -> None:
    """One effect without a file."""
    (folder / "rules" / "destroy.cedar").unlink()


def lose_schema(folder: Path) -> None:
    """No schema, no policy."""
    (folder / "rules" / "rules.cedarschema").unlink()


def optional_attribute(folder: Path) -> None:
    """A schema that lets an attribute be missing."""
    path = folder / "rules" / "rules.cedarschema"
    path.write_text(SCHEMA.replace('"solo": Bool', '"solo"?: Bool'))


def empty(folder: Path) -> None:
    """A folder with nothing in it."""
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("harm", [
    break_rule, break_syntax, break_limits, break_money, lose_rule, lose_schema, optional_attribute, empty,
], ids=lambda harm: harm.__name__)
def test_a_policy_that_does_not_validate_leaves_nothing_but_reading_and_an_alarm(folder: Path, harm) -> None:
    harm(folder)
    policy = Policy.load(folder)
    assert str(folder) in policy.alarm
    assert said(policy, Effect.READ) is Allow
    assert {said(policy, effect) for effect in Effect if effect is not Effect.READ} == {Deny}


def test_a_denial_under_a_broken_policy_says_so(folder: Path) -> None:
    break_syntax(folder)
    verdict = judge(Proposal(frozenset({Effect.LOCAL}), "x"), "t", Caller("a", "cli"), Facts("owner", True, 0), Policy.load(folder))
    assert isinstance(verdict, Deny) and "not valid" in verdict.reason and "policy/" in verdict.remedy


def test_every_byte_of_every_file_is_in_the_hash(folder: Path) -> None:
    seen = {policy_hash(folder)}
    for path in sorted(folder.rglob("*.*")):
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(policy_hash(folder))
    (folder / "rules" / "more.cedar").write_text("")
    seen.add(policy_hash(folder))
    assert len(seen) == 9
    assert policy_hash(SHIPPED) == Policy.load().hash != policy_hash(folder)


def test_a_change_on_disk_is_seen_and_changes_nothing_in_force(folder: Path) -> None:
    policy = Policy.load(folder)
    assert policy.changed_on_disk() == ""
    (folder / "rules" / "read.cedar").write_text("")
    assert policy.changed_on_disk() not in ("", policy.hash) and said(policy, Effect.READ) is Allow
    shutil.rmtree(folder)
    assert policy.changed_on_disk()


@pytest.mark.parametrize("condition", [
    "context.cents + 1 > 5", "context.cents * 2 > 5", "context has role && context.role == \"x\"", "context.cents - 1 < 0",
    "ip(\"10.0.0.1\").isLoopback()", "context.role like \"a*\"", "if context.solo then true else false",
])
def test_a_forbid_that_could_fail_and_so_be_skipped_is_refused(condition: str) -> None:
    assert lint(RULES + FORBID.format(condition), SCHEMA)
    with pytest.raises(ValueError, match=r"forbid|schema|error|attribute"):
        Rules.parse(RULES + FORBID.format(condition), SCHEMA)


def test_a_forbid_over_what_is_always_there_is_accepted() -> None:
    rules = FORBID.format('context.via == "mcp" && context.cents > 100 && !context.solo || ["a"].contains(context.role)'
                          ' && resource == Object::"x"')
    Rules.parse(RULES + rules, SCHEMA)


def test_the_engine_really_skips_a_forbid_that_overflows_which_is_why_it_is_refused() -> None:
    policies = "permit (principal, action, resource);" + FORBID.format("context.n + 9223372036854775807 > 0")
    said = cedarpy.is_authorized(
        {"principal": 'P::"a"', "action": 'Action::"b"', "resource": 'R::"c"', "context": {"n": 1}}, policies, [])
    assert said.allowed and said.diagnostics.errors


def test_every_rule_has_an_id_and_a_comment_an_owner_can_read() -> None:
    for name in EFFECTS:
        text = (SHIPPED / "rules" / f"{name}.cedar").read_text()
        assert text.count("permit (") == text.count("@id(") and text.startswith("// ")
        assert "forbid" not in text.replace("//", "")


def test_no_code_of_ours_writes_a_policy_file() -> None:
    """Only `policy init` copies the shipped files, into a folder that is empty."""
    root = SHIPPED.parent
    naming = {
        path.relative_to(root).as_posix() for room in ("ui", "agent", "tools", "policies") for path in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and re.fullmatch(r"[^ ]*(limits\.toml|\.cedar(schema)?)", str(node.value))
    }
    assert naming <= {"policies/policy.py", "ui/cli_policy.py", "ui/cli_home.py"}
    text = (SHIPPED / "policy.py").read_text("utf-8")
    assert not any(word in text for word in ("write_", "open(", "unlink", "replace(path"))


def test_an_attribute_that_may_be_missing_is_refused_even_where_no_rule_reads_it() -> None:
    schema = SCHEMA.replace('"solo": Bool', '"gift"?: Bool,\n    "solo": Bool')
    assert cedarpy.validate_policies(RULES, cedarpy.Schema.from_str(schema)).validation_passed
    assert lint(RULES, schema) == ["rules.cedarschema: every attribute must be required"]
    with pytest.raises(ValueError, match="every attribute must be required"):
        Rules.parse(RULES, schema)
    assert lint(RULES, SCHEMA + "// why not?\n") == []


def test_a_rule_without_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="without @id"):
        Rules.parse(RULES + "permit (principal is Person, action == Action::\"READ\", resource) when { context.solo };", SCHEMA)


def test_templates_are_refused() -> None:
    assert "templates are not used" in lint(RULES + '@id("x") permit (principal == ?principal, action, resource);', SCHEMA)


def test_the_comment_above_a_rule_is_kept_for_whoever_asks_why() -> None:
    rules = Rules.parse(RULES, SCHEMA)
    assert rules.words["read-own"] == "Looking is free for every known person, at what is theirs or nobody's."
    assert len(rules.words) == RULES.count("@id(") and all(rules.words.values())
    assert comments('@id("a")\npermit (principal, action, resource);\n// one\n// two\n@id("b")') == {"a": "", "b": "one two"}


def test_when_even_the_shipped_policy_is_broken_nothing_at_all_is_permitted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "rules" / "read.cedar").write_text("nonsense")
    monkeypatch.setattr("policies.policy.SHIPPED", folder)
    policy = Policy.load()
    assert policy.rules is None and policy.alarm and not policy.limits.budget.spending and not policy.limits.approval.roles
    assert policy.limits.places.regions == [] and policy.limits.tokens.per_person_day == 0
    assert {said(policy, effect) for effect in Effect} == {Deny}
