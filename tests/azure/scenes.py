"""A home in the stand-in's cloud, the programs that live in it one after the other, and whether it keeps every promise."""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from policies.audit.verify import verify
from policies.book import Book
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution, fails_at_once
from tests.azure.faults import Fault
from tests.azure.lives import Runs
from tests.azure.run_home import reports, trains
from tests.azure.test_apps import KEY, spec_of
from tests.azure.world import Execution
from tests.faults.evidence import rows
from tests.faults.nursery import Nursery
from tests.faults.town import SAFE_S, Town
from tests.tools.fakes_runs import ROOT
from tools.azure.apps import Apps
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.jobs import Jobs, JobSpec
from tools.azure.place import SECRETS_MOUNT, CloudPlace, PlaceStore, Shape
from tools.engine.manifest import write_manifest
from tools.runs.cloud_row import Phase
from tools.runs.container import engine_package

ORPHAN, APP = "0123456789", "4k2j8m9qxz"
START = r"/start$"


# ── what the cloud does ──────────────────────────────────────────────────────────────────────────────────────────────


def leaves_all(execution: Execution, *, end: bool = True) -> None:
    """What a run that went well leaves: sealed by its key, and then its end."""
    folder = execution.run_folder
    reports(execution, end=False)
    (folder / "adapter").mkdir(exist_ok=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights" * 100)
    write_manifest(folder, folder.name, (execution.mounts[SECRETS_MOUNT] / "run-key").read_bytes())
    (folder / "result.json").write_text(json.dumps({"outcome": "finished", "step": 4, "steps": 4}))
    (folder / "exit.json").write_text(json.dumps({"attempt": int(execution.environment["LUTHIER_ATTEMPT"]), "rc": 0, "signal": None}))
    if end:
        execution.end("Succeeded", 0)


def works() -> ScriptedExecution:
    """It finishes at once."""
    return ScriptedExecution(leaves_all)


def lingers() -> ScriptedExecution:
    """It has its result, and its execution runs on until it is stopped."""
    return ScriptedExecution(lambda each: leaves_all(each, end=False))


def breaks() -> ScriptedExecution:
    """It fails."""
    return ScriptedExecution(lambda each: reports(each, result={"outcome": "failed", "error": "no", "error_kind": "model"}))


SCENES: dict[str, tuple[str, Callable[[], list[ScriptedExecution]]]] = {
    "run": ("run", lambda: [works()]),
    "linger": ("run", lambda: [lingers()]),
    "break": ("run", lambda: [breaks()]),
    "retry": ("run", lambda: [fails_at_once(), works()]),
    "unknown": ("run", lambda: [works()]),
    "gone": ("run", lambda: [trains(), works()]),
    "stop": ("stop", lambda: [trains()]),
    "resume": ("resume", lambda: [trains(), works()]),
    "cap": ("cap", lambda: [trains()]),
    "adopt": ("adopt", list),
    "prepare": ("prepare", list),
    "teardown": ("teardown", list),
    "orphan": ("orphan", list),
    "deploy": ("deploy", list),
    "canary": ("canary", list),
}
"""What a program is asked for, and what the executions that it starts do, by a name."""


# ── a home, and its programs ─────────────────────────────────────────────────────────────────────────────────────────


class Scene:
    """One home, the cloud that it works in, and the programs that live in it one after the other."""

    def __init__(self, name: str, folder: Path, cloud: Cloud, nursery: Nursery) -> None:
        self.name, self.cloud = name, cloud
        self.play, scripts = SCENES[name]
        self.town = Town(nursery, folder / "home")
        self.facts: dict[str, Any] = {
            "env": cloud.identity, "share": str(cloud.share_root), "endpoint": cloud.endpoint, "ca": str(cloud.ca)}
        self.home = self.town.home
        self.home.mkdir()
        if name == "prepare":
            cloud.world.registered["microsoft.app"] = False
        else:
            self._prepared()
        cloud.script(*scripts())
        if name == "unknown":
            cloud.faults.at("POST", START, Fault.ACCEPTED_503)
        if name == "gone":
            cloud.faults.at("POST", START, Fault.GONE)
            self.facts["lost"] = 0.5  # well before the order that stops a run which does not begin

    def _prepared(self) -> None:
        book = Book.open(self.home / "book.sqlite")
        place = self.cloud.prepared(book.home_id())
        PlaceStore(book).put(place)
        self.facts["group"] = place.group
        azure = Azure(self.cloud.choice(), book.home_id())
        if self.name in ("teardown", "orphan"):
            self.facts["orphans"] = self._left(azure, place)
        azure.close()
        book.close()

    def _left(self, azure: Azure, place: CloudPlace) -> list[str]:
        """A job that runs and an app, both of nobody's."""
        for folder in (f"runs/{ORPHAN}", "engine/" + "e" * 16, "models"):
            (self.cloud.share_root / folder).mkdir(parents=True)
        jobs = Jobs(azure, place)
        jobs.put(JobSpec(ORPHAN, 1, Shape("Consumption", 4, 8), 3600, "e" * 16, "2030-01-01T00:00:00Z"), {"run-key": Hidden("k")})
        self.cloud.script(trains())
        jobs.start(jobs.name(ORPHAN))
        Apps(azure, place).put(spec_of(place), Hidden(KEY))
        return [f"luthier-run-{ORPHAN}", f"luthier-app-{APP}"]

    async def lose(self) -> None:
        """A run is at work, and the book is one from before it."""
        copy = self.home.with_name("before.sqlite")
        shutil.copyfile(self.home / "book.sqlite", copy)
        self.cloud.script(trains())
        home = Runs(self.home, self.cloud)
        run = await home.started()
        await home.until(lambda: home.row(run).phase is Phase.RUNNING)
        home.close()
        for each in self.home.glob("book.sqlite*"):
            each.unlink()
        shutil.copyfile(copy, self.home / "book.sqlite")
        shutil.rmtree(self.home / "runs")
        self.facts["execution"] = self.cloud.executions[0].name

    def live(self, wish: str = "", later_s: float = 0) -> int:
        """A program that does what the scene is about, to its end or to the wish."""
        return self.town.live(self.play, wish, **self.facts, later_s=later_s)

    def killed(self, wish: str) -> bool:
        """Whether a program was killed by the wish; the promises that hold at any time hold then. AssertionError when it failed."""
        rc = self.live(wish)
        assert rc in (0, -signal.SIGKILL), (wish, rc, self.town.trouble())
        assert not self.broken(final=False), self.broken(final=False)
        return rc != 0

    def goes_on(self) -> None:
        """The next program comes to the same end, and every promise is kept."""
        assert self.live(later_s=SAFE_S) == 0, self.town.trouble()
        assert not self.broken(final=True), self.broken(final=True)

    def trace(self) -> list[dict[str, str]]:
        """Points and writes of the program that lived last, in their order."""
        return self.town.said(-1)

    # ── the promises ─────────────────────────────────────────────────────────────────────────────────────────────

    def broken(self, *, final: bool) -> list[str]:
        """The promises that are not kept, by what is wrong."""
        if not (self.home / "book.sqlite").exists() or not rows(self.home, "select 1 from sqlite_master where name = 'cloud_runs'"):
            return []
        return [*self._twice(), *self._money(final), *self._record(final), *self._unnoticed(), *(self._ends() if final else ())]

    def _twice(self) -> list[str]:
        """At most one execution that can be seen for each approved attempt; one app for each deployment."""
        approved = {row["run_id"]: json.loads(row["plan_json"])["attempts"] for row in rows(
            self.home, "select run_id, plan_json from cloud_runs")}
        mine = [each.environment for each in self.cloud.executions if each.environment["LUTHIER_RUN_ID"] in approved and not each.gone]
        attempts = Counter((each["LUTHIER_RUN_ID"], each["LUTHIER_ATTEMPT"]) for each in mine)
        found = [f"attempt {attempt} of {run} has {count} executions" for (run, attempt), count in attempts.items() if count > 1]
        apps = Counter(each["tags"].get("luthier-deployment") for each in self.cloud.world.of_type("Microsoft.App/containerApps"))
        used = rows(self.home, "select count(*) as n from approvals where state = 'consumed' and tool in ('start_finetune', 'resume_run')")
        if self.name != "retry" and len(mine) > used[0]["n"] + (self.name == "adopt"):
            found.append(f"{len(mine)} executions of {used[0]['n']} used approvals")
        return found + [f"{count} apps of {ident}" for ident, count in apps.items() if count > 1]

    def _money(self, final: bool) -> list[str]:
        """At no time does a call hold and cost more than it reserved at first; in the end nothing is held."""
        sums = rows(self.home, "select call_id, sum(case kind when 'reserve' then micros else 0 end) as most, sum(case kind when 'reserve' "
                               "then micros when 'release' then -micros else 0 end) as held, sum(case kind when 'settle' then micros "
                               "else 0 end) as spent from ledger group by call_id")
        found = [f"{row['call_id']} holds {row['held']} and spent {row['spent']} of {row['most']}" for row in sums
                 if row["most"] and row["held"] + row["spent"] > row["most"]]
        twice = rows(self.home, "select call_id, count(*) as n from ledger where kind in ('reserve', 'settle') group by call_id, kind")
        found += [f"{row['call_id']} was reserved or settled {row['n']} times" for row in twice if row["n"] > 1]
        return found + [f"{row['call_id']} still holds {row['held']}" for row in sums if final and row["held"]]

    def _record(self, final: bool) -> list[str]:
        """The record verifies, and each intent has one outcome in the end."""
        code, words = verify(self.home / "book.sqlite", strict=False)[:2]
        every = [json.loads(row["record"]) for row in rows(self.home, "select record from audit order by seq")]
        ended = Counter(one["refs"]["intent"] for one in every if one["kind"] == "outcome")
        begun = [one["seq"] for one in every if one["kind"] == "intent"]
        found = [] if code == 0 else [f"the record does not verify: {words}"]
        return found + [f"intent {seq} has {ended[seq]} outcomes" for seq in begun if ended[seq] > 1 or (final and not ended[seq])]

    def _unnoticed(self) -> list[str]:
        """The book knows each job and each app that bears our tags, but for those that were nobody's from the beginning."""
        runs = {row["run_id"] for row in rows(self.home, "select run_id from cloud_runs")}
        apps = {row["id"] for row in rows(self.home, "select id from deployments")}
        there = {each["tags"].get("luthier-run"): runs for each in self.cloud.world.of_type("Microsoft.App/jobs")}
        there |= {each["tags"].get("luthier-deployment"): apps for each in self.cloud.world.of_type("Microsoft.App/containerApps")}
        return [] if self.name in ("adopt", "teardown", "orphan") else [f"nobody knows {each}" for each, known in there.items()
                                                                       if each not in known]

    def _ends(self) -> list[str]:
        """What the scene comes to."""
        world = self.cloud.world
        found = [f"{each.name} still runs" for each in self.cloud.executions if not each.ended.is_set() and not each.gone]
        match self.name:
            case "teardown":
                found += [f"{each['id']} is left" for each in world.resources.values()]
            case "orphan":
                found += [f"{name} runs" for name, side in world.apps.items() if not side.stopped]
            case "deploy" | "canary":
                found += [f"{each['id']} is left" for each in world.of_type("Microsoft.App/containerApps")]
            case "prepare":
                kinds = Counter(str(each["type"]).lower() for each in world.resources.values())
                found += [f"{count} of {kind}" for kind, count in kinds.items() if count != (2 if kind.endswith("/storages") else 1)]
                found += [] if len(kinds) == 6 else [f"made were {sorted(kinds)}"]
        return found


def send_program(cloud: Cloud) -> None:
    """The training program lies on the share already."""
    package = engine_package(ROOT)
    folder = cloud.share_root / "engine" / package.digest
    for name, path in package.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    (folder / "complete.json").write_text("{}")
