"""The phases of a run in the cloud: a pure function of the row, of what can be seen, and of the time, to the next row and what to do."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from tools.azure.jobs import Execution
from tools.runs.cloud_end import ending
from tools.runs.cloud_look import WAITS, Action, Seen, Step, Trouble, Waits
from tools.runs.cloud_row import AT_WORK, CloudRow, Phase, moment, stamp
from tools.runs.evidence import Finding
from tools.runs.state import RunState

MOST_STARTS = 5
"""How often a start is sent for one attempt, each only after a list that showed nothing."""
MOST_TRIES = 5
"""Calls in a row that may go wrong before a run that has not started is given up."""
MOST_FETCHES = 3
HOPELESS = frozenset({
    "denied", "quota", "foreign", "conflict", "policy", "not_prepared", "refused_host", "price", "not_installed", "not_found",
})
"""Kinds of trouble that another try does not mend."""


def step(row: CloudRow, seen: Seen, now: datetime, waits: Waits = WAITS) -> Step:
    """One step. Pure: any number of steps from the same facts ends in the same row."""
    if row.ended:
        return Step(row)
    if seen.trouble is not None:
        return _troubled(row, seen.trouble, now, waits)
    match row.phase:
        case Phase.APPROVED | Phase.UPLOADING | Phase.PROVISIONING | Phase.INFRA_RETRY if row.wish.stops:
            return _end(row, ending(row, None, None, waits.infra), "stopped before anything was started")
        case Phase.APPROVED:
            return Step(row)
        case Phase.UPLOADING:
            return _later(row, now) or (Step(_to(row, Phase.PROVISIONING, now), evidence="everything is on the share")
                                        if row.seen.uploaded else Step(row, (Action("upload"),)))
        case Phase.PROVISIONING:
            return _later(row, now) or _provision(row, seen, now)
        case Phase.INFRA_RETRY:
            return _later(row, now) or _next_attempt(row, now)
        case Phase.JOB_READY:
            return _later(row, now) or _before_start(row, seen, now)
        case Phase.START_REQUESTED | Phase.START_UNKNOWN:
            return _unknown_start(row, seen, now, waits)
        case Phase.DOWNLOADING:
            return _later(row, now) or Step(row, (Action("fetch"),))
        case _:
            return _at_work(row, seen, now, waits)


def _to(row: CloudRow, phase: Phase, now: datetime, **changes: Any) -> CloudRow:
    """The row in another phase; the count of what went wrong begins anew."""
    return replace(row, phase=phase, seen=replace(row.seen, tries=0, trouble="", retry_at="", progress=None, waiting="", **changes))


def _later(row: CloudRow, now: datetime) -> Step | None:
    at = moment(row.seen.retry_at)
    return Step(row) if at is not None and now < at else None


def _end(row: CloudRow, finding: Finding, evidence: str) -> Step:
    phase = {RunState.FINISHED: Phase.SUCCEEDED, RunState.CANCELLED: Phase.STOPPED}.get(finding.state, Phase.FAILED)
    end = {"state": finding.state.value, "kind": finding.kind, "reason": finding.reason}
    return Step(replace(row, phase=phase, seen=replace(row.seen, end=end, live=(), tries=0, progress=None, waiting="")), evidence=evidence)


def _troubled(row: CloudRow, trouble: Trouble, now: datetime, waits: Waits) -> Step:
    """A call went wrong: wait longer each time; give a run up only where nothing of it can cost money."""
    tries = row.seen.tries + 1
    pause = min(60.0, waits.pause * 2 ** min(tries - 1, 6))
    noted = row.remembering(tries=tries, trouble=trouble.text[:500], retry_at=stamp(now + timedelta(seconds=pause)))
    if row.wish.stops and row.phase in AT_WORK and row.execution and _waited(row.seen.stop_sent, now) >= waits.stop_again:
        # Nobody tells how it stands; that is no reason not to stop it.
        return Step(noted.remembering(stop_sent=stamp(now)), (Action("stop", row.execution),), "stop, although nobody answered a look")
    before = row.phase in {Phase.UPLOADING, Phase.PROVISIONING, Phase.JOB_READY}
    if before and (trouble.kind in HOPELESS or tries >= MOST_TRIES):
        kind = "quota" if trouble.kind == "quota" else "start"
        return _end(noted, Finding(RunState.FAILED, kind, trouble.text[:500]), f"{trouble.kind} before anything was started")
    if row.phase is Phase.DOWNLOADING:
        fetches = row.seen.fetch_tries + 1
        noted = noted.remembering(fetch_tries=fetches)
        if fetches >= MOST_FETCHES or trouble.kind in HOPELESS:
            again = "" if trouble.kind in HOPELESS else " Say fetch_results to try again."
            note = f"Its files were not downloaded: {trouble.text[:300]}{again}"
            return _concluded(noted.remembering(note=note), "the download failed")
    return Step(noted)


def _provision(row: CloudRow, seen: Seen, now: datetime) -> Step:
    match seen.job:
        case "ready":
            return Step(_to(row, Phase.JOB_READY, now), evidence="the job is as it was asked for")
        case "failed" | "foreign":
            return _end(row, Finding(RunState.FAILED, "start", seen.job_text), f"the job is {seen.job}")
        case _:
            return Step(row, (Action("put"),))


def _next_attempt(row: CloudRow, now: datetime) -> Step:
    fresh = replace(row, attempt=row.attempt + 1, execution="", requested_at=None, started_at=None, ended_at=None)
    after = _to(fresh, Phase.UPLOADING, now, uploaded=False, starts=0, empty=0, status="", exit_code=None, live=(), started=False,
                beat_at="", looked_at="", marker_at="", over_at="", missing_at="", stop_sent="")
    return Step(after, evidence="the next approved attempt")


def _mine(row: CloudRow, found: tuple[Execution, ...]) -> tuple[Execution, ...]:
    """Executions of this attempt; one whose record names no attempt counts, so that nothing is started beside it."""
    return tuple(each for each in found if each.attempt in {0, row.attempt} and each.run_id in {"", row.run_id})


def _before_start(row: CloudRow, seen: Seen, now: datetime) -> Step:
    if seen.executions is None:
        return Step(row)
    if _mine(row, seen.executions):
        return _adopt(row, seen.executions, now, "an execution of this attempt was there already")
    if row.wish.stops:
        return _end(row, ending(row, None, None, 0), "stopped before anything was started")
    if older := tuple(each for each in seen.executions if each.live):
        # An attempt that counted as over is not: nothing new is started beside it.
        return Step(row.remembering(live=tuple(each.name for each in older)), tuple(Action("stop", each.name) for each in older),
                    "an earlier attempt still runs")
    return _start(row, now)


def _start(row: CloudRow, now: datetime) -> Step:
    sent = replace(_to(row, Phase.START_REQUESTED, now, starts=row.seen.starts + 1, empty=0, live=()), requested_at=now)
    return Step(sent, (Action("start"),), f"start number {row.seen.starts + 1}")


def _unknown_start(row: CloudRow, seen: Seen, now: datetime, waits: Waits) -> Step:
    if seen.executions is None:
        return Step(row)
    if _mine(row, seen.executions):
        return _adopt(row, seen.executions, now, "an execution of this attempt showed up")
    empty = row.seen.empty + 1
    row = row.remembering(empty=empty)
    asked = row.requested_at or now
    if empty < 2 or (now - asked).total_seconds() < waits.in_flight:
        return Step(row)
    if row.wish.stops:
        return _end(row, ending(row, None, None, 0), "stopped, and the start began nothing")
    if row.seen.starts >= MOST_STARTS:
        said = f"Azure took {MOST_STARTS} starts and began nothing. Look at the job in the portal, or start again later."
        return _end(row, Finding(RunState.FAILED, "start", said), "no start began anything")
    return _start(row, now)


def _adopt(row: CloudRow, found: tuple[Execution, ...], now: datetime, evidence: str) -> Step:
    """The oldest of this attempt's executions is the run; whatever else lives is stopped by a standing order."""
    mine = _mine(row, found)[0]
    adopted = replace(_to(row, Phase.STARTING, now), execution=mine.name, requested_at=row.requested_at or now)
    return Step(_looked(adopted, Seen(executions=found), now), evidence=f"{evidence}: {mine.name}")


