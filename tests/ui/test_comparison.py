"""A comparison of runs as a table and as curves."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from ui.comparison import comparison, comparison_card
from ui.terminal import comparison_table


def run(run_id: str, r: int, **more: Any) -> dict[str, Any]:
    return {"run_id": run_id, "name": "", "state": "finished", "differs": {"lora_r": r}, "steps": 1200, "loss": 1.0, "eval_loss": 0.5,
            "tuned": 0.4, "verdict": "first", "seconds": 600.0, "peak_memory_bytes": 2 * 1024**3, **more}


RESULT: dict[str, Any] = {
    "sweep": "s", "differs": ["lora_r", "lora_alpha"], "best": "0000000002", "same_data": True, "same_model": True,
    "runs": [run("0000000001", 8), run("0000000002", 16, tuned=0.9, verdict="better", name="wide [bold]"),
             run("0000000003", 32, state="cancelled", tuned=None, eval_loss=None, seconds=None, peak_memory_bytes=None,
                 verdict="not_measured")],
    "curves": {"0000000001": {"loss": [[1, 3.0], [2, 2.0]], "eval_loss": [[2, 2.1]]}, "0000000002": {"loss": [[1, 2.5]], "eval_loss": []},
               "0000000003": {"loss": [], "eval_loss": []}},
}


def test_the_table_has_what_differs_and_marks_the_best() -> None:
    table = comparison(RESULT)
    assert table is not None
    assert table["headings"] == ["Run", "lora r", "State", "Steps", "Held-out loss", "Exact", "Against the first", "Time", "Memory"]
    assert table["rows"][0]["cells"] == ["0000000001", "8", "finished", "1,200", "0.500", "40%", "the first", "10 min", "2.0 GiB"]
    assert [row["best"] for row in table["rows"]] == [False, True, False]
    assert table["rows"][2]["cells"][4:] == ["–", "–", "", "–", "–"] and "0000000002" in table["note"]


def test_the_card_has_one_curve_a_run_named_by_what_differs() -> None:
    card = comparison_card(RESULT)
    assert card is not None and card["card"] == "Comparison" and card["sweep"] == "s"
    assert [each["label"] for each in card["curves"]] == ["lora r 8", "lora r 16", "lora r 32"]
    assert card["curves"][0]["train"] == [[1, 3.0], [2, 2.0]] and card["curves"][0]["eval"] == [[2, 2.1]]


def test_other_data_and_no_score_are_said() -> None:
    table = comparison({**RESULT, "best": "", "same_data": False, "same_model": False})
    assert table is not None and not any(row["best"] for row in table["rows"])
    assert "No run has a score" in table["note"] and "different data" in table["note"] and "different models" in table["note"]


@pytest.mark.parametrize(
    "result", [{}, {"runs": []}, {"runs": [run("0000000001", 8)], "curves": {}}, {"runs": "x", "curves": {}}, {"runs": [1, 2]}]
)
def test_other_results_are_no_comparison(result: dict[str, Any]) -> None:
    assert comparison(result) is None and comparison_card(result) is None


def test_the_terminal_shows_the_same_table_as_plain_text() -> None:
    table = comparison(RESULT)
    assert table is not None
    out = StringIO()
    Console(file=out, width=160).print(comparison_table(table))
    assert "★ 0000000002 (wide [bold])" in out.getvalue() and "Held-out loss" in out.getvalue()
