"""The tables of runs.md, written from the states, the evidence and the kinds in the code, between its two marks."""

from pathlib import Path

BEGIN, END = "<!-- tables: written by `python -m docs.reference` -->", "<!-- end of tables -->"
PAGE = Path(__file__).resolve().parent / "runs.md"


def runs_page() -> str:
    """runs.md as it stands, its tables as the code has them."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_states()}\n\n{_evidence()}\n\n{_kinds()}\n\n{END}{after}"


def _states() -> str:
    from tools.runs.state import ALIVE, RESUMABLE, RunState, may_become

    rows = [
        f"| {now.value} | {', '.join(then.value for then in RunState if may_become(now, then)) or 'nothing'} | "
        f"{'yes' if now in ALIVE else ''} | {'yes' if now in RESUMABLE else ''} |"
        for now in RunState
    ]
    return "\n".join(["| state | may become | alive | can be resumed |", "| --- | --- | --- | --- |", *rows])


def _evidence() -> str:
    from tools.runs.evidence import RULES

    rows = [f"| {n} | {rule.seen} | {rule.state.value} | {'as the engine says' if rule.kind_of else rule.kind} |"
            for n, rule in enumerate(RULES, 1)]
    head = "The first row that holds decides:\n"
    return "\n".join([head, "| | what is seen | state | kind |", "| --- | --- | --- | --- |", *rows])


def _kinds() -> str:
    from typing import get_args

    from tools.runs.evidence import WORDS, EngineKind

    own = [f"| {kind} | {words} |" for kind, words in WORDS.items()]
    engine = ", ".join(f"`{kind}`" for kind in get_args(EngineKind))
    return "\n".join(["| kind | what a person reads |", "| --- | --- |", *own]) + (
        f"\n\nThe engine itself may say: {engine}; its own sentence is then shown.")