def started(row: CloudRow, execution: str, now: datetime) -> CloudRow:
    """The row after a start that named its execution."""
    row = replace(_to(row, Phase.STARTING, now, live=(execution,)), execution=execution)
    return row.remembering(times={**row.seen.times, execution: (stamp(now), "")})


def _looked(row: CloudRow, seen: Seen, now: datetime) -> CloudRow:
    """The row with what one look showed of its executions and files."""
    times = dict(row.seen.times)
    found = seen.executions or ()
    for each in found:
        if each.attempt == 0 or each.attempt >= row.plan.first:
            known = times.get(each.name, ("", ""))
            begun = stamp(each.started_at) or known[0] or stamp(now)
            times[each.name] = (begun, "" if each.live else known[1] or stamp(each.ended_at or now))
    mine = next((each for each in found if each.name == row.execution), None)
    live = tuple(each.name for each in found if each.live) if seen.executions is not None else row.seen.live
    over = row.seen.over_at or stamp(now) if mine is not None and not mine.live else "" if mine is not None else row.seen.over_at
    unseen = (seen.executions is not None and (mine is None or mine.status == "Unknown")) or seen.gone
    if mine is None and row.execution and not over and not seen.gone and row.execution not in live:
        live = (row.execution, *live)  # a list may be late: what it does not show may cost money all the same
    row = row.remembering(
        times=times, live=() if seen.gone else live, status=row.seen.status if mine is None else mine.status,
        exit_code=row.seen.exit_code if mine is None or mine.exit_code is None else mine.exit_code, over_at=over,
        marker_at=row.seen.marker_at or (stamp(now) if seen.result is not None or seen.exit is not None else ""),
        started=row.seen.started or seen.started, tries=0, trouble="", retry_at="",
        waiting="" if seen.started else seen.waiting or row.seen.waiting,
        beat_at=max(row.seen.beat_at, stamp(seen.beat_at)), looked_at=stamp(now),
        missing_at=(row.seen.missing_at or stamp(now)) if unseen else "" if seen.executions is not None else row.seen.missing_at,
    )
    begun, ended = (moment(one) for one in row.seen.times.get(row.execution, ("", "")))
    return replace(row, started_at=begun or row.started_at, ended_at=ended)


