"""A run on the real Azure, on a CPU profile: cents at most, in a resource group of its own that is taken away at the end.

    LUTHIER_AZURE_LIVE=1 .venv/bin/python -m pytest tests/azure/test_live.py -s

It needs a sign-in that may make resource groups (`az login`), and the engine's environment here. LUTHIER_AZURE_SUBSCRIPTION,
LUTHIER_AZURE_REGION and LUTHIER_AZURE_IMAGE choose where and on what, as for Luthier itself.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.compose import build_door
from agent.door import Door
from agent.settings import Settings, azure_settings
from agent.settling import Settling
from tests.azure.test_end_to_end import done, make_material

VARIABLE = "LUTHIER_AZURE_LIVE"
LONGEST_S, PAUSE_S = 3600.0, 5.0
FIELDS = ("azure_subscription", "azure_region", "azure_image", "azure_sign_in")
pytestmark = [
    pytest.mark.slow, pytest.mark.engine,
    pytest.mark.skipif(os.environ.get(VARIABLE) != "1", reason=f"costs money: set {VARIABLE}=1 to run it on the real Azure"),
]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """The product over an empty home; whatever happens, the cloud is torn down at the end."""
    given = {name: value for name in FIELDS if (value := os.environ.get(f"LUTHIER_{name.upper()}"))}
    opened = build_door(Settings.model_validate({"home": tmp_path / "home", **azure_settings(given)}))
    make_material(tmp_path)
    try:
        yield opened
    finally:
        place = opened.toolbox.cloud.prepared.get()  # type: ignore[attr-defined]
        if place is not None:
            gone = await done(opened, "teardown_cloud", resource_group=place.group, confirm=place.group)
            print(f"torn down: {json.dumps(gone.result)}")
        await opened.gateway.settle()
        await asyncio.to_thread(opened.close)


async def test_a_run_on_the_real_azure(door: Door, tmp_path: Path):
    model = door.toolbox.catalogue.add_folder(tmp_path / "tiny", "owner", "tiny").id
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what}")

    prepared = await done(door, "prepare_cloud")
    tell(f"prepared: {json.dumps(prepared.result)}")
    asked = {"model": model, "dataset": "tickets.jsonl", "provider": "azure", "gpu": "cpu"}
    started = await done(door, "start_finetune", method="lora", max_steps=12, budget_usd=1, **asked)
    run, last, settling = str(started.result["run_id"]), "", Settling(door)
    while True:
        await asyncio.to_thread(door.toolbox.reconcile)
        await door.gateway.stop_due()
        await settling.round()
        view = door.toolbox.run_view(run)
        assert view is not None
        facts = view.as_json()
        told = f"{facts['state']} {facts['phase']} {facts['progress']} {facts['reason']}"
        if told != last:
            tell(told)
            last = told
        if facts["state"] in {"finished", "failed", "cancelled"}:
            break
        assert time.monotonic() - began < LONGEST_S, "longer than an hour"
        await asyncio.sleep(PAUSE_S)
    print("\n".join(door.toolbox.log(run, lines=30).lines))
    assert facts["state"] == "finished", facts["reason"]
    fetched = await done(door, "fetch_results", run_id=run)
    assert fetched.result["verified"] is True
    tell(f"fetched {fetched.result['count']} files, spent {facts['spent']}")
