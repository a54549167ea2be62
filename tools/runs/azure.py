"""Runs on Azure Container Apps: what the reconciler asks of the cloud, in Azure's own calls."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from policies.book import now_text
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.jobs import HF_TOKEN, RUN_KEY, Execution, Jobs, JobSpec
from tools.azure.names import SPEC
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.provision import link_anew
from tools.azure.trouble import AzureTrouble
from tools.places import Places
from tools.runs.backend import Say
from tools.runs.cloud_look import Seen
from tools.runs.cloud_row import AT_WORK, CloudRow, Phase
from tools.runs.keys import home_key, run_key
from tools.runs.local import LocalRuns
from tools.runs.mirror import Mirror, lay_aside
from tools.runs.waiting import WaitingWords

log = logging.getLogger("luthier.cloud")
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
        if row.phase is Phase.JOB_READY:
            return Seen(executions=self._jobs(row).executions(self._name(row)))
        if row.phase in {Phase.START_REQUESTED, Phase.START_UNKNOWN}:
            return Seen(executions=self._executions(row) or ())  # of a job that is gone nothing is listed
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
        place, executions = self._place(row), self._executions(row)
        # Of two starts of an attempt the first may be the one that runs: what it wrote before the second counts.
        since = min((at - _STALE for at in (row.requested_at, row.started_at) if at is not None), default=None)
        with _on_disk(f"Copy what the run {row.run_id} reports", "Free some disk space below Luthier's home; the run itself goes on."):
            marks = self._mirror.look(self._share(place), row.run_id, row.attempt, self._local.folder(row.run_id), since, self.now())
        words = ""
        if row.phase is Phase.STARTING and not marks.started and row.execution:
            words = self._words.of(place, self._name(row), row.execution)
        return Seen(executions=executions, gone=executions is None, started=marks.started, result=marks.result, exit=marks.exit,
                    beat_at=marks.beat_at, waiting=words)

    def _executions(self, row: CloudRow) -> tuple[Execution, ...] | None:
        """None when the job is gone."""
        try:
            return self._jobs(row).executions(self._name(row))
        except AzureTrouble as trouble:
            if trouble.trouble != "not_found":
                raise
            return None

    def tail(self, row: CloudRow) -> None:
        """Two requests to the share, and none to the resource manager."""
        self._mirror.tail(self._share(self._place(row)), row.run_id, self._local.folder(row.run_id))

    def upload(self, row: CloudRow, say: Say) -> None:
        """Engine, model, data, an earlier checkpoint, and the settings last."""
        self._check_account(row)
        share, folder = self._share(self._place(row)), self._local.folder(row.run_id)
        share.make_folders(f"runs/{row.run_id}")
        with _on_disk(f"Upload the run {row.run_id}", "Look whether its model and its folder are still here, then start it again."):
            lay_aside(share, row.run_id, folder)
            self._cargo().upload(share, self._places.root, self._local.spec(row.run_id), folder, say, row.plan.engine)

    def put(self, row: CloudRow) -> None:
        """Make the job, with the run's key and, where one is stored, the hub's token as its secrets."""
        self._check_account(row)
        values = {RUN_KEY: Hidden(run_key(home_key(self._places.keys), row.run_id))}
        token = self._secret(STORED)
        if token:
            values[HF_TOKEN] = Hidden(token)
        place = self._place(row)
        if link_anew(self._azure, place, self._prepared.kept_at(place.region)):
            log.warning("the key of %s was changed: its share is linked with the new one", place.account)
        self._jobs(row).put(self._spec(row), values)

    def start(self, row: CloudRow) -> str:
        """As `Jobs.start`."""
        self._check_account(row)
        return self._jobs(row).start(self._name(row))

    def stop(self, row: CloudRow, execution: str) -> None:
        """As `Jobs.stop`."""
        self._jobs(row).stop(self._name(row), execution)

    def fetch(self, row: CloudRow, say: Say) -> str:
        """Download what the run made, each file checked against its manifest."""
        if row.seen.end.get("state") != "finished":
            return ""  # what there is of it stays on the share for the next attempt
        with _on_disk(f"Download the run {row.run_id}", "Free some disk space below Luthier's home."):
            found = self._cargo().fetch(self._share(self._place(row)), row.run_id, self._local.folder(row.run_id), say)
        return "" if found.verified else "Not every file could be checked against the manifest."

    def _check_account(self, row: CloudRow) -> None:
        """Nothing is sent or started as somebody else than the card named. Raises AzureTrouble."""
        if row.plan.user:
            self._azure.check_account(row.plan.user, row.plan.tenant, f"The run {row.run_id} was not started")

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
        place = self._place(row)
        # The image that was approved, whatever the place was prepared with since.
        return Jobs(self._azure, replace(place, image=row.plan.image or place.image))

    def _name(self, row: CloudRow) -> str:
        return self._jobs(row).name(row.run_id)

    def _share(self, place: CloudPlace) -> Any:
        """The share with its key, which is asked for anew every ten minutes and kept nowhere but in memory."""
        at, kept = self._shares.get(place.region, (0.0, None))
        if kept is None or time.monotonic() - at > KEY_S:
            kept = self._open(self._azure, place)
            self._shares[place.region] = (time.monotonic(), kept)
        return kept


@contextmanager
def _on_disk(what: str, try_next: str) -> Iterator[None]:
    """A fault of this machine's disk as trouble like any other, so that it is tried again and told."""
    try:
        yield
    except OSError as error:
        where = f" ({Path(error.filename).name})" if isinstance(error.filename, str) else ""
        raise AzureTrouble("unknown", what, f"{error.strerror or type(error).__name__}{where}.", try_next) from error


def _open_share(azure: Azure, place: CloudPlace) -> Any:
    from tools.azure.files import open_share

    return open_share(azure, place)