def _stands(row: CloudRow, seen: Seen, now: datetime, waits: Waits) -> Literal["there", "settling", "lost", "over"]:
    """How its execution stands, after a look."""
    marked = seen.result is not None or seen.exit is not None
    if row.seen.over_at:
        return "over" if marked or _waited(row.seen.over_at, now) >= waits.settle else "settling"
    if not row.seen.missing_at:
        return "there"
    missed = _waited(row.seen.missing_at, now)
    if row.seen.status == "Unknown" and not seen.gone and row.execution in row.seen.live:
        overdue = row.started_at is not None and (now - row.started_at).total_seconds() > row.plan.timeout_s + 2 * waits.lost
        return "over" if overdue else "lost" if missed > waits.lost else "there"
    if seen.gone:
        return "over" if marked or missed > waits.lost else "lost"
    return "over" if missed > 2 * waits.lost or (marked and missed > waits.lost) else "lost" if missed > waits.lost else "there"


def _at_work(row: CloudRow, seen: Seen, now: datetime, waits: Waits) -> Step:
    row = _looked(row, seen, now)
    stands = _stands(row, seen, now, waits)
    if stands == "over":
        return _over(row, seen, now, waits)
    if stands == "settling":
        return Step(row)
    if row.wish.stops and not seen.gone:
        return _stop(row, now, waits)
    younger = tuple(Action("stop", name) for name in row.seen.live if name != row.execution) if row.wish.kind == "second_execution" else ()
    younger = younger if _waited(row.seen.stop_sent, now) >= waits.stop_again else ()
    row = row.remembering(stop_sent=stamp(now)) if younger else row
    phase, why = row.phase, ""
    if stands == "lost":
        phase, why = Phase.LOST, "its job or its execution cannot be found"
    elif seen.result is not None or seen.exit is not None:
        phase, why = Phase.FINISHING, "its result is there"
    elif row.seen.started and not row.seen.missing_at:
        phase, why = Phase.RUNNING, "the engine has reported"
    elif row.phase is Phase.LOST and not row.seen.missing_at:
        phase, why = Phase.STARTING, "it is there again"
    return Step(replace(row, phase=phase), younger, why if phase is not row.phase else "")


