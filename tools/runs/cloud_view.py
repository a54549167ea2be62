"""A run in the cloud as faces show it: its money, what it waits for, and the warnings that only the cloud knows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from policies.limits import dollars
from tools.runs.cloud_look import WAITS
from tools.runs.cloud_row import AT_WORK, CloudRow, Phase, moment
from tools.runs.cloud_store import CloudStore
from tools.runs.state import RunState, RunView

WORDS: Mapping[Phase, str] = {
    Phase.APPROVED: "its folder is being made", Phase.UPLOADING: "uploading", Phase.PROVISIONING: "Azure makes the job",
    Phase.JOB_READY: "the job is ready", Phase.START_REQUESTED: "starting", Phase.START_UNKNOWN: "looking whether the start began anything",
    Phase.STARTING: "waiting for a machine", Phase.INFRA_RETRY: "Azure failed to start it; it is tried once more",
    Phase.FINISHING: "its result is there", Phase.DOWNLOADING: "downloading its results", Phase.STOPPING: "stopping",
    Phase.OVER_BUDGET: "stopping: its money is used up", Phase.LOST: "it cannot be found in Azure",
}
"""What is said of each phase that has no numbers of the engine's own."""
WAITING: Mapping[str, str] = {
    "AssigningReplica": "waiting for a GPU", "SuccessfulCreate": "a machine is being found", "PullingImage": "its image is being pulled",
    "PulledImage": "its image is there", "ContainerCreated": "its container is made", "ContainerStarted": "its packages are installed",
    "BackoffLimitExceeded": "Azure gave up starting it", "DeadlineExceeded": "its time limit has passed",
}


def phase_words(row: CloudRow) -> str:
    """What it is doing, in a few words; empty while the engine itself tells. Pure."""
    if row.wish.stops and not row.ended and row.phase not in {Phase.OVER_BUDGET, Phase.DOWNLOADING}:
        return WORDS[Phase.STOPPING]
    if row.phase in {Phase.UPLOADING, Phase.DOWNLOADING} and row.seen.progress is not None:
        return f"{WORDS[row.phase]} {row.seen.progress:.0%}"
    if row.phase is Phase.STARTING and row.seen.waiting in WAITING:
        return f"{WAITING[row.seen.waiting]}: {row.seen.waiting}"
    return WORDS.get(row.phase, "")


def warnings(row: CloudRow, now: datetime) -> tuple[str, ...]:
    """What a person should know while it runs. Pure."""
    found = []
    beat = moment(row.seen.beat_at)
    if row.phase is Phase.RUNNING and beat is not None and (now - beat).total_seconds() >= WAITS.warn:
        found.append(f"No sign of life for {(now - beat).total_seconds() / 60:.0f} minutes; it is stopped after "
                     f"{WAITS.silence / 60:.0f}.")
    if row.seen.trouble and not row.ended:
        found.append(f"Azure: {row.seen.trouble}")
    if len(row.seen.live) > 1:
        found.append("A second execution of it runs; it is stopped.")
    if row.ended and row.seen.note:
        found.append(row.seen.note)
    return tuple(found)


class CloudViews:
    """Thread-safe; reads the book only."""

    def __init__(self, store: CloudStore) -> None:
        self._store = store

    def of(self, view: RunView, now: datetime) -> RunView:
        """The view with what the cloud adds; as it was for a run that never was there."""
        row = self._store.get(view.run_id)
        if row is None:
            return view
        owed = sum(one[1] for one in row.seen.owed)
        spent = row.accrued_micros(row.ended_at if row.ended and row.ended_at is not None else now) + owed
        words = phase_words(row) if not row.ended else ""
        silent = view.phase in {"", "done"} or row.phase not in {Phase.RUNNING}
        beat = moment(row.seen.beat_at)
        return replace(
            view, spent=dollars(spent), warnings=(*view.warnings, *warnings(row, now)),
            phase=row.phase.value if silent and not row.ended else view.phase, progress=words or view.progress,
            heartbeat_age_s=round(max(0.0, (now - beat).total_seconds()), 1) if beat is not None and row.phase in AT_WORK else None,
            memory_bytes=view.memory_bytes if view.state == RunState.RUNNING.value else None,
        )
