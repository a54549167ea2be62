"""docs/attacks.md and the tests hold each other: every attack in the table is tried, and every test is in the table."""

import ast
import re
from pathlib import Path

from tests.tools.fakes_runs import ROOT

HERE = Path(__file__).parent
ROW = re.compile(r"^\| (A\d+) \|.*\| (`test_\w+\.py`(?:, `test_\w+\.py`)*) \|$", re.MULTILINE)
LATER = {"A38", "A42", "A50", "A51", "A52"}
"""Attacks on parts that are not in this version."""


def tried() -> dict[str, set[str]]:
    """Attack → the files with a test that bears its number."""
    found: dict[str, set[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in re.findall(r"_a(\d+)(?=_)", node.name):
                    found.setdefault(f"A{number}", set()).add(path.name)
    return found


def told() -> dict[str, set[str]]:
    """Attack → the files that the table names."""
    text = (ROOT / "docs" / "attacks.md").read_text("utf-8")
    return {attack: set(re.findall(r"`(test_\w+\.py)`", files)) for attack, files in ROW.findall(text)}


def test_the_table_names_exactly_the_attacks_that_are_tried_and_where() -> None:
    assert told() == tried()


def test_no_attack_is_missing() -> None:
    assert set(told()) == {f"A{number}" for number in range(1, 58)} - LATER