def _stop(row: CloudRow, now: datetime, waits: Waits) -> Step:
    """Send the stop to whatever lives, again and again until Azure says that it has ended."""
    phase = Phase.OVER_BUDGET if row.wish.kind == "cap" else Phase.STOPPING
    if row.phase is phase and _waited(row.seen.stop_sent, now) < waits.stop_again:
        return Step(row)
    targets = row.seen.live or ((row.execution,) if row.execution else ())
    after = replace(row, phase=phase).remembering(stop_sent=stamp(now))
    return Step(after, tuple(Action("stop", name) for name in targets), f"stop by {row.wish.by or 'system'}: {row.wish.kind}")


def _over(row: CloudRow, seen: Seen, now: datetime, waits: Waits) -> Step:
    """Its execution has ended or is gone: another attempt, or the end and what can be downloaded."""
    if others := tuple(name for name in row.seen.live if name != row.execution):
        actions = tuple(Action("stop", name) for name in others) if _waited(row.seen.stop_sent, now) >= waits.stop_again else ()
        return Step(row.remembering(stop_sent=stamp(now)) if actions else row, actions, "another execution still runs" if actions else "")
    finding = ending(row, seen.result, seen.exit, waits.infra)
    if finding.kind == "infra" and row.attempts_left > 0 and not row.wish.stops:
        pause = waits.infra_pause * 2 ** (row.attempt - row.plan.first)
        again = replace(_to(row, Phase.INFRA_RETRY, now), ended_at=row.ended_at)
        return Step(again.remembering(retry_at=stamp(now + timedelta(seconds=pause))), evidence="the platform failed to start it")
    end = {"state": finding.state.value, "kind": finding.kind, "reason": finding.reason}
    after = replace(_to(row, Phase.DOWNLOADING, now, end=end, live=()), ended_at=row.ended_at or now)
    times = {name: (begun, ended or stamp(now)) for name, (begun, ended) in after.seen.times.items()}
    return Step(after.remembering(times=times), evidence=finding.kind or finding.state.value)


def fetched(row: CloudRow, note: str = "") -> Step:
    """The end, after the download."""
    return _concluded(row.remembering(note=note), "downloaded")


def _concluded(row: CloudRow, evidence: str) -> Step:
    end = row.seen.end
    phase = {"finished": Phase.SUCCEEDED, "cancelled": Phase.STOPPED}.get(end.get("state", ""), Phase.FAILED)
    return Step(replace(row, phase=phase).remembering(progress=None, live=(), tries=0, retry_at=""), evidence=evidence)


def _waited(text: str, now: datetime) -> float:
    """Seconds since a remembered time; without end where there is none."""
    at = moment(text)
    return float("inf") if at is None else (now - at).total_seconds()


def evidence(row: CloudRow, now: datetime, waits: Waits = WAITS) -> tuple[str, ...]:
    """The standing orders whose condition holds; none once somebody has stopped it. Pure.

    Money and time limits count by the clock. What a run fails to say counts up to the last look only: while this machine sleeps or
    its network is down, nobody hears the run, and it may say a lot.
    """
    if row.phase not in AT_WORK or row.wish.stops:
        return ()
    begun, seen = row.started_at, row.seen
    looked = min(now, moment(seen.looked_at) or row.requested_at or now)
    worked = 0.0 if begun is None else (now - begun).total_seconds()
    found = {
        "cap": row.accrued_micros(now) >= row.plan.ceiling_micros > 0,
        "deadline": worked > row.plan.timeout_s + waits.grace,
        "silence": row.phase is Phase.RUNNING and bool(seen.beat_at) and _waited(seen.beat_at, looked) >= waits.silence,
        "no_start": row.phase is Phase.STARTING and begun is not None and (looked - begun).total_seconds() >= waits.no_start,
        "finished": bool(seen.marker_at) and bool(seen.live) and _waited(seen.marker_at, looked) >= waits.grace,
        "expiry": now >= row.expires_at,
        "second_execution": len(seen.live) > 1 and row.wish.kind != "second_execution",
    }
    return tuple(kind for kind, holds in found.items() if holds)
