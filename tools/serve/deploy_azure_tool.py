"""Deploying, redeploying, stopping and showing what is on Azure: the cloud's half of the deployment tools."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from pydantic import JsonValue

from policies.book import now_text
from policies.limits import dollars
from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolFailed
from tools.azure.orphans import Orphans
from tools.azure.trouble import AzureTrouble
from tools.runs.reconcile import RunNews
from tools.runs.rid import rid_of
from tools.serve.answerer import ANSWER_S
from tools.serve.deploy_azure import AzureDeployments
from tools.serve.deploy_azure_plan import Canary, Wanted, where_of
from tools.serve.deploy_azure_watch import AzureDeployWatch
from tools.serve.deploy_local import LocalDeployments, curl_line
from tools.serve.deploy_plan import Source
from tools.serve.deploy_refusals import is_certificate, refused, unheard
from tools.serve.deploy_state import DeployState
from tools.serve.deploy_store import DeploymentRow, DeploymentStore, Planned
from tools.settlement import Settlement

READY_S = 1200.0
"""How long a deploying call waits for the app; the watch goes on afterwards."""
WAKE_S = 900.0
"""How long a question waits for a sleeping app: as long as its startup probe."""
MISSED = 6
"""So many looks in a row at which nothing at all was there end the waiting."""
END_S = 60.0
"""How long a stopping call waits for the end."""


class AzureDeploying:
    """What the deployment tools do where the place is Azure."""

    def __init__(self, cloud: AzureDeployments, watch: AzureDeployWatch, store: DeploymentStore, local: LocalDeployments,
                 orphans: Orphans, facts: Callable[[DeploymentRow], dict[str, JsonValue]], system_of: Callable[[DeploymentRow], str | None],
                 ) -> None:
        self.cloud, self.watch, self.orphans = cloud, watch, orphans
        self.store, self._local, self._facts, self._system_of = store, local, facts, system_of

    def pass_(self) -> list[RunNews]:
        """What has changed on Azure since the last pass; keeps the watch at work while there is something to look after. Quick."""
        return self.watch.pass_()

    def settlements(self) -> list[Settlement]:
        """What ended revisions have cost."""
        return self.cloud.meter.settlements()

    def close(self) -> None:
        """End the watch; what is deployed goes on."""
        self.watch.close()

    # ── deploy and redeploy ──────────────────────────────────────────────────────────────────────────────────────

    def propose(self, source: Source, wanted: Wanted) -> Proposal:
        """The plan of a new deployment."""
        plans = self.cloud.plans
        return plans.proposal(source, plans.make(source, wanted), source.run.owner if source.run is not None else None,
                              f"deploy:{source.target}")

    def deploy(self, source: Source, wanted: Wanted, call: Call) -> Result:
        """Make the key and the row, then take the steps; the same call finds what it started."""
        ident = rid_of(f"{call.call_id} deployment")
        plan = dict(call.plan) if call.plan.get("names") else self.cloud.plans.make(source, wanted)
        self.cloud.plans.plans.build(source, lambda text: call.report(text, None))
        hint = self._local.make_key(ident)
        row = self.store.create(ident, call.person, call.thread, call.call_id, _planned(source, plan), hint, where_of(plan))
        return self._go(row, call)

    def propose_again(self, source: Source, row: DeploymentRow, wanted: Wanted, percent: int) -> Proposal:
        """The plan of the next revision."""
        plan = self._again(source, row, wanted, percent)
        return self.cloud.plans.proposal(source, plan, row.owner, f"redeploy:{row.id}", deployment=row.id)

    def redeploy(self, source: Source, row: DeploymentRow, wanted: Wanted, percent: int, call: Call) -> Result:
        """Begin the next revision; the same call does it once."""
        if call.call_id not in (row.revision_call, row.failed.call if row.failed is not None else ""):
            plan = dict(call.plan) if call.plan.get("names") else self._again(source, row, wanted, percent)
            self.cloud.plans.plans.build(source, lambda text: call.report(text, None))
            row = self.store.next_revision(row.id, row.tried + 1, call.call_id, _planned(source, plan), where_of(plan), beside=True)
        return self._go(row, call)

    def _again(self, source: Source, row: DeploymentRow, wanted: Wanted, percent: int) -> dict[str, Any]:
        if percent and row.state is not DeployState.RUNNING:
            raise ToolFailed(f"Redeploy {row.id} for a part of the requests", f"It is {row.state.value}: nothing would take the others.",
                             "Leave canary_percent out.", kind="state")
        if wanted.region and wanted.region != row.plan["region"]:
            raise ToolFailed(f"Redeploy {row.id}", f"It is in {row.plan['region']}, and a deployment does not move.",
                             "Leave region out, or deploy anew with deploy_inference.", kind="usage")
        canary = Canary(percent, row.revision) if percent else None
        return self.cloud.plans.make(source, _Same(wanted, row.plan), canary, tuple(row.plan.get("allow") or ()))

    def _go(self, row: DeploymentRow, call: Call) -> Result:
        self.watch.wake()
        return self.said(self.cloud.wait(row, READY_S, call.report), call.call_id)

    def restarting(self, row: DeploymentRow) -> Proposal:
        """The proposal of a restart: the money is that of the approval that stands."""
        if not row.alive:
            raise ToolFailed(f"Restart {row.id}", f"It is {row.state.value}.", "Start it again with redeploy.", kind="state")
        return Proposal(effects=frozenset({Effect.LOCAL}), target=f"deployment:{row.id}", where=row.where, owner=row.owner)

    def restart(self, row: DeploymentRow) -> Result:
        """Start its program anew."""
        self.restarting(row)
        self.cloud.restart(row)
        return self.said(self.cloud.advance(row.id))

    def said(self, row: DeploymentRow, call_id: str = "") -> Result:
        """The result of a deploying call. ToolFailed when it failed and nothing was sent that could cost money, or an older one goes on."""
        if row.failed is not None and row.failed.call == call_id:
            because = f"Revision {row.failed.revision} did not come up; revision {row.revision} goes on answering."
            raise ToolFailed(f"Redeploy {row.id}", because,
                             "Look at it with list_deployments, mend the reason, and ask for redeploy again.", kind="deploy",
                             heard=row.failed.reason, paid=True)
        paid = self.cloud.meter.of_call(row.revision_call)
        if row.state is DeployState.FAILED and (paid is None or paid.sent_at is None):
            raise ToolFailed(f"Deploy {row.id}", "It was not sent to Azure.", "Look at it with list_deployments, and deploy again.",
                             kind="deploy", heard=row.reason)
        facts, key_file, names = self._facts(row), self._local.key_file(row.id), row.plan["names"]
        result: dict[str, JsonValue] = {**facts, **self.shown(row), "key_file": str(key_file), "models": names, "tuned_by": row.run_id}
        if row.url:
            result["curl"] = curl_line(row.url, key_file, str(names[0]), self._system_of(row))
        return Result(result, facts)

    def recall(self, row: DeploymentRow, call_id: str) -> Result | Recall:
        """What became of a deploying call: the watch goes on with it, so it began as soon as its row is there.

        One that failed beside an older revision holds money until its part is settled; then it is as if it had never been.
        """
        if row.failed is not None and row.failed.call == call_id:
            paid = self.cloud.meter.of_call(call_id)
            return Recall.NOT_STARTED if paid is None or paid.settled else Recall.UNKNOWN
        return self.said(row)

    # ── looking, stopping, deleting ──────────────────────────────────────────────────────────────────────────────

    def shown(self, row: DeploymentRow) -> dict[str, JsonValue]:
        """What only a deployment on Azure has, for people."""
        plan, paid, before = row.plan, self.cloud.meter.of_call(row.revision_call), row.before
        answers: dict[str, JsonValue] | None = None
        if row.state is DeployState.RUNNING:
            answers = {"revision": row.revision, "models": plan["names"], "tuned_by": row.run_id}
        elif row.state is DeployState.STARTING and before is not None:
            answers = {"revision": before.revision, "models": before.plan["names"], "tuned_by": before.run_id}
        return {
            "region": plan["region"], "sku": plan["sku"], "allow_ips": plan["allow"], "per_hour": plan["per_hour"],
            "asleep": paid is not None and row.state is DeployState.RUNNING and not paid.replicas, "reason": row.reason, "answers": answers,
            "spent": {"amount": dollars(self.cloud.spent_micros(row.id)), "currency": "USD", "by": "our own clock; the bill comes later"},
            "ceiling": {"amount": dollars(int(plan["ceiling_micros"])), "currency": "USD"}, "canary_percent": plan["canary_percent"],
            "trouble": self.cloud.troubles.get(row.id, ""),
        }

    def look(self, row: DeploymentRow) -> DeploymentRow:
        """The row as it is now in Azure."""
        return self.cloud.advance(row.id) if row.alive else row

    def must_be_covered(self, row: DeploymentRow) -> None:
        """A question may wake a replica that is paid for. ToolFailed unless what its approval reserved holds that, and it is in time."""
        if row.expires_at > now_text() and self.cloud.meter.covers(row.revision_call):
            return
        raise ToolFailed(f"Ask the deployment {row.id}", "What its approval reserved is used up or over, and a question costs money.",
                         "Deploy its model again with redeploy, which asks for a yes of its own.", kind="no_ceiling")

    def client(self) -> httpx.Client:
        """For questions: no redirects, and time for a long answer."""
        client = self.cloud.azure.http()
        client.timeout = httpx.Timeout(ANSWER_S, connect=30)
        return client

    def awake(self, client: httpx.Client, row: DeploymentRow, say: Callable[[str, float | None], None]) -> str:
        """The address, once it answers. ToolFailed when it does not let us in, or does not come up; AzureTrouble `refused_host`."""
        url = self.cloud.azure.check_host(row.url, "apps")
        until, pause, missed = time.monotonic() + WAKE_S, min(5.0, 5 * self.cloud.azure.poll_s), 0
        while True:
            try:
                status = client.get(f"{url.removesuffix('/v1')}/healthz").status_code
                missed = missed + 1 if status == 404 else 0
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # Azure holds a request while the app wakes up: who is not let in at all is not waited for long.
                status, missed = 0, missed + 1
                if missed >= MISSED or is_certificate(error):
                    raise unheard(error) from error
            except httpx.HTTPError:
                status = 0
            self.watch.wake()
            if status == 200:
                return url
            if missed >= MISSED or (0 < status < 500 and status not in (404, 408, 429)):
                raise refused(status)
            now = self.store.wanted(row.id)
            if not now.alive or now.stop_by:
                raise ToolFailed(f"Ask the deployment {row.id}", f"It is {now.state.value}.", "Start it with redeploy.", kind="not_running")
            if time.monotonic() > until:
                raise ToolFailed(f"Ask the deployment {row.id}", f"It did not wake up within {WAKE_S / 60:.0f} minutes.",
                                 "Look at it with list_deployments; redeploy with restart=true starts it anew.", kind="asleep")
            say("It was asleep and is waking up; this takes some minutes", None)
            time.sleep(pause)

    def evidence(self, row: DeploymentRow) -> tuple[str, ...]:
        """The kinds of standing order that hold now."""
        return ("cap",) if row.alive and self.cloud.capped(row) else ()

    def stop(self, row: DeploymentRow, call: Call) -> DeploymentRow:
        """Stop it, and wait a little for Azure to have done so."""
        call.report("Asking Azure to stop it", None)
        self.store.ask_to_stop(row, call.person)
        self.watch.wake()
        now = self.cloud.stop(row, call.person)
        if now.alive:
            now = self.cloud.wait_for_end(now, END_S)
        return now

    def delete(self, row: DeploymentRow, call: Call) -> DeploymentRow:
        """Remove what it has in Azure and here."""
        call.report("Deleting the app", None)
        return self.cloud.delete(row, call.person)

    def count_orphans(self) -> tuple[int, AzureTrouble | None]:
        """How many jobs and apps the book does not know, and what kept us from looking; never raises."""
        try:
            return len(self.orphans.look()), None
        except AzureTrouble as trouble:
            return 0, trouble

    def orphaned(self) -> tuple[list[JsonValue], str]:
        """Apps with our tags that the book does not know, and what kept us from looking; never raises."""
        try:
            found = self.orphans.look()
        except AzureTrouble as trouble:
            return [], str(trouble)
        return [each.as_json() for each in found if each.kind == "app"], ""


class _Same:
    """What a redeploying call says, with the earlier plan where it says nothing."""

    def __init__(self, wanted: Wanted, plan: Mapping[str, Any]) -> None:
        self.gpu = wanted.gpu or str(plan["sku"])
        self.region = str(plan["region"])
        self.allow_ips, self.max_hours, self.with_base = wanted.allow_ips, wanted.max_hours, wanted.with_base


def _planned(source: Source, plan: dict[str, Any]) -> Planned:
    return Planned(source.run.id if source.run is not None else None, source.model_id, plan, int(plan["hours"]) * 3600)
