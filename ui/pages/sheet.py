"""A run's report as the parts of its page: tables of label and value, files, checkpoints, what happened. Pure."""

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ui import figures
from ui.cards import duration, size
from ui.pages.drawing import draw, points
from ui.pages.plain import flat
from ui.pages.story import at
from ui.terminal import line_of

Row = tuple[str, str]
ANSWERED = {"resume": "resume_run", "stop": "cancel_run", "evaluate": "evaluate_model"}
"""The buttons of a run's page and the tools they call, beside "do it again"."""
RIGHT = "as the manifest says"


def live(view: Mapping[str, Any], mine: bool) -> dict[str, Any]:
    """What changes while a run goes. `mine` says whether the reader may press its buttons."""
    doing = {"stop": figures.going(view), "resume": figures.resumable(view), "evaluate": view.get("state") == "finished"}
    return {
        "state": view.get("state"), "words": figures.state_words(view), "tone": figures.tone(view), "going": figures.going(view),
        "percent": round(100 * figures.part_done(view), 1), "tiles": figures.figures(view), "scores": figures.score_rows(view),
        "progress": str(view.get("progress") or ""), "reason": str(view.get("reason") or ""),
        "warnings": [str(each) for each in view.get("warnings") or ()],
        "buttons": [name for name, wanted in doing.items() if wanted and mine],
        "attempt": view.get("attempt"), "step": view.get("step") or 0, "steps": view.get("steps") or 0,
    }


def sheet(report: Mapping[str, Any]) -> dict[str, Any]:
    """What does not change, or only at the end."""
    view, curve = report["view"], report["curve"]
    return {
        "heading": view.get("name") or "Run",
        "about": facts(view), "drawing": draw(curve["train"], curve["eval"], view.get("steps")),
        "train": compact(curve["train"]), "eval": compact(curve["eval"]),
        "settings": flat(report["settings"]), "settings_note": report["settings_note"],
        "environment": environment(report["environment"]), "environment_note": report["environment_note"],
        "data": data(report), "checkpoints": [checkpoint(each) for each in report["checkpoints"]],
        "flags": flags(report["environment"]), "files": [file_row(each) for each in report["files"]],
        "any_right": any(each["note"] == RIGHT for each in report["files"]),
        "files_note": report["files_note"], "files_problem": report["files_problem"],
        "total": size(sum(each["bytes"] for each in report["files"])),
        "cloud": in_azure(view, report["approved"]), "phases": phases(report["phases"]),
        "happened": [happening(each) for each in report["happened"]], "evidence": flat(report["evidence"]),
        "siblings": [list_row(each) for each in report["siblings"]], "log": report["log"]["lines"],
        "again": [(name.replace("_", " "), line_of(value)) for name, value in (report["again"].get("args") or {}).items()],
        "can_again": bool(report["again"]),
    }


def facts(view: Mapping[str, Any]) -> list[Row]:
    """What it is and whose."""
    rows = [("Run", view["run_id"]), ("Owner", view.get("owner")), ("Model", view.get("model")), ("Data", view.get("dataset")),
            ("Method", view.get("method")), ("Where", view.get("where")), ("Attempt", view.get("attempt")),
            ("Asked for", moment(view.get("created_at"))), ("Began", moment(view.get("started_at"))),
            ("Ended", moment(view.get("ended_at"))), ("Cost", figures.money_words(view))]
    return [(label, str(value)) for label, value in rows if value not in (None, "")]


def environment(found: Mapping[str, Any]) -> list[Row]:
    """The versions, threads and the like that the engine wrote down when it began."""
    plain = {name: value for name, value in found.items() if name not in {"attempts", "cpu_flags", "versions", "binding"}}
    rows = flat(plain)
    for name, label in (("versions", "Version of"), ("binding", "Bound to")):
        if isinstance(parts := found.get(name), Mapping):
            rows += flat({part: value for part, value in parts.items() if part != "settings"}, label)
    attempts = found.get("attempts")
    for number, each in enumerate(attempts if isinstance(attempts, Sequence) and not isinstance(attempts, str) else (), 1):
        began = figures.number(each.get("at")) if isinstance(each, Mapping) else None
        rows.append((f"Attempt {number} began", figures.DASH if began is None else stamp(began)))
    return rows


def flags(found: Mapping[str, Any]) -> str:
    """The processor's instruction sets as the engine wrote them down."""
    named = found.get("cpu_flags")
    return " ".join(str(each) for each in named) if isinstance(named, Sequence) and not isinstance(named, str) else ""


