"""The policy in force: Cedar rules and limits, validated and hashed once, frozen from then on."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cedarpy

from policies.limits import Limits

SHIPPED = Path(__file__).parent
EFFECTS = ("read", "local", "spend", "expose", "destroy")
_FORBID_MAY_USE = frozenset({"==", "!=", "<", "<=", ">", ">=", "&&", "||", "!", ".", "Value", "Var", "Set", "contains", "is", "in"})


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the engine said to one request."""

    allowed: bool
    rules: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """A validated set of rules behind the fail-closed wrapper."""

    policies: cedarpy.PolicySet
    schema: cedarpy.Schema
    entities: cedarpy.Entities = field(default_factory=lambda: cedarpy.Entities.from_json_str("[]"))
    authorize: Callable[..., cedarpy.AuthzResult] = cedarpy.is_authorized
    clock: Callable[[], float] = time.monotonic
    words: Mapping[str, str] = field(default_factory=dict)
    """Id of a rule → the comment above it, for whoever asks why."""

    @classmethod
    def parse(cls, text: str, schema: str) -> "Rules":
        """Parse, validate against the schema and lint. Raises ValueError that says what is wrong."""
        handle = cedarpy.Schema.from_str(schema)
        checked = cedarpy.validate_policies(text, handle)
        if not checked.validation_passed:
            raise ValueError(f"the rules do not match the schema: {'; '.join(str(error) for error in checked.errors)}")
        complaints = lint(text, schema)
        if complaints:
            raise ValueError("; ".join(complaints))
        return cls(cedarpy.PolicySet.from_str(text), handle, words=comments(text))

    def rule(self, request: Mapping[str, Any], limit_s: float) -> Ruling:
        """One decision; allowed only when the engine says Allow, without errors, within `limit_s` of wall time."""
        began = self.clock()
        try:
            said = self.authorize(dict(request), self.policies, self.entities, self.schema)
            decision, errors = said.decision, tuple(str(error) for error in said.diagnostics.errors)
            names = said.diagnostics.id_annotations_by_reason
            rules = tuple(sorted(names.get(reason, reason) for reason in said.diagnostics.reasons))
        except Exception as error:  # whatever the engine does, the answer is a refusal
            return Ruling(False, errors=(f"engine: {type(error).__name__}",))
        # A native call cannot be cut short, so its time is judged afterwards.
        if self.clock() - began > limit_s:
            return Ruling(False, rules, (*errors, f"engine: took longer than {limit_s} s"))
        if decision is cedarpy.Decision.NoDecision and not errors:
            errors = ("engine: no decision",)
        return Ruling(decision is cedarpy.Decision.Allow and not errors, rules, errors)


def comments(text: str) -> dict[str, str]:
    """The comment lines right above each `@id("…")`, joined, by id."""
    found = re.finditer(r'((?:^//[^\n]*\n)*)^@id\("([^"]+)"\)', text, re.MULTILINE)
    return {one[2]: " ".join(line.removeprefix("//").strip() for line in one[1].splitlines()) for one in found}


def lint(text: str, schema: str) -> list[str]:
    """What is wrong with a set although Cedar accepts it: optional attributes, and a `forbid` that could fail open."""
    wrong = []
    if "?" in _without_comments(schema):
        wrong.append("rules.cedarschema: every attribute must be required")
    document = json.loads(cedarpy.policies_to_json_str(text))
    for policy in document["staticPolicies"].values():
        name = policy.get("annotations", {}).get("id", "a rule without @id")
        if "id" not in policy.get("annotations", {}):
            wrong.append("a rule without @id: no record could say which rule decided")
        if policy["effect"] == "forbid":
            used = {op for condition in policy["conditions"] for op in _operators(condition["body"])} - _FORBID_MAY_USE
            if used:
                wrong.append(f"{name}: a forbid that can fail is skipped by the engine; it may not use {', '.join(sorted(used))}")
    if document["templates"]:
        wrong.append("templates are not used")
    return wrong


