"""Results in words: short, from typed facts, whole sentences even when facts are missing."""

from typing import Any, get_args

import pytest

from agent.brain.run_words import ELSEWHERE, KINDS
from agent.brain.words import _DONE, say_notice, say_result
from tools.runs.evidence import Kind


@pytest.mark.parametrize("tool", _DONE)
def test_missing_facts_never_break_a_sentence(tool: str) -> None:
    said = say_result(tool, {"status": "done"})
    assert said and said[-1] in ".:l" and "None" not in said


@pytest.mark.parametrize(
    ("tool", "facts", "said"),
    [
        (
            "validate_dataset",
            {"ok": True, "rows": 4, "format": "chat", "split": {"train": 3, "test": 1}},
            "4 rows (chat), 3 to train on and 1 held out",
        ),
        ("estimate_cost", {"fits": False, "reason": "too big"}, "It does not fit: too big. Choose"),
        (
            "run_status",
            {"run_id": "r", "state": "running", "step": 5, "steps": 60, "loss": 1.23456, "eta_s": 300},
            "step 5 of 60, loss 1.235, about 5 min left",
        ),
        ("run_status", {"run_id": "r", "state": "finished", "exact_match": {"baseline": 0.0, "tuned": 0.8}}, "baseline 0%, tuned 80%"),
        ("evaluate_model", {"verdict": "better", "gain": {"value": 0.5, "ci_low": 0.3, "ci_high": 0.7, "rows": 72}}, "rose by 50.0 points"),
        ("evaluate_model", {"verdict": "worse", "gain": {"value": -0.5, "rows": 72}}, "fell by 50.0 points"),
        ("list_runs", {"total": 0}, "No such run was found"),
        ("ask_model", {"answers": [{}, {}]}, "side by side"),
        ("spend_report", {"reserved": "0.00", "settled": "0.00"}, "Nothing has been spent"),
        ("spend_report", {"reserved": "0.00", "settled": "0.002775", "budgets": [{"name": "your day", "left": "99.997225"}]},
         "Spent by you: less than 0.01 USD. Reserved for what still runs: 0.00 USD. Left: 99.99 USD of your day."),
        ("spend_report", {"reserved": "4.20", "settled": "1.25", "currency": "USD"}, "Spent by you: 1.25 USD. Reserved"),
        ("explain_policy", {"message": "It would need a yes, by local-long."}, "It would need a yes"),
        ("test_policy", {"cases": 12, "failed": 0, "valid": True}, "all 12 cases hold"),
        ("test_policy", {"cases": 12, "failed": 1, "names": ["a viewer trains"]}, "1 of 12 cases do not hold: “a viewer trains”"),
        ("test_policy", {"valid": False}, "not valid"),
    ],
)
def test_a_result_is_said(tool: str, facts: dict[str, Any], said: str) -> None:
    assert said in say_result(tool, {"status": "done", **facts})


@pytest.mark.parametrize(
    ("notice", "said"),
    [
        ({"kind": "outcome", "facts": {"status": "done", "tool": "start_finetune", "run_id": "r"}}, "Run r has started"),
        (
            {"kind": "outcome", "facts": {"status": "failed", "tool": "start_finetune", "reason": "No room.", "remedy": "Make room."}},
            "Make room.",
        ),
        ({"kind": "run", "facts": {"run_id": "r", "state": "finished"}}, "ask both"),
        ({"kind": "run", "facts": {"run_id": "r", "state": "failed", "kind": "oom"}}, "out of memory"),
        ({"kind": "run", "facts": {"run_id": "r", "state": "failed", "kind": "infra"}}, "what would it cost on azure?"),
        ({"kind": "run", "facts": {"run_id": "r", "state": "cancelled", "kind": "cap", "step": 7}}, "at step 7 (its money was used up)"),
        ({"kind": "run", "facts": {"run_id": "r", "state": "cancelled", "kind": "person", "step": 7}}, "at step 7."),
        ({"kind": "run", "facts": {"run_id": "r", "state": "interrupted"}}, "resume the run"),
        ({"kind": "run", "facts": {"run_id": "r", "state": "lost"}}, "Run r is lost."),
        ({"kind": "denied", "facts": {}}, "nothing was done"),
        ({"kind": "expired", "facts": {}}, "Say it again"),
        ({"kind": "else"}, "Noted."),
    ],
)
def test_a_notice_is_said(notice: dict[str, Any], said: str) -> None:
    assert said in say_notice(notice)


def test_every_kind_of_an_end_that_is_put_into_words_is_one_that_runs_have() -> None:
    assert set(KINDS) <= set(get_args(Kind)) and set(KINDS) >= ELSEWHERE
