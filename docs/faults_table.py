"""The table of faults.md: read from the marks of the tests that prove them, without running or importing any."""

import ast
from dataclasses import dataclass
from pathlib import Path

from docs.cloud_weather import weather_tables

ROOT = Path(__file__).resolve().parent.parent
LATER = {
    "F27": ("Postgres is restarted in the middle of a transaction", "Postgres"),
    "F30": ("Slack delivers the same event three times", "Slack"),
    "F31": ("the identity provider is down", "single sign-on"),
}
"""Faults of parts that are not in this version: what happens, and the part they come with."""
HEAD = """# Faults

Written by `python -m docs.reference` from the tests that prove each row; do not edit it by hand.

`make test` drives a sample of all points and calls and every test named here; `make faults` drives all of them: kill -9 at every fault
point of the gate, of local runs, and of all that is made, run, deployed and torn down in the cloud, beside every commit and beside the
writes that leave the process, an error from every writing statement, every commit and every file operation of a run folder, and the
bundled model killed at random steps. After each, the same program is started again on the same home, lives on to the end, and has to
keep these promises:

| promise | |
| --- | --- |
| I1 | no effect without a yes that was used for it |
| I2 | an approved attempt begins once, and the machine trains one run at a time |
| I3 | the ledger stays below its cap, and what never began holds no money for ever |
| I4 | the record verifies, and each intent has one outcome |
| I5 | nothing that was answered is lost |
| I6 | within ten seconds of a start, each run is shown as what it is |

A clock that is set forward or back by a day misjudges no run and no place in the queue: lengths of time are counted by the kernel. An
approval is a matter of dates: set forward, it has expired; set back, it is good for longer than it was meant to be.

A test that needs a mount of its own, or a group with a memory limit, is skipped with its reason on a machine that allows neither.

| fault | what happens | expected | proven by |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """One mark of one test."""

    number: str
    fault: str
    expected: str
    test: str
    """Path and name, as pytest takes them."""


def proofs() -> list[Proof]:
    """Every `@proves(...)` below tests/, in the order of files."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "@proves(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "proves":
                        number, fault, expected = (str(ast.literal_eval(arg)) for arg in mark.args)
                        found.append(Proof(number, fault, expected, f"{path.relative_to(ROOT).as_posix()}::{node.name}"))
    return found


def faults_page() -> str:
    """faults.md as the tests have it."""
    rows: dict[str, str] = {}
    every = proofs()
    for each in every:
        tests = "<br>".join(f"`{other.test}`" for other in every if other.number == each.number)
        rows.setdefault(each.number, f"| {each.number} | {each.fault} | {each.expected} | {tests} |")
    for number, (fault, part) in LATER.items():
        rows.setdefault(number, f"| {number} | {fault} | | not yet: comes with {part} |")
    return HEAD + "\n".join(rows[number] for number in sorted(rows, key=lambda number: int(number[1:]))) + "\n" + weather_tables()