def file_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """A file as a row of the page."""
    note = found["note"]
    return {**found, "size": figures.bytes_words(found["bytes"]) if found["bytes"] else "0 KiB", "right": note == RIGHT,
            "changed": note.startswith("changed")}


def data(report: Mapping[str, Any]) -> list[Row]:
    """Data and base weights by their digests, and the rows of each split."""
    found, rows = report["data"], report["data"]["rows"]
    names = {"train": "to learn from", "validation": "to watch", "test": "held out"}
    counted = ", ".join(f"{rows[split]:,} {words}" for split, words in names.items() if split in rows)
    return [("Rows", counted or "cannot be counted"), ("Data digest", found["digest"] or figures.DASH),
            ("Base weights digest", report["base"] or figures.DASH)]


def checkpoint(found: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint as a row of the page."""
    return {"step": f"{found['step']:,}", "files": found["files"], "size": size(found["bytes"]),
            "words": "complete" if found["sealed"] else "not complete: it is not used", "tone": "good" if found["sealed"] else "wait"}


def happening(found: Mapping[str, Any]) -> dict[str, str]:
    """A change of state as a row of the page."""
    before, then = (figures.STATES.get(found[side], found[side]) for side in ("from", "to"))
    return {"when": moment(found["at"]), "what": f"{before} → {then}" if before not in ("", then) else then, "why": found["reason"],
            "tone": figures.TONES.get(found["to"], "")}


def in_azure(view: Mapping[str, Any], approved: Sequence[Sequence[Any]]) -> list[Row]:
    """Where in Azure, on whose account, on what, and what it may cost; empty for a run that never was there."""
    cloud = figures.cloud_of(view)
    if not cloud:
        return []
    expiry, job = moment(cloud.get("expires_at")), str(cloud.get("job") or "")
    kept = f"kept until somebody deletes it; past its expiry since {expiry}" if cloud.get("past_expiry") else f"{job}, expires {expiry}"
    rows = [
        ("Region", cloud.get("region")), ("Hardware", f"{cloud.get('gpu') or ''} ({cloud.get('profile') or ''})"),
        ("Execution", cloud.get("execution")), ("Azure is", cloud.get("waiting")), ("Image", cloud.get("image")),
        *((str(label), value) for label, value in approved),
        ("By the hour", f"{cloud.get('per_hour')} {view.get('currency') or ''}"), ("Cost so far", figures.money_words(view)),
        ("Settled", "yes: the reservation is free again" if cloud.get("settled") else "not yet"),
        ("Job", job if job == "deleted" else kept),
    ]
    return [(label, str(value)) for label, value in rows if value not in (None, "")]


def phases(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The phases of a run in Azure, each with when it began and how long it lasted."""
    words = {**figures.PHASES, **figures.ENDS}
    begun = [instant(each["at"]) for each in found]
    lasted = [(then - now).total_seconds() if now and then else None for now, then in itertools.pairwise(begun)]
    return [{"when": moment(each["at"]), "what": words.get(each["to"], each["to"]), "attempt": str(each["attempt"]), "why": each["why"],
             "lasted": "" if seconds is None else duration(seconds)}
            for each, seconds in zip(found, [*lasted, None], strict=False)]


def instant(utc: Any) -> datetime | None:
    """A stored time; None for anything that is none."""
    try:
        return datetime.fromisoformat(utc)
    except (TypeError, ValueError):
        return None


def list_row(view: Mapping[str, Any]) -> dict[str, Any]:
    """A run as a row of the list."""
    return {
        "id": view["run_id"], "name": view.get("name") or view["run_id"], "words": figures.state_words(view), "tone": figures.tone(view),
        "model": view.get("model") or "", "data": view.get("dataset") or "", "steps": figures.step_words(view),
        "loss": figures.figure(view.get("loss"), 3), "held": figures.figure(view.get("eval_loss"), 3),
        "when": moment(view.get("created_at")), "cost": figures.money_words(view),
    }


def compact(curve: Any) -> str:
    """The points of a curve as JSON for the page's script."""
    return json.dumps([[int(step), value] for step, value in points(curve)], separators=(",", ":"))


def moment(utc: Any) -> str:
    """A stored time in the machine's own zone; a dash for anything that is none."""
    try:
        return at(utc) if utc else ""
    except (TypeError, ValueError):
        return figures.DASH


def stamp(seconds: float) -> str:
    """Unix seconds as a time; a dash beyond the calendar."""
    try:
        return at(datetime.fromtimestamp(seconds, UTC).isoformat())
    except (OverflowError, OSError, ValueError):
        return figures.DASH
