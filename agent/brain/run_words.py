"""What the command assistant says of runs: their state, their start and their end."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.brain.cloud_words import where_it_runs
from agent.brain.units import duration

Facts = Mapping[str, Any]
KINDS: Mapping[str, str] = {
    "oom": " (out of memory)", "gpu_oom": " (the GPU's memory was not enough)", "disk": " (no room on the disk)", "data": " (the data)",
    "diverged": " (the loss diverged)", "infra": " (Azure could not start it)", "start": " (it did not start)",
    "quota": " (Azure has no quota for it)", "unreachable": " (it gave no more sign of life)", "cap": " (its money was used up)",
    "deadline": " (its time was up)", "expiry": " (its approval is too old)",
    "gpu_lost": " (the GPU was lost)", "killed": " (it was killed)",
}
"""How an end is put in brackets, by its kind."""
ELSEWHERE = frozenset({"infra", "quota"})
"""Kinds that another GPU or region may be free of."""

_PHASES: Mapping[str, str] = {
    "approved": "its folder is being made", "uploading": "its files are uploaded", "provisioning": "Azure makes its job",
    "job_ready": "its job is ready", "start_requested": "its start is asked for", "start_unknown": "its start is looked for",
    "starting": "waiting for a machine", "infra_retry": "Azure failed to start it; it is tried once more",
    "finishing": "its result is there", "downloading": "its results are downloaded", "stopping": "stopping",
    "over_budget": "stopping: its money is used up",
    "lost": "it cannot be found in Azure",
}
OLD_JOB = "Its job in Azure is past its expiry: “delete the expired jobs” takes it away."


def score_words(facts: Facts) -> str:
    """The held-out scores that were measured; empty where there are none."""
    found = facts.get("exact_match") or {}
    parts = [f"{name} {found[name]:.0%}" for name in ("baseline", "tuned", "exported") if isinstance(found.get(name), int | float)]
    return f"Held-out exact match: {', '.join(parts)}. " if parts else ""


def kind_of(facts: Facts) -> str:
    """What made a run fail, in brackets; empty where nobody knows."""
    return KINDS.get(str(facts.get("kind")), "")


def _run(facts: Facts) -> str:
    run, state = facts.get("run_id", ""), facts.get("state", "unknown")
    said = f"Run {run} is {state}{_doing(facts)}"
    if facts.get("step"):
        said += f", step {facts['step']} of {facts.get('steps', '?')}"
    if isinstance(facts.get("loss"), int | float):
        said += f", loss {facts['loss']:.3f}"
    if state == "running" and facts.get("eta_s"):
        said += f", about {duration(facts['eta_s'])} left"
    if facts.get("spent") not in (None, "", "0.00"):
        said += f", {facts['spent']} {facts.get('currency', 'USD')} so far"
    return f"{said}. {score_words(facts)}{OLD_JOB if facts.get('past_expiry') else ''}".strip()


def _doing(facts: Facts) -> str:
    """The phase of a run in Azure, in brackets, and what Azure is waiting for; empty for all others."""
    known = _PHASES.get(str(facts.get("phase"))) if facts.get("cloud") and facts.get("state") in ("queued", "running") else None
    waits = str(facts.get("waiting") or "")
    return f" ({waits or known})" if known else ""


def _runs(facts: Facts) -> str:
    states = facts.get("by_state") or {}
    if not facts.get("total"):
        return "No such run was found. Say for example: Fine-tune the bundled model on samples/helpdesk.jsonl"
    listed = [f"{each.get('run_id')} ({each.get('state')})" for each in facts.get("runs") or []][:5]
    counted = ", ".join(f"{number} {state}" for state, number in states.items())
    old = facts.get("past_expiry") or 0
    offer = f" Jobs in Azure past their expiry: {old}. Say “delete the expired jobs” to clear up." if old else ""
    return f"{facts['total']} run{'' if facts['total'] == 1 else 's'}: {counted}. Newest: {', '.join(listed)}.{offer}"


def _logs(facts: Facts) -> str:
    errors = facts.get("lines_with_errors") or 0
    heard = {"stream": "Azure's log stream", "analytics": "Azure's late copy of the log", "system": "what Azure says of its container"}
    if facts.get("source") == "none":
        return "Its log has not begun, and Azure has heard nothing of its container yet."
    whence = heard.get(str(facts.get("source")), "")
    begun = f" They are from {whence}: the run's own log has not begun." if whence else ""
    return f"The last {facts.get('lines', 0)} lines are shown; {errors} of them speak of errors.{begun}"


def _compared(facts: Facts) -> str:
    runs = facts.get("runs") or []
    best = next((each for each in runs if each.get("run_id") == facts.get("best")), None)
    said = f"{len(runs)} runs are side by side above"
    if best is None:
        return f"{said}; none of them has a score yet."
    values = " and ".join(f"{str(name).replace('_', ' ')} {value}" for name, value in (best.get("differs") or {}).items())
    share = f", {best['tuned']:.0%} exact on held-out rows" if isinstance(best.get("tuned"), int | float) else ""
    clear = all(each.get("verdict") in ("first", "better", "worse") for each in runs)
    sure = "" if clear else " Not every difference is clear; see the table."
    return f"{said}. The best is {best['run_id']}{f' with {values}' if values else ''}{share}.{sure}"


def _started(facts: Facts) -> str:
    if isinstance(runs := facts.get("run_ids"), list) and len(runs) > 1:
        return f"The sweep's {len(runs)} runs go one after the other; the first is {runs[0]}. A table compares them at the end."
    if facts.get("waits"):
        return f"Run {facts.get('run_id', '')} waits for its turn on this machine. The card shows its place, and I say when it ends."
    if away := where_it_runs(facts):
        return away
    steps = f", {facts['steps']} steps" if facts.get("steps") else ""
    return f"Run {facts.get('run_id', '')} has started{steps}. The card shows it live, and I say when it ends."


def _cancelled(facts: Facts) -> str:
    if isinstance(stopped := facts.get("stopped"), list):
        if not stopped:
            return "All runs of that sweep had already ended."
        return f"The sweep stops: {len(stopped)} of its runs {'end' if len(stopped) > 1 else 'ends'}; checkpoints are kept."
    if facts.get("stopping"):
        return f"Run {facts.get('run_id', '')} is stopping; its checkpoints are kept."
    return f"Run {facts.get('run_id', '')} is {facts.get('state', 'stopped')}."


RUN_WORDS: dict[str, Callable[[Facts], str]] = {
    "run_status": _run, "list_runs": _runs, "tail_logs": _logs, "start_finetune": _started, "resume_run": _started,
    "cancel_run": _cancelled, "compare_runs": _compared,
}
