"""What a comparison of runs shows, as plain data: one table, its best row marked, and the curves of one chart. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ui.cards import duration, size

WORDS = {"first": "the first", "better": "better", "worse": "worse", "no_clear_difference": "no clear difference", "not_measured": ""}


class Row(TypedDict):
    """One run's line."""

    run_id: str
    cells: list[str]
    best: bool


class Compared(TypedDict):
    """The table: its headings, a line for each run."""

    headings: list[str]
    rows: list[Row]
    note: str


def comparison(result: Mapping[str, Any]) -> Compared | None:
    """The table in a result of `compare_runs`; None when the result is none."""
    runs = result.get("runs")
    if not isinstance(runs, Sequence) or isinstance(runs, str) or not isinstance(result.get("curves"), Mapping) or len(runs) < 2:
        return None
    shown = [each for each in runs if isinstance(each, Mapping)]
    differs = [str(name) for name in result.get("differs") or ()]
    if "lora_r" in differs:  # alpha follows r: a column of its own would say it twice
        differs = [name for name in differs if name != "lora_alpha"]
    best = str(result.get("best") or "")
    settings = [name.replace("_", " ") for name in differs]
    headings = ["Run", *settings, "State", "Steps", "Held-out loss", "Exact", "Against the first", "Time", "Memory"]
    rows = [Row(run_id=str(each.get("run_id", "")), cells=_cells(each, differs), best=bool(best) and each.get("run_id") == best)
            for each in shown]
    return Compared(headings=headings, rows=rows, note=_note(result, best))


def comparison_card(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The properties of the Comparison card, or None when the result is no comparison."""
    table = comparison(result)
    if table is None:
        return None
    curves: Mapping[str, Any] = result["curves"]
    drawn = [
        {"run_id": row["run_id"], "label": _label(row, table), "best": row["best"], "train": list(found.get("loss") or ()),
         "eval": list(found.get("eval_loss") or ())}
        for row in table["rows"] if isinstance(found := curves.get(row["run_id"]), Mapping)
    ]
    return {"card": "Comparison", **table, "sweep": str(result.get("sweep") or ""), "curves": drawn}


def _cells(each: Mapping[str, Any], differs: Sequence[str]) -> list[str]:
    own = each.get("differs")
    values = own if isinstance(own, Mapping) else {}
    seconds, peak = each.get("seconds"), each.get("peak_memory_bytes")
    name = f" ({each['name']})" if each.get("name") else ""
    return [
        f"{each.get('run_id', '')}{name}", *(_value(values.get(one)) for one in differs), str(each.get("state", "")),
        f"{each.get('steps') or 0:,}", _figure(each.get("eval_loss")), _share(each.get("tuned")), WORDS.get(str(each.get("verdict")), ""),
        duration(seconds) if isinstance(seconds, int | float) else "–", size(peak) if isinstance(peak, int | float) else "–",
    ]


def _label(row: Row, table: Compared) -> str:
    """What a curve is called: the settings that differ, else the run's id."""
    differing = table["headings"][1 : table["headings"].index("State")]
    return ", ".join(f"{name} {value}" for name, value in zip(differing, row["cells"][1:], strict=False)) or row["run_id"]


def _note(result: Mapping[str, Any], best: str) -> str:
    how = "most exact answers on held-out rows, then the lower held-out loss"
    parts = [f"The best is {best}: {how}." if best else "No run has a score yet."]
    if result.get("same_data") is False:
        parts.append("They were trained on different data, so their scores cannot be weighed against each other.")
    if result.get("same_model") is False:
        parts.append("They started from different models.")
    return " ".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no"}.get(value, "–") if value is not None else "–"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"


def _share(value: Any) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else "–"
