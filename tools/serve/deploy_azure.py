"""Deployments on Azure: sent, watched, paid for, stopped and deleted. Level-triggered: killed anywhere, the next look goes on."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policies import fault
from policies.tool import ToolFailed
from tools.azure.app_body import ENGINE_MOUNT, PORT, RUN_MOUNT, STATE_MOUNT, AppSpec, revision_name
from tools.azure.apps import Apps, AppSeen
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.parcels import Say
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.trouble import AzureTrouble, TroubleKind
from tools.runs.reconcile import RunNews
from tools.serve.deploy_azure_meter import ServingMeter
from tools.serve.deploy_azure_plan import AzureDeployPlans, per_second, shape_of, spec_of
from tools.serve.deploy_azure_share import DeployShare
from tools.serve.deploy_azure_state import app_became, went_back
from tools.serve.deploy_local import LocalDeployments
from tools.serve.deploy_news import tell
from tools.serve.deploy_state import Became, DeployState
from tools.serve.deploy_store import Before, DeploymentRow, DeploymentStore

SETTLED_TROUBLE: frozenset[TroubleKind] = frozenset(
    {"denied", "quota", "policy", "foreign", "not_installed", "not_prepared", "refused_host"})
"""What another try will not mend."""


_OPEN = "Its rules of who may reach it were taken away in Azure: it was open to the world and is stopped. Find out who changed them."


class Withdrawn(Exception):
    """Its end was asked for while it was still being sent."""


class AzureDeployments:
    """The deployments of a home that are on Azure. Thread-safe: one step at a time for each."""

    def __init__(self, azure: Azure, places: PlaceStore, plans: AzureDeployPlans, store: DeploymentStore, meter: ServingMeter,
                 local: LocalDeployments, root: Path, run_folder: Callable[[str], Path]) -> None:
        self.azure, self.plans, self.meter = azure, plans, meter
        self._places, self._store, self._local, self._run_folder = places, store, local, run_folder
        self.share = DeployShare(azure, root)
        self.troubles: dict[str, str] = {}
        """What the last look at a deployment could not do, for people."""
        self._untold: deque[RunNews] = deque()
        self._turns: dict[str, threading.RLock] = {}
        self._lock = threading.Lock()

    def apps(self, region: str) -> Apps:
        """The apps of a prepared region. AzureTrouble `not_prepared` when it is not known any more."""
        return Apps(self.azure, self._place(region))

    def _place(self, region: str) -> CloudPlace:
        found = self._places.get(region) if region else None
        if found is None:
            raise AzureTrouble("not_prepared", "The deployment was not looked at", f"the place {region} is not known any more.",
                               "Prepare it again with prepare_cloud: what is there is found, and nothing is made twice.")
        return found

    def advance(self, ident: str, say: Say = lambda text, fraction: None) -> DeploymentRow:
        """Take the next steps of one deployment, whatever has been done before; the row as it is then."""
        with self._turn(ident):
            row = self._store.wanted(ident)
            if row.state is DeployState.DELETED:
                return row
            plan, paid = dict(row.plan), self.meter.of_call(row.revision_call)
            if paid is None and row.alive:
                self.meter.begin(row.revision_call, row.id, row.revision, str(plan["region"]), per_second(plan))
            try:
                after = self._step(row, plan, say)
                self.troubles.pop(ident, None)
                return after
            except Withdrawn:
                return self._step(self._store.wanted(ident), plan, say)
            except (AzureTrouble, ToolFailed, OSError) as error:
                return self._troubled(row, error)

    def _step(self, row: DeploymentRow, plan: dict[str, Any], say: Say) -> DeploymentRow:
        apps = self.apps(str(plan["region"]))
        seen = apps.seen(row.id)
        if row.state is DeployState.STARTING and not row.stop_by:
            if _unsent(row, seen):
                seen = self._send(row, plan, apps, say, row.before)
            if row.before is not None and self._became(row, seen).state is DeployState.RUNNING:
                fault.point("cloud.deploy.switch")
                seen = self._send(row, plan, apps, say, None)
        if seen is not None and seen.open and row.alive:
            row = self._pass_to(row, Became(DeployState.FAILED, _OPEN, "open"), for_good=True)
        ends = not row.alive or bool(row.stop_by)
        if ends and seen is not None and not seen.stopped:
            fault.point("cloud.deploy.stop")
            apps.stop(row.id)
            seen = apps.seen(row.id)
        return self._settle(row, seen, apps)

    def _became(self, row: DeploymentRow, seen: AppSeen | None) -> Became:
        return app_became(seen, row.revision, state=row.state, stop_by=row.stop_by, waited_s=self._waited_s(row))

    def _settle(self, row: DeploymentRow, seen: AppSeen | None, apps: Apps) -> DeploymentRow:
        self.meter.saw_all(row.id, {} if seen is None else {each.number: each.replicas for each in seen.revisions})
        if row.alive:
            became = self._became(row, seen)
            url = apps.address(seen) if seen is not None and became.state is DeployState.RUNNING else ""
            if became.state is not row.state or (url and url != row.url):
                row = self._pass_to(row, became, url)
        if row.state is DeployState.RUNNING and seen is not None:
            self._tidy(row, seen, apps)
        if not row.alive and (seen is None or seen.stopped):
            self.meter.end(row.id)
        return row

    def _tidy(self, row: DeploymentRow, seen: AppSeen, apps: Apps) -> None:
        """Let what gets no requests have no replica, and end what no approval pays for any more."""
        answering = {revision for revision, _ in traffic(row.plan, row.revision)}
        over = [each for each in seen.revisions if each.number and each.number not in answering]
        for each in over:
            if each.active:
                fault.point("cloud.deploy.deactivate")
                apps.deactivate(each)
        at_rest = not any(each.active or each.replicas for each in over)
        for part in self.meter.of_deployment(row.id):
            # What is left of older revisions is this one's to pay for; what was begun after it has its own approval until it is at rest.
            if part.ended_at is None and (part.revision < row.revision or (part.revision > row.revision and at_rest)):
                self.meter.end_call(part.call_id)

    def _send(self, row: DeploymentRow, plan: dict[str, Any], apps: Apps, say: Say, before: Before | None) -> AppSeen:
        """Send the revision; with `before`, the requests stay where they are until it is up."""
        def heard(text: str, fraction: float | None) -> None:
            if self._store.wanted(row.id).stop_by:
                raise Withdrawn
            say(text, fraction)

        self.azure.check_account(str(plan["account"]), str(plan["tenant"]), f"The deployment {row.id} was not sent")
        place, plans = self._place(str(plan["region"])), self.plans.plans
        source = plans.source(row.run_id or "", "" if row.run_id else row.model_id)
        base = plans.parts(source, bool(plan["with_base"])).base if plan["with_base"] else None
        share, spec = self.share.open(place), spec_of(plan, source, row)
        run_folder = self._run_folder(row.run_id) if row.run_id else None
        folders = self.share.upload(share, spec, plans.folder(source), base, heard, run_folder)
        heard("Making the app; its start takes some minutes", None)
        sent = AppSpec(
            deployment_id=row.id, revision=row.revision, image=str(plan["image"]), shape=shape_of(plan), spec_folder=folders.spec,
            engine_folder=folders.engine, tuned_folder=folders.tuned, base_folder=folders.base, command=command(),
            allow=tuple(plan["allow"]), expires=row.expires_at,
            canary_percent=int(plan["canary_percent"]), canary_of=int(plan["canary_of"]),
            beside=() if before is None else traffic(before.plan, before.revision))
        self.meter.sent(row.revision_call)  # before it: from here on it may cost money, whatever becomes of us
        fault.point("cloud.deploy.send")
        seen = apps.put(sent, Hidden(self._local.key(row.id)))
        fault.point("cloud.deploy.sent")
        return seen

    def _troubled(self, row: DeploymentRow, error: AzureTrouble | ToolFailed | OSError) -> DeploymentRow:
        text = str(error) if isinstance(error, ToolFailed) else f"A file could not be read: {error.strerror}."
        self.troubles[row.id] = text
        lasting = not isinstance(error, AzureTrouble) or error.trouble in SETTLED_TROUBLE
        if row.state is DeployState.STARTING and (lasting or app_became(None, row.revision, state=row.state, stop_by="",
                                                                        waited_s=self._waited_s(row)).state is DeployState.FAILED):
            row = self._pass_to(row, Became(DeployState.FAILED, text, "start"))
            paid = self.meter.of_call(row.revision_call)
            if paid is None or (paid.sent_at is None and row.revision == 1):
                self.meter.end(row.id)  # nothing was sent: nothing is to be stopped
        return row

    def _pass_to(self, row: DeploymentRow, became: Became, url: str = "", *, for_good: bool = False) -> DeploymentRow:
        before = row.before
        if became.state is DeployState.FAILED and before is not None and not row.stop_by and not for_good:
            reason = went_back(row.revision, before.revision, before.model_id, became.reason)
            after = self._store.go_back(row, before, reason)
            if after is not None:
                self._untold.append(replace(tell(row, Became(DeployState.RUNNING, reason, became.kind)), final=True))
            return after or self._store.wanted(row.id)
        after = self._store.set_state(row, became.state, became.reason, url)
        if after is not None and became.state is not row.state:
            self._untold.append(tell(row, became))
        return after or self._store.wanted(row.id)

    def stop(self, row: DeploymentRow, by: str) -> DeploymentRow:
        """Ask for its end and take the first steps to it; the watch goes on where Azure takes longer."""
        with self._turn(row.id):
            now = self._store.wanted(row.id)  # meanwhile it may have gone back to an earlier revision
            if now.alive:
                self._store.ask_to_stop(now, by)
            return self.advance(row.id)

    def delete(self, row: DeploymentRow, by: str) -> DeploymentRow:
        """Remove the app, its specs on the share and its key. Raises AzureTrouble when something is left."""
        with self._turn(row.id):
            region = str(row.plan["region"])
            fault.point("cloud.deploy.delete")
            self.apps(region).delete(row.id)
            fault.point("cloud.deploy.deleted")
            self.share.forget(self.share.open(self._place(region)), row.id)
            fault.point("cloud.deploy.forgotten")
            self.meter.end(row.id)
            self._local.delete(row.id)
            return self._store.set_state(row, DeployState.DELETED, f"Deleted by {by}.") or self._store.wanted(row.id)

    def restart(self, row: DeploymentRow) -> None:
        """Start its program anew. Raises AzureTrouble."""
        self.apps(str(row.plan["region"])).restart(row.id, row.revision)

    def forget(self, row: DeploymentRow, reason: str) -> None:
        """Its app went with everything else: the book says so, and its money is settled."""
        self.meter.end(row.id)
        self._local.delete(row.id)
        self._store.set_state(row, DeployState.DELETED, reason)

    def spent_micros(self, ident: str) -> int:
        """What all its revisions have cost so far, by our own clock."""
        return sum(each.micros for each in self.meter.of_deployment(ident))

    def capped(self, row: DeploymentRow) -> bool:
        """Whether a revision has cost what its approval reserved."""
        plans: list[tuple[str, Mapping[str, Any]]] = [(row.revision_call, row.plan)]
        if row.before is not None:
            plans.append((row.before.revision_call, row.before.plan))
        paid = ((self.meter.of_call(call), int(plan.get("ceiling_micros") or 0)) for call, plan in plans)
        return any(each is not None and each.ended_at is None and each.micros >= most for each, most in paid)

    def due(self) -> list[str]:
        """Ids of what is not at rest: alive, or stopped and perhaps still paid for."""
        alive = [row.id for row in self._store.rows(alive=True) if is_cloud(row)]
        return list(dict.fromkeys([*alive, *(each.deployment_id for each in self.meter.open())]))

    def news(self) -> list[RunNews]:
        """What has changed since the last time."""
        found: list[RunNews] = []
        while self._untold:
            found.append(self._untold.popleft())
        return found

    def _waited_s(self, row: DeploymentRow) -> float:
        at = datetime.fromisoformat(self._store.changed_at(row.id).replace("Z", "+00:00"))
        return max(0.0, (datetime.now(UTC) - at).total_seconds())

    def _turn(self, ident: str) -> threading.RLock:
        with self._lock:
            return self._turns.setdefault(ident, threading.RLock())

    def wait(self, row: DeploymentRow, within_s: float, say: Say) -> DeploymentRow:
        """Advance it until it is no longer starting, or time is over."""
        until = time.monotonic() + within_s
        now = self.advance(row.id, say)
        while now.state is DeployState.STARTING and now.revision == row.revision and time.monotonic() < until:
            time.sleep(min(5.0, 2 * self.azure.poll_s))
            now = self.advance(row.id, say)
        return now

    def wait_for_end(self, row: DeploymentRow, within_s: float) -> DeploymentRow:
        """Advance it until it has ended, or time is over."""
        until = time.monotonic() + within_s
        now = self.advance(row.id)
        while now.alive and time.monotonic() < until:
            time.sleep(min(5.0, 2 * self.azure.poll_s))
            now = self.advance(row.id)
        return now


def is_cloud(row: DeploymentRow) -> bool:
    """Whether a deployment is not on this machine."""
    return row.plan.get("provider") == "azure"


def command() -> tuple[str, ...]:
    """What the container runs: a refusal once its time is over; else the packages, where the image lacks them, and the server."""
    return ("python3", f"{ENGINE_MOUNT}/tools/engine/serve_over.py", RUN_MOUNT, "--port", str(PORT), "--",
            f"{ENGINE_MOUNT}/tools/runs/boot.py", "--root", ENGINE_MOUNT, "--lock", f"{ENGINE_MOUNT}/locks/engine-cpu.txt", "--",
            "serve", RUN_MOUNT, "--state", STATE_MOUNT, "--port", str(PORT))


def _unsent(row: DeploymentRow, seen: AppSeen | None) -> bool:
    mine = None if seen is None else seen.revision(revision_name(seen.name, row.revision))
    if seen is None or mine is None:
        return seen is None or seen.provisioning != "inprogress"
    return seen.provisioning in ("failed", "canceled") and not mine.failed


def traffic(plan: Mapping[str, Any], revision: int) -> tuple[tuple[int, int], ...]:
    """Which revisions get the requests where a plan stands, each with its percent."""
    share = int(plan["canary_percent"])
    return ((int(plan["canary_of"]), 100 - share), (revision, share)) if share else ((revision, 100),)
