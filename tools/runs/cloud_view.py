"""A run in the cloud as faces show it: its money, what it waits for, and the warnings that only the cloud knows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from pydantic import JsonValue

from policies.book import now_text
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
    **dict.fromkeys(("ImagePullBackOff", "ErrImagePull", "ImagePullFailure"), "its image cannot be pulled"),
    "PulledImage": "its image is there", "ContainerCreated": "its container is made", "ContainerStarted": "its packages are installed",
    "BackoffLimitExceeded": "Azure gave up starting it", "DeadlineExceeded": "its time limit has passed",
}

OLD_JOB = "Its job in Azure is past its expiry: “delete the expired jobs” (teardown_cloud only=expired) takes it away."


def phase_words(row: CloudRow) -> str:
    """What it is doing, in a few words; empty while the engine itself tells. Pure."""
    if row.wish.stops and not row.ended and row.phase not in {Phase.OVER_BUDGET, Phase.DOWNLOADING}:
        return WORDS[Phase.STOPPING]
    if row.phase in {Phase.UPLOADING, Phase.DOWNLOADING} and row.seen.progress is not None:
        return f"{WORDS[row.phase]} {row.seen.progress:.0%}"
    if row.phase is Phase.STARTING and row.seen.waiting in WAITING:
        return f"{WAITING[row.seen.waiting]}: {row.seen.waiting}"
    return WORDS.get(row.phase, "")


def place_facts(row: CloudRow, now: datetime) -> dict[str, JsonValue]:
    """Where it is, what that costs at most, what the platform is waiting for, and whether its job is past its expiry. Pure."""
    shape, gone = row.plan.shape, row.phase is Phase.DESTROYED
    return {
        "region": row.region, "profile": shape.name, "gpu": shape.gpu or "CPU", "image": row.plan.image, "attempt": row.attempt,
        "per_hour": f"{Decimal(row.plan.per_second) * 3600:.3f}", "ceiling": dollars(row.plan.ceiling_micros), "settled": row.settled,
        "waiting": WAITING.get(row.seen.waiting, "") if row.phase is Phase.STARTING else "", "execution": row.execution,
        "expires_at": now_text(row.expires_at), "past_expiry": row.ended and not gone and now > row.expires_at,
        "job": "deleted" if gone else "kept",
    }


def warnings(row: CloudRow) -> tuple[str, ...]:
    """What a person should know while it runs. Pure."""
    found = []
    beat, looked = moment(row.seen.beat_at), moment(row.seen.looked_at)
    if row.phase is Phase.RUNNING and beat is not None and looked is not None and (looked - beat).total_seconds() >= WAITS.warn:
        found.append(f"No sign of life for {(looked - beat).total_seconds() / 60:.0f} minutes; it is stopped after "
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
        words, cloud = phase_words(row) if not row.ended else "", place_facts(row, now)
        told = (*view.warnings, *warnings(row), *((OLD_JOB,) if cloud["past_expiry"] else ()))
        silent = view.phase in {"", "done"} or row.phase not in {Phase.RUNNING}
        beat = moment(row.seen.beat_at)
        return replace(
            view, cloud=cloud, spent=dollars(spent), warnings=told,
            phase=row.phase.value if silent and not row.ended else view.phase, progress=words or view.progress,
            heartbeat_age_s=view.heartbeat_age_s if row.ended else
            round(max(0.0, (now - beat).total_seconds()), 1) if beat is not None and row.phase in AT_WORK else None,
            memory_bytes=view.memory_bytes if view.state == RunState.RUNNING.value else None,
        )
