"""Mutants of the gate: the shipped rules and the fail-closed lines of our code, each with one condition taken away."""

import ast
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cedarpy

from policies.cases import run_cases
from policies.policy import EFFECTS, SHIPPED, Policy, Rules

ROOT = Path(__file__).resolve().parent.parent
GUARDED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "policies/judge.py": ((), ("judge", "rules", "cases", "explain")),
    "policies/policy.py": ((), ("policy", "judge", "intents")),
    "policies/consent.py": ((), ("consent", "approvals", "gateway")),
    "policies/glass.py": ((), ("glass", "consent", "approvals")),
    "policies/approvals.py": (("consume",), ("consume", "approvals", "intents")),
    "policies/ledger.py": (("reserve", "_left", "_sums", "used", "room"), ("ledger", "consume", "intents")),
    "policies/people.py": (("_change", "_fit", "role", "active_people", "add"), ("people", "consent")),
    "policies/identities.py": ((), ("identities",)),
}
"""File → the functions whose conditions count (none named: all), and the test modules of tests/policies that must notice, best first."""
SPARED = {
    # Each of these lines only says the same thing more precisely, or does it sooner; without it the verdict is the same.
    "policies/judge.py:_denying", "policies/judge.py:_outside", "policies/judge.py:_asking", "policies/judge.py:_not_listed",
    "policies/judge.py:_reach",
}
"""Functions that only choose words; what they return decides nothing."""


# ── Cedar ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class RuleMutant:
    """The shipped rules without one condition, or without one rule."""

    name: str
    document: dict[str, Any]

    def policy(self, policy: Policy) -> Policy:
        """The policy with these rules instead of its own."""
        assert policy.rules is not None
        rules = Rules(cedarpy.PolicySet.from_json_str(json.dumps(self.document)), policy.rules.schema)
        return Policy(policy.hash, policy.limits, rules, policy.source)

    def survives(self, policy: Policy) -> bool:
        """Whether every shipped case still holds."""
        return all(result.ok for result in run_cases(self.policy(policy), SHIPPED / "cases"))


def shipped() -> dict[str, Any]:
    """The shipped rules as Cedar's JSON."""
    text = "\n".join((SHIPPED / "rules" / f"{name}.cedar").read_text("utf-8") for name in EFFECTS)
    return json.loads(cedarpy.policies_to_json_str(text))


def rule_mutants() -> Iterator[RuleMutant]:
    """One for each operand of each `&&` (true) and `||` (false), one for each role of each list, one for each rule."""
    whole = shipped()
    for name, rule in whole["staticPolicies"].items():
        called = rule["annotations"]["id"]
        for path, value in _conditions(rule["conditions"][0]["body"]):
            broken = copy.deepcopy(whole)
            place = broken["staticPolicies"][name]["conditions"][0]["body"]
            for step in path[:-1]:
                place = place[step]
            gone = json.dumps(place[path[-1]])
            if value is None:
                del place[path[-1]]
            else:
                place[path[-1]] = {"Value": value}
            yield RuleMutant(f"{called} {'.'.join(str(one) for one in path)}: {gone[:90]}", broken)
        without = copy.deepcopy(whole)
        del without["staticPolicies"][name]
        yield RuleMutant(f"{called}: the whole rule", without)


def _conditions(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], bool | None]]:
    if isinstance(node, list):
        for index, part in enumerate(node):
            yield from _conditions(part, (*path, index))
        return
    if not isinstance(node, dict):
        return
    for op, body in node.items():
        if op in ("&&", "||"):
            for side in ("left", "right"):
                if op not in body[side]:
                    yield (*path, op, side), op == "&&"
        if op == "Set":
            yield from (((*path, op, index), None) for index in range(len(body)))
        if isinstance(body, dict | list):
            yield from _conditions(body, (*path, op))


# ── Python ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class CodeMutant:
    """One of our files without one condition."""

    file: str
    function: str
    line: int
    gone: str
    source: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """Where it is and what is missing."""
        return f"{self.file}:{self.line} {self.function}: {self.gone[:90]}"

    @property
    def key(self) -> str:
        """The same without the line, which moves."""
        return f"{self.file} {self.function}: {self.gone}"

    @property
    def module(self) -> str:
        """The module that it replaces."""
        return self.file.removesuffix(".py").replace("/", ".")


def code_mutants() -> Iterator[CodeMutant]:
    """One for each guard that is skipped, each operand of `and` and `or`, each clause of a `where`, each filter of a comprehension."""
    for file, (wanted, tests) in GUARDED.items():
        tree = ast.parse((ROOT / file).read_text("utf-8"), file)
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            if (wanted and function.name not in wanted) or f"{file}:{function.name}" in SPARED:
                continue
            for line, gone, undo in _removals(function):
                source = ast.unparse(tree)
                undo()
                yield CodeMutant(file, function.name, line, gone, source, tuple(f"tests/policies/test_{test}.py" for test in tests))


def _removals(function: ast.AST) -> Iterator[tuple[int, str, Any]]:
    """Change the tree in place, one condition at a time; each change is undone before the next."""
    for node in _own(function):
        if isinstance(node, ast.BoolOp):
            for index, operand in enumerate(list(node.values)):
                if len(node.values) < 2:
                    break
                neutral = ast.Constant(isinstance(node.op, ast.And))
                yield (*_swap(node.values, index, ast.copy_location(neutral, operand)),)
        elif isinstance(node, ast.If) and _guards(node):
            test, node.test = node.test, ast.copy_location(ast.Constant(False), node.test)
            yield node.lineno, f"if {ast.unparse(test)}", lambda node=node, test=test: setattr(node, "test", test)
        elif isinstance(node, ast.comprehension):
            for index in range(len(node.ifs)):
                yield (*_swap(node.ifs, index, ast.Constant(True)),)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "where":
            for index, clause in enumerate(list(node.args)):
                if not isinstance(clause, ast.Starred):
                    del node.args[index]
                    yield clause.lineno, f"where {ast.unparse(clause)}", lambda args=node.args, at=index, kept=clause: args.insert(at, kept)


def _swap(items: list[Any], index: int, other: ast.expr) -> tuple[int, str, Any]:
    kept, items[index] = items[index], other
    return kept.lineno, ast.unparse(kept), lambda: items.__setitem__(index, kept)


def _guards(node: ast.If) -> bool:
    complains = any(isinstance(part, ast.Expr) and ".append(" in ast.unparse(part) for part in node.body)
    return complains or any(isinstance(part, ast.Return | ast.Raise | ast.Continue) for part in node.body)


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Every node of a function, without those of the functions inside it, which have a turn of their own."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _own(child)
