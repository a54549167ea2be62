"""Two kinds of homes on a stand-in in another process, and what goes on in them: plays that go on from wherever a crash left them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.settling import Settling
from policies.audit.keys import KeyRing
from policies.book import Book
from policies.gateway import Gateway
from policies.people import People
from policies.policy import Policy
from tests.azure.run_home import OWNER, QUICK, RunHome
from tests.tools.fakes_runs import ROOT, FakePlanning
from tools.azure.choice import AzureChoice
from tools.azure.prices import Prices
from tools.places import Places
from tools.runs.adopt import AdoptRun
from tools.runs.azure import AzureRuns
from tools.runs.cloud_row import AT_WORK, Phase
from tools.runs.container import engine_package
from tools.toolbox import build_toolbox

TRIES = 4
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Elsewhere:
    """The stand-in that runs in another process."""

    share_root: Path
    endpoint: str
    ca: Path

    def choice(self, **changes: Any) -> AzureChoice:
        """Settings that point there."""
        return AzureChoice(**{"endpoint": self.endpoint, "ca": self.ca, "region": "westus3", **changes})


class Runs(RunHome):
    """A home of runs whose every request goes the whole way, the share's too."""

    def __init__(self, home: Path, cloud: Any, in_flight: float = QUICK.in_flight, lost: float = QUICK.lost) -> None:
        """`in_flight`: seconds after a start that nobody answered, before another may be sent; `lost`: those that one may be missed."""
        super().__init__(home, cloud, waits=replace(QUICK, in_flight=in_flight, lost=lost))

    def open(self) -> None:
        """With a model of a few bytes, and the tool that adopts."""
        model = self.home / "model"
        model.mkdir(exist_ok=True)
        for name, content in (("config.json", "{}"), ("model.safetensors", "w" * 5000)):
            (model / name).write_text(content)
        self.planning = FakePlanning(model)
        super().open()
        prices = Prices(self.azure, self.home / "cache" / "prices.json")
        self.tools["adopt_run"] = AdoptRun(self.azure, self.prepared, prices, self.runs, self.reconciler, self.local)

    def package(self) -> str:
        """Of the package that is really sent."""
        return engine_package(ROOT).digest

    def backend(self) -> AzureRuns:
        """With the real way of files."""
        return AzureRuns(self.azure, self.prepared, self.places, self.local, self.secrets.get)

    async def done(self, tool: str, raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """As `done`."""
        return await done(self.gateway, tool, raw, key)

    async def started(self) -> str:
        """A run that goes to Azure; its id."""
        raw = {"model": "bundled", "dataset": "samples/helpdesk.jsonl", "provider": "azure", "gpu": "T4"}
        return str((await self.done("start_finetune", raw, "run"))["run_id"])

    async def all_over(self) -> None:
        """Every run of the book has ended, and its money is settled."""
        for row in self.store.rows():
            await self.until_over(row.run_id)


class Rest:
    """A home with the whole toolbox, for what is no run."""

    def __init__(self, home: Path, cloud: Elsewhere) -> None:
        places = Places(ROOT, home)
        self.book = Book.open(home / "book.sqlite")
        self.toolbox = build_toolbox(places, self.book, Policy.load, azure=cloud.choice())
        people = People(self.book)
        people.ensure_owner()
        self.gateway = Gateway(self.toolbox.tools, self.book, Policy.load(), people, self.toolbox.defaults,
                               keys=KeyRing.open(home / "keys"))

    @property
    def door(self) -> "Rest":
        """As a door, for what settles."""
        return self

    async def done(self, tool: str, raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """As `done`."""
        return await done(self.gateway, tool, raw, key)

    async def deployed(self) -> str:
        """The bundled model goes to Azure; the deployment's id."""
        raw = {"model": "bundled", "provider": "azure", "allow_ips": ["127.0.0.1"], "max_hours": 2}
        return str((await self.done("deploy_inference", raw, "deploy"))["deployment_id"])

    async def deleted(self, ident: str) -> None:
        """It is at rest, and then it is gone."""
        if await self.until(ident, "running", "stopped", "deleted") != "deleted":
            await self.done("stop_deployment", {"deployment_id": ident, "delete": True}, "delete")
        await self.until(ident, "deleted")

    def revision(self, ident: str) -> int:
        """Which one a deployment has."""
        return self.toolbox.deploying.store.wanted(ident).revision

    async def until(self, ident: str, *states: str) -> str:
        """Look after a deployment, as a server does, until it is in one of the states: which."""
        until = asyncio.get_running_loop().time() + 30
        while True:
            await asyncio.to_thread(self.toolbox.reconcile)
            await Settling(self).round()  # type: ignore[arg-type]
            now = self.toolbox.deploying.store.wanted(ident).state.value
            if now in states:
                return now
            assert asyncio.get_running_loop().time() < until, (now, states)
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """As a server that ends, when the money is settled."""
        until = asyncio.get_running_loop().time() + 30
        while left := await asyncio.to_thread(self.toolbox.settlements):
            await Settling(self).round()  # type: ignore[arg-type]
            assert asyncio.get_running_loop().time() < until, left
        await self.gateway.settle()
        self.toolbox.close()
        self.gateway.close()
        self.book.close()


async def done(gateway: Gateway, tool: str, raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What a tool did, asked for and approved as a person would: again, under another key, when it failed or nobody knows."""
    said: Any = None
    for number in range(TRIES):
        said = await gateway.call(tool, raw, OWNER, f"{key}-{number}")
        if said.approval is not None and said.status == "waiting":
            decided = await gateway.decide(said.approval.id, "approve", OWNER)
            said = decided.answer or decided
        if getattr(said, "status", "") == "done":
            return said.result
    raise AssertionError(f"{tool} was not done: {said}")


# ── plays ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def run(home: Runs, facts: Facts) -> None:
    """One run, however it ends."""
    await home.started()
    await home.all_over()


async def stop(home: Runs, facts: Facts) -> None:
    """One that trains and is stopped."""
    await _stopped(home, await home.started())
    await home.all_over()


async def resume(home: Runs, facts: Facts) -> None:
    """One that is stopped and goes on."""
    run_id = await home.started()
    if home.row(run_id).attempt == 1:
        await _stopped(home, run_id)
        await home.until_over(run_id)
    await home.done("resume_run", {"run_id": run_id, "provider": "azure"}, "again")
    await home.all_over()


async def _stopped(home: Runs, run_id: str) -> None:
    await home.until(lambda: home.row(run_id).ended or home.row(run_id).phase is Phase.RUNNING)
    if not home.row(run_id).ended:
        await home.done("cancel_run", {"run_id": run_id}, "stop")


async def cap(home: Runs, facts: Facts) -> None:
    """One whose money is used up."""
    run_id = await home.started()
    await home.until(lambda: home.row(run_id).ended or home.row(run_id).phase in AT_WORK)
    home.reconciler.stop(run_id, "cap", "system")
    await home.all_over()


async def adopt(home: Runs, facts: Facts) -> None:
    """One that the book has lost is taken up, and stopped."""
    await home.done("adopt_run", {"execution": facts["execution"]}, "adopt")
    (row,) = home.store.rows()
    await home.until(lambda: home.row(row.run_id).ended or home.row(row.run_id).phase is Phase.RUNNING)
    await home.done("cancel_run", {"run_id": row.run_id}, "stop")
    await home.all_over()


async def prepare(home: Rest, facts: Facts) -> None:
    """A region is prepared."""
    await home.done("prepare_cloud", {"region": "westus3"}, "prepare")
    assert [each.region for each in home.toolbox.cloud.prepared.all()] == ["westus3"]


async def teardown(home: Rest, facts: Facts) -> None:
    """All of it is taken away."""
    if home.toolbox.cloud.prepared.all():
        await home.done("teardown_cloud", {"confirm": facts["group"]}, "teardown")
    assert home.toolbox.cloud.prepared.all() == []


async def orphan(home: Rest, facts: Facts) -> None:
    """What nobody knows is stopped."""
    for name in facts["orphans"]:
        await home.done("stop_orphan", {"name": name}, name)


async def deploy(home: Rest, facts: Facts) -> None:
    """A model is deployed, stopped, started again with another revision, and deleted."""
    ident = await home.deployed()
    if home.revision(ident) == 1 and await home.until(ident, "running", "stopped", "deleted") == "running":
        await home.done("stop_deployment", {"deployment_id": ident}, "stop")
    if home.revision(ident) == 1 and await home.until(ident, "stopped", "deleted") == "stopped":
        await home.done("redeploy", {"deployment_id": ident, "max_hours": 1}, "second")
    await home.deleted(ident)


async def canary(home: Rest, facts: Facts) -> None:
    """A second revision gets a part of the requests, then a third gets a part of the second's; then it is deleted."""
    ident = await home.deployed()
    for number in (1, 2):
        if home.revision(ident) == number and await home.until(ident, "running", "stopped", "deleted") == "running":
            await home.done("redeploy", {"deployment_id": ident, "max_hours": 1, "canary_percent": 20}, f"after {number}")
    await home.deleted(ident)


OF_RUNS: dict[str, Callable[[Runs, Facts], Awaitable[None]]] = {each.__name__: each for each in (run, stop, resume, cap, adopt)}
OF_THE_REST: dict[str, Callable[[Rest, Facts], Awaitable[None]]] = {
    each.__name__: each for each in (prepare, teardown, orphan, deploy, canary)}