def _without_comments(text: str) -> str:
    return "\n".join(line.split("//")[0] for line in text.splitlines())


def _operators(node: Any) -> set[str]:
    if not isinstance(node, dict):
        return {one for part in node for one in _operators(part)} if isinstance(node, list) else set()
    found = set(node)
    for op, body in node.items():
        if op in ("Value", "Var"):
            continue
        parts = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
        for part in parts:
            found |= _operators(part) if isinstance(part, dict | list) else set()
    return found


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, limits and their common hash. `rules` is None where not even reading can be judged."""

    hash: str
    limits: Limits
    rules: Rules | None
    source: Path
    alarm: str = ""
    """Why only READ is permitted; empty when the set is whole."""

    @classmethod
    def load(cls, folder: Path | None = None) -> "Policy":
        """Read the policy from `folder` (`$LUTHIER_HOME/policy`) when it exists, else the shipped one.

        A folder that exists replaces the shipped policy as a whole. One that does not validate is never replaced by
        the shipped one: READ stays possible, everything else is denied, and `alarm` says why.
        """
        source = folder if folder is not None and folder.is_dir() else SHIPPED
        digest = policy_hash(source)
        try:
            return cls(digest, _limits(source), _rules(source), source)
        except (ValueError, OSError, KeyError) as error:
            alarm = f"The policy in {source} is not valid, so nothing but reading is permitted: {error}"
        try:
            return cls(digest, _limits(SHIPPED), _rules(SHIPPED, only="read"), source, alarm)
        except (ValueError, OSError, KeyError):
            return cls(digest, Limits.parse(_FLOOR), None, source, alarm)

    def changed_on_disk(self) -> str:
        """The hash of the files as they are now, when it differs from the one in force; else the empty string."""
        found = policy_hash(self.source)
        return "" if found == self.hash else found


def _files(folder: Path) -> list[Path]:
    rules = folder / "rules"
    return [folder / "limits.toml", rules / "rules.cedarschema", *sorted(rules.glob("*.cedar"))]


def policy_hash(folder: Path) -> str:
    """SHA-256 over names and bytes of every policy file; a missing file has its own mark."""
    whole = hashlib.sha256()
    for path in _files(folder):
        try:
            content = path.read_bytes()
        except OSError:
            content = b"\0missing"
        whole.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()


def _limits(folder: Path) -> Limits:
    return Limits.parse((folder / "limits.toml").read_text("utf-8"))


def _rules(folder: Path, only: str = "") -> Rules:
    rules = folder / "rules"
    paths = [rules / f"{only}.cedar"] if only else sorted(rules.glob("*.cedar"))
    missing = [f"{name}.cedar" for name in EFFECTS if not only and rules / f"{name}.cedar" not in paths]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    text = "\n".join(path.read_text("utf-8") for path in paths)
    return Rules.parse(text, (rules / "rules.cedarschema").read_text("utf-8"))


# The last resort when the shipped files themselves are broken: nothing may be spent, nobody may approve anything.
_FLOOR = """
[budget]
spending = false
per_run_usd = "0"
per_person_day_usd = "0"
team_month_usd = "0"
[approval]
self_approval = false
break_glass = false
quorum = 1000
two_person_usd = "0"
two_person_quorum = 1000
roles = []
max_pending = 1
local_hours = 1
other_hours = 1
execution_minutes = 1
denied_alarm = 1
denied_minutes = 1
[places]
regions = []
skus = []
max_hours = 1
[tokens]
per_person_day = 0
[hours]
local_run = 72
endpoint = 1
spend_from = 0
spend_to = 0
[audit]
checkpoint_records = 100
checkpoint_s = 60
witnesses = []
retention_days = 36500
[calls]
timeout_s = 7200
propose_timeout_s = 120
judge_timeout_s = 2.0
busy_retries = 0
at_once = 32
args_bytes = 100000
result_bytes = 1000000
"""
