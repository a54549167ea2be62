"""Runs on Azure Container Apps: what the reconciler asks of the cloud, in Azure's own calls."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from policies.book import now_text
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.jobs import HF_TOKEN, RUN_KEY, Jobs, JobSpec
from tools.azure.names import SPEC
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.trouble import AzureTrouble
from tools.places import Places
from tools.runs.backend import Say
from tools.runs.cloud_look import Seen
from tools.runs.cloud_row import AT_WORK, CloudRow, Phase
from tools.runs.keys import home_key, run_key
from tools.runs.local import LocalRuns
from tools.runs.mirror import Mirror, lay_aside
from tools.runs.waiting import WaitingWords

STORED = "HF_TOKEN"
"""The stored secret that a job may be given."""
KEY_S = 600.0
"""How long the key of the share is used before it is asked for anew."""
_STALE = timedelta(seconds=3)
"""A time on the share has whole seconds."""


class AzureRuns:
    """Implements `tools.runs.backend.CloudBackend`."""

    def __init__(self, azure: Azure, prepared: PlaceStore, places: Places, local: LocalRuns,
                 secret: Callable[[str], str | None] = lambda name: None, share: Callable[[Azure, CloudPlace], Any] | None = None,
                 cargo: Any = None) -> None:
        """`secret` gives the value of a stored secret by its name; `share` opens the share of a place; `cargo` uploads and fetches."""
        self._azure, self._prepared, self._places, self._local, self._secret = azure, prepared, places, local, secret
        self._open, self._given = share or _open_share, cargo
        self._mirror, self._words = Mirror(), WaitingWords(azure)
        self._shares: dict[str, tuple[float, Any]] = {}

    def now(self) -> datetime:
        """Azure's clock."""
        return self._azure.now()

    def observe(self, row: CloudRow) -> Seen:
        """One list of executions and one of the run's folder; before the start only what the phase needs."""
        if row.phase is Phase.PROVISIONING:
            return self._job(row)
        if row.phase in {Phase.JOB_READY, Phase.START_REQUESTED, Phase.START_UNKNOWN}:
            return Seen(executions=self._jobs(row).executions(self._name(row)))
        if row.phase in AT_WORK:
            return self._work(row)
        return Seen()

    def _job(self, row: CloudRow) -> Seen:
        jobs = self._jobs(row)
        found = jobs.get(self._name(row))
        if found is None:
            return Seen(job="missing")
        if not found.ours:
            return Seen(job="foreign", job_text=f"A job named {found.name} is in the group and is not ours. It was left alone.")
        if found.spec != jobs.body(self._spec(row))["tags"][SPEC]:
            return Seen(job="missing")
        if found.provisioning == "Failed":
            return Seen(job="missing")  # the next PUT says why
        return Seen(job="ready" if found.provisioning == "Succeeded" else "working")

    def _work(self, row: CloudRow) -> Seen:
        place, executions, gone = self._place(row), None, False
        try:
            executions = self._jobs(row).executions(self._name(row))
        except AzureTrouble as trouble:
            if trouble.trouble != "not_found":
                raise
            gone = True
        since = None if row.requested_at is None else row.requested_at - _STALE
        try:
            marks = self._mirror.look(self._share(place), row.run_id, row.attempt, self._local.folder(row.run_id), since, self.now())
        except OSError as error:
            raise AzureTrouble("unknown", f"Copy what the run {row.run_id} reports", f"{error.strerror or type(error).__name__}.",
                               "Free some disk space below Luthier's home; the run itself goes on.") from error
        words = ""
        if row.phase is Phase.STARTING and not marks.started and row.execution:
            words = self._words.of(place, self._name(row), row.execution)
        return Seen(executions=executions, gone=gone, started=marks.started, result=marks.result, exit=marks.exit, beat_at=marks.beat_at,
                    waiting=words)

    def tail(self, row: CloudRow) -> None:
        """Two requests to the share, and none to the resource manager."""
        self._mirror.tail(self._share(self._place(row)), row.run_id, self._local.folder(row.run_id))

    def upload(self, row: CloudRow, say: Say) -> None:
        """Engine, model, data, an earlier checkpoint, and the settings last."""
        share, folder = self._share(self._place(row)), self._local.folder(row.run_id)
        share.make_folders(f"runs/{row.run_id}")
        lay_aside(share, row.run_id, folder)
        self._cargo().upload(share, self._places.root, self._local.spec(row.run_id), folder, say)

    def put(self, row: CloudRow) -> None:
        """Make the job, with the run's key and, where one is stored, the hub's token as its secrets."""
        values = {RUN_KEY: Hidden(run_key(home_key(self._places.keys), row.run_id))}
        token = self._secret(STORED)
        if token:
            values[HF_TOKEN] = Hidden(token)
        self._jobs(row).put(self._spec(row), values)

    def start(self, row: CloudRow) -> str:
        """As `Jobs.start`."""
        return self._jobs(row).start(self._name(row))

    def stop(self, row: CloudRow, execution: str) -> None:
        """As `Jobs.stop`."""
        self._jobs(row).stop(self._name(row), execution)

    def fetch(self, row: CloudRow, say: Say) -> str:
        """Download what the run made, each file checked against its manifest."""
        if row.seen.end.get("state") != "finished":
            return ""  # what there is of it stays on the share for the next attempt
        found = self._cargo().fetch(self._share(self._place(row)), row.run_id, self._local.folder(row.run_id), say)
        return "" if found.verified else "Not every file could be checked against the manifest."

    def _cargo(self) -> Any:
        if self._given is None:
            from tools.runs import container

            self._given = container
        return self._given

    def _spec(self, row: CloudRow) -> JobSpec:
        names = (RUN_KEY, HF_TOKEN) if self._secret(STORED) else (RUN_KEY,)
        return JobSpec(row.run_id, row.attempt, row.plan.shape, row.plan.timeout_s, row.plan.engine, now_text(row.expires_at), names)

    def _place(self, row: CloudRow) -> CloudPlace:
        found = self._prepared.get(row.region)
        if found is None:
            raise AzureTrouble("not_prepared", f"Look after the run {row.run_id}", f"{row.region} is not prepared any more.",
                               "Run prepare_cloud for it again.")
        return found

    def _jobs(self, row: CloudRow) -> Jobs:
        return Jobs(self._azure, self._place(row))

    def _name(self, row: CloudRow) -> str:
        return self._jobs(row).name(row.run_id)

    def _share(self, place: CloudPlace) -> Any:
        """The share with its key, which is asked for anew every ten minutes and kept nowhere but in memory."""
        at, kept = self._shares.get(place.region, (0.0, None))
        if kept is None or time.monotonic() - at > KEY_S:
            kept = self._open(self._azure, place)
            self._shares[place.region] = (time.monotonic(), kept)
        return kept


def _open_share(azure: Azure, place: CloudPlace) -> Any:
    from tools.azure.files import open_share

    return open_share(azure, place)
