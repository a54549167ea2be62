"""How a run in the cloud ended: the result on the share, then the runner's exit, then what Azure says, then the clock."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tools.runs.cloud_row import CloudRow
from tools.runs.evidence import Facts, Finding, Kind, what_happened
from tools.runs.state import RunState

ORDER_KINDS: Mapping[str, Kind] = {
    "cap": "cap", "deadline": "deadline", "silence": "unreachable", "no_start": "start", "expiry": "expiry", "person": "person",
}
"""What an end is called that a standing order, or a person, brought about."""
SAID: Mapping[str, str] = {
    "cap": "Its money was used up, and the standing order of its approval stopped it. Its last checkpoint is on the share.",
    "deadline": "It reached the time limit of its plan and was stopped. Resume it to go on.",
    "silence": "It gave no sign of life for ten minutes and was stopped. Resume it from its last checkpoint.",
    "no_start": "Azure gave it a machine and the engine did not report within 15 minutes, so it was stopped. What the wait cost is "
                "recorded. Try another region or GPU.",
    "expiry": "The time that its approval gave it is over, and it was stopped.",
}
PULLS = ("PullingImage", "ImagePullBackOff", "ErrImagePull", "ImagePullFailure")
NO_IMAGE = (" Its image was not there by then: see whether anybody may pull it, or take one that is near and smaller (LUTHIER_AZURE_IMAGE) "
            "and prepare the cloud again.")
BEFORE = "Stopped before anything was started. Nothing was spent."
INFRA = ("Azure's platform failed to start it: the container never ran. Try again later, or choose a T4 or another region "
         "(estimate_cost lists them).")
GONE = "Its job or its execution is gone from Azure, and it left no result. Resume it from its last checkpoint."


def ending(row: CloudRow, result: Mapping[str, Any] | None, exit: Mapping[str, Any] | None, infra_s: float) -> Finding:
    """The end that can be seen. Pure. `infra_s`: a failure sooner than this, without a sign of life, was the platform's."""
    if result is not None or exit is not None:
        facts = Facts(lock="free", started=True, result=result, exit=exit, stop_asked=row.wish.stops and row.wish.kind != "finished",
                      stop_by=row.wish.by)
        found = what_happened(facts)
        if found.kind == "person" and row.wish.stops and row.wish.kind in SAID:  # its own time limit, say, came before the stop
            return _by_order(row.wish.kind, row.seen.waiting)
        return found
    if row.wish.stops:
        if not row.execution:
            return Finding(RunState.CANCELLED, ORDER_KINDS.get(row.wish.kind, "person"), BEFORE)
        if row.wish.kind in SAID:
            return _by_order(row.wish.kind, row.seen.waiting)
        return what_happened(Facts(lock="absent", started=True, stop_asked=True, stop_by=row.wish.by, waited_s=1e9))
    return _by_azure(row, infra_s)


def _by_order(kind: str, waiting: str = "") -> Finding:
    more = NO_IMAGE if kind == "no_start" and waiting in PULLS else ""
    state = RunState.FAILED if kind == "no_start" else RunState.CANCELLED
    return Finding(state, ORDER_KINDS[kind], SAID[kind] + more)


def _by_azure(row: CloudRow, infra_s: float) -> Finding:
    """No file says how it ended."""
    took = 0.0 if row.started_at is None or row.ended_at is None else (row.ended_at - row.started_at).total_seconds()
    status, code = row.seen.status, row.seen.exit_code
    if row.seen.missing_at or not row.seen.over_at:
        return Finding(RunState.FAILED, "gone", GONE)
    if status == "Stopped":
        return Finding(RunState.CANCELLED, "person", "It was stopped in Azure, not from here. Its last checkpoint is on the share.")
    if took >= row.plan.timeout_s - 5:
        return _by_order("deadline")
    if status == "Failed" and not row.seen.started and took < infra_s and code is None:
        return Finding(RunState.FAILED, "infra", INFRA)
    if code == 137:
        return replace(what_happened(Facts(lock="free", exit={"signal": 9})), reason="Its container was killed, most likely for want of "
                       "memory (status 137). Resume it on a larger machine, or with shorter rows.")
    ended = f"with status {code}" if code is not None else f"as {status or 'unknown'}"
    return Finding(RunState.FAILED, "crashed", f"Its execution ended {ended} and left no result. Look at its log, then resume it.")
