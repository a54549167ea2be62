"""From a quota to nothing left behind: the real engine trains a tiny model inside the stand-in's execution, and answers there."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.compose import build_door
from agent.door import Door
from agent.settings import Settings
from agent.settling import Settling
from policies.people import Caller
from policies.verdict import Answer
from tests.azure.cloud import ROOT, Cloud

ME = Caller("owner", "cli", "peer uid", "terminal")
LIMIT_S = 240.0
"""Generous: what is waited for are events."""

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
async def door(cloud: Cloud, tmp_path: Path) -> AsyncIterator[Door]:
    """The product's own parts over an empty home, pointed at the stand-in."""
    python = ROOT / ".engine-cpu" / "bin" / "python"
    if not python.exists():
        message = f"NOT SET UP: {python} is missing. Run: make prepare"
        pytest.fail(message, pytrace=False) if os.environ.get("CI") else pytest.skip(message)
    cloud.world.grace_s = 20
    home = tmp_path / "home"
    opened = build_door(Settings(home=home, azure_endpoint=cloud.endpoint, azure_ca=cloud.ca, azure_region="westus3"))
    make_material(tmp_path)
    yield opened
    await opened.gateway.settle()
    await asyncio.to_thread(opened.close)


def make_material(folder: Path) -> None:
    """The tiny model, and a dataset of small tickets in the home."""
    command = [str(ROOT / ".engine-cpu" / "bin" / "python"), str(ROOT / "tests" / "tiny_model.py"), str(folder / "tiny")]
    made = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    answer = {"role": "assistant", "content": "hardware"}
    rows = [{"messages": [{"role": "user", "content": f"Ticket {number}: the printer is stuck"}, answer]} for number in range(60)]
    (folder / "home" / "data").mkdir(exist_ok=True)
    (folder / "home" / "data" / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


async def done(door: Door, tool: str, **args: Any) -> Answer:
    """The call, approved where it asks; what it answers in the end."""
    answer = await door.gateway.call(tool, args, ME)
    if answer.status == "waiting":
        assert answer.approval is not None
        decided = await door.gateway.decide(answer.approval.id, "approve", ME)
        assert decided.answer is not None, decided.message
        answer = decided.answer
    assert answer.status == "done", f"{tool}: {answer.reason} {answer.remedy}"
    return answer


async def until(door: Door, wanted: Any, what: str) -> None:
    """Look again and again, as the workshop's loops do, until `wanted` holds."""
    settling, end = Settling(door), time.monotonic() + LIMIT_S
    while not wanted():
        assert time.monotonic() < end, f"{what}: never"
        await asyncio.to_thread(door.toolbox.reconcile)
        await settling.round()
        await asyncio.sleep(0.2)


async def test_from_the_quota_to_nothing_left(door: Door, cloud: Cloud, tmp_path: Path):
    model = door.toolbox.catalogue.add_folder(tmp_path / "tiny", "owner", "tiny").id
    asked = {"model": model, "dataset": "tickets.jsonl", "provider": "azure", "gpu": "cpu"}

    dry = await done(door, "prepare_cloud", dry_run=True)
    assert dry.result["resources"] and not cloud.bodies("PUT", "")
    prepared = await done(door, "prepare_cloud")
    assert prepared.result["state"] == "ready", prepared.result

    started = await done(door, "start_finetune", method="lora", max_steps=12, **asked)
    run_id = str(started.result["run_id"])
    seen: list[float] = []

    def finished() -> bool:
        view = door.toolbox.run_view(run_id)
        assert view is not None
        facts = view.as_json()
        if facts["state"] == "running" and isinstance(facts["loss"], float):
            seen.append(facts["loss"])
        assert facts["state"] in ("queued", "running", "finished"), (facts["state"], facts["reason"], tail(cloud))
        return facts["state"] == "finished"

    await until(door, finished, "the run")
    events, _ = door.toolbox.watch(run_id)
    assert len([event for event in events if "loss" in event]) >= 12, "every step is in the mirror"
    assert len(cloud.executions) == 1

    fetched = await done(door, "fetch_results", run_id=run_id)
    assert fetched.result["verified"] is True and any("adapter" in str(name) for name in fetched.result["files"])  # type: ignore[union-attr]
    folder = tmp_path / "home" / "runs" / run_id
    assert (folder / "adapter").is_dir() and (folder / "served").is_dir()
    attempt = json.loads((folder / "started.json").read_text())["attempts"][-1]
    program = [each.name for each in (cloud.share_root / "engine").iterdir()]
    assert (attempt["execution"], [attempt["engine"]]) == (cloud.executions[0].name, program) and "@sha256:" in attempt["image"]

    deployed = await done(door, "deploy_inference", run_id=run_id, provider="azure", gpu="cpu", max_hours=1, allow_ips=["127.0.0.1"])
    deployment = str(deployed.result["deployment_id"])

    def runs() -> bool:
        found = door.toolbox.deploying.store.get(deployment)  # type: ignore[attr-defined]
        assert found.state.value in ("starting", "running"), (found.state, found.reason)
        return found.state.value == "running"

    await until(door, runs, "the deployment")
    answered = await done(door, "ask_model", prompt="Ticket 3: the printer is stuck", deployment_id=deployment)
    assert answered.result["answers"], answered.result

    await done(door, "stop_deployment", deployment_id=deployment)
    group = str(prepared.result.get("resource_group") or door.toolbox.cloud.prepared.get().group)  # type: ignore[attr-defined]
    gone = await done(door, "teardown_cloud", resource_group=group, confirm=group)
    assert gone.result["state"] in ("gone", "deleted", "done"), gone.result
    assert not [each for each in cloud.world.resources if group.lower() in each], "nothing is left"

    def settled() -> bool:
        return (report := report_of(door))["reserved"] == "0.00" and report["settled"] != ""

    await until(door, settled, "the ledger")


def report_of(door: Door) -> dict[str, Any]:
    """The ledger's sums, as the book has them."""
    from policies.ledger import used
    from policies.limits import dollars

    total = door.book.read(used)
    return {"reserved": dollars(total.reserved), "settled": dollars(total.settled)}


def tail(cloud: Cloud) -> str:
    """The end of each execution's log."""
    return "\n".join(path.read_text(errors="replace")[-1500:] for path in cloud.share_root.glob("runs/*/log.txt"))
